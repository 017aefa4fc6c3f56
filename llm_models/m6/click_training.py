"""Training what is declared of a click network: the same numbers however often it is interrupted.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.models import Budget, Progress, Selection
from llm_models.checkpoint import Checkpoint
from llm_models.m6.click_rows import Examples, Grouped
from llm_models.m6.click_scoring import Asked, ClickScorer
from llm_models.m6.packing import buckets

__all__ = ["CONVERGED_WITHIN", "Course", "train"]

EVALUATIONS = 10
"""Of a run whose budget names no interval."""
SAVE_EVERY_S = 300.0
"""Seconds after which a checkpoint is due, beside those at every evaluation."""
CONVERGED_WITHIN = 0.002
"""A run has come to its best from the first evaluation on that is so close to it."""


class _Batches:
    """Rows of all tasks in batches of like length, an epoch in the same order whenever it is asked for."""

    def __init__(self, scorer: ClickScorer, asked: Asked, examples: Examples, seed: int) -> None:
        settings = scorer.settings
        self.seed, self.tokens, self.accumulate = seed, settings.batch_tokens, settings.accumulate
        self.device = scorer.device
        self.parts: dict[str, tuple[Grouped, NDArray[np.int64]]] = {}
        lengths = []
        for task, labelled in examples.tasks.items():
            rows = asked.rows(labelled.row, most=settings.targets_per_row)
            self.parts[task] = (rows, labelled.label)
            lengths.append(asked.lengths(rows))
        self.lengths = np.concatenate(lengths)
        self.starts = np.cumsum([0, *map(len, lengths)])
        self.passes = sum(1 for _ in buckets(self.lengths, tokens=self.tokens))
        self.steps_an_epoch = math.ceil(self.passes / self.accumulate)

    def steps(self, done: int) -> Iterator[list[NDArray[np.int64]]]:
        """The batches of every step from number ``done`` on, without end."""
        epoch, place = divmod(done, self.steps_an_epoch)
        while True:
            rng = np.random.default_rng((self.seed, 1, epoch))
            batches = list(buckets(self.lengths, tokens=self.tokens, rng=rng))
            for step in range(place, self.steps_an_epoch):
                yield batches[step * self.accumulate : (step + 1) * self.accumulate]
            epoch, place = epoch + 1, 0

    def split(self, batch: NDArray[np.int64]) -> tuple[list[tuple[str, Grouped]], list[Tensor]]:
        """The rows of each task in a batch, and the classes of their candidates."""
        parts, labels = [], []
        for number, (task, (rows, label)) in enumerate(self.parts.items()):
            mine = np.sort(batch[(batch >= self.starts[number]) & (batch < self.starts[number + 1])])
            if len(mine):
                chosen = rows.take(mine - self.starts[number])
                parts.append((task, chosen))
                labels.append(torch.from_numpy(label[chosen.of.values]).to(self.device))
        return parts, labels


class Course:
    """What a run has done.

    Attributes
    ----------
    selection : Selection
    step, candidates, tokens : int
        Optimiser steps taken; candidates learned from; tokens read, neither padding nor soft prompts counted.
    seconds : float
        Of training alone: neither validation nor checkpoints.
    """

    def __init__(self, budget: Budget, steps_an_epoch: int) -> None:
        self.selection, self.steps_an_epoch = Selection(budget), steps_an_epoch
        self.step = self.candidates = self.tokens = 0
        self.seconds = 0.0

    def state(self) -> dict[str, Any]:
        """All of it, JSON-serialisable."""
        kept = ("step", "candidates", "tokens", "seconds")
        return {**{name: getattr(self, name) for name in kept}, "selection": self.selection.state()}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state` said."""
        self.selection = Selection.resumed(self.selection.budget, state["selection"])
        for name, value in state.items():
            if name != "selection":
                setattr(self, name, value)

    def notes(self) -> dict[str, Any]:
        """What a ``FitReport`` should tell beside the fields of ``selection``."""
        curve = self.selection.curve
        best = max((row["validation"] for row in curve), default=0.0)
        near = [row["step"] for row in curve if row["validation"] >= best - CONVERGED_WITHIN]
        return {
            "candidates_learned_from": self.candidates,
            "tokens_read": self.tokens,
            "training_seconds": self.seconds,
            "candidates_per_second": self.candidates / self.seconds if self.seconds else None,
            f"steps_to_within_{CONVERGED_WITHIN}_of_best": near[0] if near else 0,
        }


def train(
    scorer: ClickScorer,
    asked: Asked,
    examples: Examples,
    *,
    budget: Budget,
    seed: int,
    validate: Callable[[], float],
    progress: Progress,
    scratch: Path | None,
) -> Course:
    """Train, and leave the selected weights in the scorer's network; with ``patience`` 0 those of the last step.

    Parameters
    ----------
    asked : Asked
        The examples, as the scorer read them.
    budget : Budget
        ``settings.steps`` where it limits neither steps nor epochs.
    validate : callable
        The validation number of the network as it stands.
    scratch : Path or None
        A folder of the run: a checkpoint is kept there, and one that is found is taken up.
    """
    trainer = _Trainer(scorer, asked, _Batches(scorer, asked, examples, seed), budget, seed, scratch)
    trainer.run(validate, progress)
    return trainer.course


class _Trainer:
    def __init__(
        self, scorer: ClickScorer, asked: Asked, batches: _Batches, budget: Budget, seed: int, scratch: Path | None
    ) -> None:
        self.scorer, self.asked, self.batches, self.settings = scorer, asked, batches, scorer.settings
        epoch = batches.steps_an_epoch
        limits = [budget.max_steps, None if budget.max_epochs is None else budget.max_epochs * epoch]
        self.total = min([limit for limit in limits if limit is not None], default=self.settings.steps)
        of_epochs = None if budget.eval_every_epochs is None else budget.eval_every_epochs * epoch
        self.every = budget.eval_every_steps or of_epochs or max(1, math.ceil(self.total / EVALUATIONS))
        budget = budget.model_copy(update={"max_steps": self.total, "max_epochs": None})
        self.course = Course(budget, epoch)
        self.parameters = scorer.declared
        self.optimiser = torch.optim.AdamW(self._groups(), fused=True)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.best: dict[str, Tensor] = {}
        self.losses = torch.zeros(2, dtype=torch.float64)
        self.checkpoint = None if scratch is None else Checkpoint(scratch, self._digest(budget, seed))
        self.mark = self.saved = time.monotonic()

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate and decay; ``self.order`` names them as the optimiser numbers them."""
        settings = self.settings
        kinds: dict[str, tuple[float, float]] = {
            "stack": (settings.backbone_rate, settings.weight_decay),
            "adapters": (settings.adapter_rate, settings.weight_decay),
            "segments": (settings.adapter_rate, 0.0),
            "head": (settings.head_rate, settings.weight_decay),
            "vectors": (settings.learning_rate, 0.0),
        }
        named: dict[str, list[str]] = {kind: [] for kind in kinds}
        for name in self.parameters:
            parts = name.split(".")
            part = parts[2] if parts[0] == "tunings" else parts[0]
            named[part if part in kinds else "vectors"].append(name)
        self.order = [name for names in named.values() for name in names]
        return [
            {"params": [self.parameters[name] for name in names], "lr": kinds[kind][0], "weight_decay": kinds[kind][1]}
            for kind, names in named.items()
            if names
        ]

    def _digest(self, budget: Budget, seed: int) -> str:
        """Hash of what decides how training goes, beside what is in the network now."""
        shapes = {name: list(weight.shape) for name, weight in self.parameters.items()}
        rows = hashlib.sha256(self.batches.lengths.tobytes()).hexdigest()
        dtype = str(self.scorer.network.stack.dtype)
        decides = [self.settings.model_dump(mode="json"), dtype, budget.model_dump(mode="json"), seed, shapes, rows]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def run(self, validate: Callable[[], float], progress: Progress) -> None:
        """Train to the end."""
        course = self.course
        self._resume()
        if not self.total:
            course.selection.stopped = "budget"
        steps = self.batches.steps(course.step)
        self.mark = time.monotonic()
        while not course.selection.stopped:
            loss = self._learn(next(steps))
            progress(course.step, self.total, f"loss {loss:.3f}")
            if course.step % self.every == 0 or course.step == self.total:
                self._evaluate(validate)
            elif self.checkpoint is not None and time.monotonic() - self.saved >= SAVE_EVERY_S:
                self._stop_clock()
                self._save()
        self.scorer.adopt(self.best)

    def _learn(self, batches: list[NDArray[np.int64]]) -> float:
        """Take a step; every candidate of the step weighs the same. Returns the mean loss of a candidate."""
        course = self.course
        split = [self.batches.split(batch) for batch in batches]
        count = sum(len(label) for _, labels in split for label in labels)
        share = self._share_of_rates()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for parts, labels in split:
            logits = self.scorer.logits(self.asked, parts)
            losses = [
                functional.cross_entropy(found, label, reduction="sum")
                for found, label in zip(logits, labels, strict=True)
            ]
            loss = torch.stack(losses).sum() / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        self.optimiser.step()
        self.losses += torch.tensor([total * count, count], dtype=torch.float64)
        course.step += 1
        course.candidates += count
        course.tokens += sum(int(self.batches.lengths[batch].sum()) for batch in batches)
        return total

    def _share_of_rates(self) -> float:
        """Rise over the share ``warm_up`` of all steps; then stay, or fall to 0 along half a cosine."""
        step, rise = self.course.step, max(1, round(self.settings.warm_up * self.total))
        if step < rise:
            return (step + 1) / rise
        if self.settings.schedule == "constant":
            return 1.0
        return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, self.total - rise))

    def _evaluate(self, validate: Callable[[], float]) -> None:
        """Ask for the validation number, keep the weights if they are the ones to keep, and save all."""
        course = self.course
        self._stop_clock()
        loss = float(self.losses[0] / self.losses[1])
        self.losses.zero_()
        epoch = course.step / course.steps_an_epoch
        if course.selection.observe(step=course.step, epoch=epoch, loss=loss, validation=validate()):
            self.best = {name: weight.detach().clone() for name, weight in self.parameters.items()}
        self._save()

    def _resume(self) -> None:
        """Take up a checkpoint, if there is one."""
        found = self.checkpoint.load() if self.checkpoint else None
        if found is None:
            return
        tensors, state = found
        self.course.resume(state)
        self.losses += tensors["losses"]
        moments = {
            number: {kind: tensors[f"{kind}/{name}"] for kind in _MOMENTS}
            for number, name in enumerate(self.order)
            if f"step/{name}" in tensors
        }
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.scorer.adopt({name: tensors[f"weight/{name}"] for name in self.parameters})
        self.best = {
            name: tensors[f"best/{name}"].to(self.scorer.device)
            for name in self.parameters
            if f"best/{name}" in tensors
        }

    def _save(self) -> None:
        """Write a checkpoint; the clock, which the caller stopped, goes on afterwards."""
        if self.checkpoint is not None:
            tensors = {"losses": self.losses}
            for name, weight in self.parameters.items():
                tensors[f"weight/{name}"] = weight
                # What no batch has asked for yet has no moments.
                tensors |= {f"{kind}/{name}": self.optimiser.state[weight][kind] for kind in self._known(weight)}
            tensors |= {f"best/{name}": weight for name, weight in self.best.items()}
            self.checkpoint.save(tensors, self.course.state())
        self.saved = self.mark = time.monotonic()

    def _known(self, weight: Tensor) -> tuple[str, ...]:
        return _MOMENTS if weight in self.optimiser.state else ()

    def _stop_clock(self) -> None:
        self.course.seconds += time.monotonic() - self.mark


_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
