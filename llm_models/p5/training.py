"""The optimiser's loop: the same numbers however often it is interrupted."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.models import Budget, Progress, Selection
from llm_models.checkpoint import Checkpoint
from llm_models.p5.network import P5Network
from llm_models.p5.settings import P5Settings
from llm_models.p5.team import Team, recruit
from llm_models.p5.writer import IGNORED, Batch

__all__ = ["ORIGINAL", "Batches", "Course", "train"]

#: How long the original trains (Geng et al. 2022, on the Amazon Beauty reviews of 2014).
ORIGINAL = {
    "epochs": 10,
    "hours": {"t5-small": 6.7, "t5-base": 24.3},
    "machine": "four A5000",
    "dataset": "Amazon Beauty 2014",
}
#: Evaluations of a run whose budget names no interval.
EVALUATIONS = 20
#: Seconds after which a checkpoint is due, beside those at every evaluation.
SAVE_EVERY_S = 300.0
#: Steps between two reports of the loss: to read it, a graphics card must be waited for.
TELL_EVERY = 10


class Batches(Protocol):
    """What training reads: see :class:`llm_models.p5.mixture.Mixture`."""

    @property
    def families(self) -> Collection[str]:
        """Names that ``Batch.family`` counts."""

    @property
    def steps_an_epoch(self) -> float:
        """Batches in one pass over the training data."""

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Give batches from number ``start`` on."""


class Course:
    """A training run: what it has done, and what it goes on with.

    Attributes
    ----------
    selection : Selection
    step : int
        Optimiser steps taken.
    targets, tokens : int
        Answers learned from, and tokens of prompts read, padding not counted.
    seconds : float
        Spent on training alone: neither validation nor checkpoints.
    family_losses : dict of str to list of (float or None)
        For every evaluation the mean loss of a family's answers since the one before.
    """

    def __init__(self, steps_an_epoch: float, families: Collection[str], budget: Budget) -> None:
        self.steps_an_epoch = steps_an_epoch
        self.selection = Selection(budget)
        self.step = self.targets = self.tokens = 0
        self.seconds = 0.0
        self.family_losses: dict[str, list[float | None]] = {family: [] for family in families}

    @property
    def epoch(self) -> float:
        """Passes over the training data."""
        return self.step / self.steps_an_epoch

    def state(self) -> dict[str, Any]:
        """All of it, JSON-serialisable."""
        kept = ("step", "targets", "tokens", "seconds", "family_losses")
        return {**{name: getattr(self, name) for name in kept}, "selection": self.selection.state()}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state` said."""
        self.selection = Selection.resumed(self.selection.budget, state.pop("selection"))
        for name, value in state.items():
            setattr(self, name, value)

    def notes(self) -> dict[str, Any]:
        """What a ``FitReport`` should tell beside the fields of ``selection``.

        Returns
        -------
        dict
            ``family_losses``, a list for each family beside the report's curve, and ``cost``: ``targets_per_second``,
            ``targets``, ``prompt_tokens_read``, ``training_hours``, ``hours_of_original_schedule`` (10 passes over the
            mixture at the rate measured here), and ``original``, the figures of the original.
        """
        hours = self.seconds / 3600
        ten = ORIGINAL["epochs"] * self.steps_an_epoch
        cost = {
            "targets_per_second": self.targets / self.seconds if self.step else None,
            "targets": self.targets,
            "prompt_tokens_read": self.tokens,
            "training_hours": hours,
            "hours_of_original_schedule": hours * ten / self.step if self.step else None,
            "original": ORIGINAL,
        }
        return {"family_losses": self.family_losses, "cost": cost}


def train(
    network: P5Network,
    mixture: Batches,
    settings: P5Settings,
    *,
    budget: Budget,
    seed: int,
    validate: Callable[[], float],
    progress: Progress,
    scratch: Path | None = None,
) -> Course:
    """Train, and leave the selected weights in ``network``; with ``patience`` 0 those of the last step.

    Torch's global generator draws what is dropped out; its state is part of a checkpoint.

    Parameters
    ----------
    network : P5Network
        On the device that computes.
    mixture : Batches
        Sent to the other processes, where there are any.
    budget : Budget
        ``settings.steps`` where it limits neither steps nor epochs; with 0 steps the network stays as it is.
    validate : callable
        The validation number of the network as it stands.
    scratch : Path, optional
        A folder of the run: a checkpoint is kept there, and one that is found is taken up.
    """
    device = network.whole_word.weight.device
    rest = (mixture, settings, budget, seed, scratch)
    with recruit(settings.processes, device, _follow, network.description(), *rest) as team:
        trainer = _Trainer(network, team, *rest)
        trainer.run(validate, progress)
    return trainer.course


def _follow(team: Team, device: torch.device, description: dict[str, Any], *rest: Any) -> None:
    """Train as a process other than the first; weights come from that."""
    network = P5Network.described(description).to(device)
    _Trainer(network, team, *rest).run(lambda: 0.0, lambda done, total, note="": None)


class _Trainer:
    def __init__(
        self,
        network: P5Network,
        team: Team,
        mixture: Batches,
        settings: P5Settings,
        budget: Budget,
        seed: int,
        scratch: Path | None,
    ) -> None:
        self.network, self.team, self.mixture, self.settings = network, team, mixture, settings
        self.device = network.whole_word.weight.device
        steps_an_epoch = mixture.steps_an_epoch / settings.accumulate
        limits = [budget.max_steps, _steps_of(budget.max_epochs, steps_an_epoch)]
        self.total = min([limit for limit in limits if limit is not None], default=settings.steps)
        self.every = budget.eval_every_steps or _steps_of(budget.eval_every_epochs, steps_an_epoch)
        self.every = self.every or max(1, math.ceil(self.total / EVALUATIONS))
        budget = budget.model_copy(update={"max_steps": self.total, "max_epochs": None})
        self.course = Course(steps_an_epoch, mixture.families, budget)
        self.parameters = dict(network.named_parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            eps=settings.adam_epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.best: dict[str, Tensor] = {}
        # Sum of the losses, and number, of every family's answers since the last evaluation.
        self.losses = torch.zeros(len(mixture.families), 2, dtype=torch.float64, device=self.device)
        self.checkpoint = None if scratch is None else Checkpoint(scratch, self._digest(budget, seed))
        self.saved = self.mark = time.monotonic()
        if team.rank:
            torch.manual_seed(seed + team.rank)

    def _digest(self, budget: Budget, seed: int) -> str:
        """Hash of what decides how training goes, beside what is in the network now."""
        shapes = {name: list(weight.shape) for name, weight in self.parameters.items()}
        decides = [
            self.settings.model_dump(mode="json"),
            budget.model_dump(mode="json"),
            seed,
            shapes,
            list(self.mixture.families),
            self.mixture.steps_an_epoch,
            self.team.size,
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def run(self, validate: Callable[[], float], progress: Progress) -> None:
        """Train to the end."""
        course, total = self.course, self.total
        self._resume()
        if not total:
            course.selection.stopped = "budget"
        steps = self._steps()
        self.mark = time.monotonic()
        while not course.selection.stopped:
            loss = self._learn(next(steps))
            told = course.step % TELL_EVERY == 0
            if told or course.step == total:
                progress(course.step, total, f"loss {loss.item():.3f}")
            if course.step % self.every == 0 or course.step == total:
                self._evaluate(validate)
            elif told and self._due():
                self._stop_clock()
                self._save()
        if self.best:
            self.network.adopt(self.best)
        self.network.eval()

    def _resume(self) -> None:
        """Take up a checkpoint, if there is one."""
        found = self.checkpoint.load() if self.checkpoint else None
        if found is not None:
            tensors, state = found
            self.course.resume(state)
            moments = [
                {
                    "step": torch.tensor(float(self.course.step)),
                    "exp_avg": tensors[f"first/{name}"],
                    "exp_avg_sq": tensors[f"second/{name}"],
                }
                for name in self.parameters
            ]
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict({"state": dict(enumerate(moments)), "param_groups": groups})
            self.network.adopt({name: tensors[f"weight/{name}"] for name in self.parameters})
            self.best = {
                name: tensors[key].to(self.device) for name in self.parameters if (key := f"best/{name}") in tensors
            }
            if not self.team.rank:
                self.losses += tensors["losses"].to(self.device)
            self.team.set_random(tensors, self.device)
        self.module = self.team.module(self.network)
        self.network.train()

    def _steps(self) -> Iterator[list[Batch]]:
        """The batches of every step to come."""
        batches = self.mixture.batches(self.course.step * self.settings.accumulate)
        while True:
            yield list(itertools.islice(batches, self.settings.accumulate))

    def _learn(self, batches: list[Batch]) -> Tensor:
        """Take a step; returns the loss of the last batch of this process.

        Every answer of the step weighs the same, however batches and processes share them.
        """
        course, team = self.course, self.team
        answers = sum(int((batch.labels[:, :, 0] != IGNORED).sum()) for batch in batches)
        self._set_rate()
        self.optimiser.zero_grad(set_to_none=True)
        own, half = batches[team.rank :: team.size], self.settings.dtype == "bfloat16"
        for number, batch in enumerate(own, start=1):
            ids, words, labels = (torch.from_numpy(a).to(self.device) for a in (batch.ids, batch.words, batch.labels))
            with team.waiting(self.module) if number < len(own) else nullcontext():
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
                    loss, each = self.module(ids, words, labels, answers / team.size)
                loss.backward()
            family = torch.from_numpy(batch.family).to(self.device)
            asked = (labels[:, :, 0] != IGNORED).sum(1)
            self.losses.index_add_(0, family, torch.stack([each.double().sum(1), asked.double()], 1))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.optimiser.step()
        course.step += 1
        course.targets += answers
        course.tokens += sum(int((batch.ids > 0).sum()) for batch in batches)
        return each.sum() / asked.sum()

    def _set_rate(self) -> None:
        """Rise over the share ``warm_up`` of all steps, then fall to 0, both linear."""
        step, total = self.course.step, self.total
        rise = max(1, round(self.settings.warm_up * total))
        share = min((step + 1) / rise, (total - step) / max(1, total - rise))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * share

    def _evaluate(self, validate: Callable[[], float]) -> None:
        """Ask for the validation number, keep the weights if they are the ones to keep, and save all."""
        course, selection = self.course, self.course.selection
        sums, counts = self.team.total(self.losses).T.tolist()
        self._stop_clock()
        for losses, loss, count in zip(course.family_losses.values(), sums, counts, strict=True):
            losses.append(loss / count if count else None)
        self.losses.zero_()
        validation = self.team.same(validate() if not self.team.rank else 0.0)
        loss = sum(sums) / sum(counts)
        if selection.observe(step=course.step, epoch=course.epoch, loss=loss, validation=validation):
            self.best = {name: weight.detach().clone() for name, weight in self.parameters.items()}
        selection.stopped = self.team.same(selection.stopped)
        self.network.train()
        self._save()

    def _due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.checkpoint is not None and self.team.same(time.monotonic() - self.saved >= SAVE_EVERY_S)

    def _save(self) -> None:
        """Write a checkpoint; the clock, which the caller stopped, goes on afterwards."""
        if self.checkpoint is not None:
            tensors = {"losses": self.team.total(self.losses), **self.team.random(self.device)}
            for name, weight in self.parameters.items():
                moments = self.optimiser.state[weight]
                tensors[f"weight/{name}"] = weight
                tensors[f"first/{name}"], tensors[f"second/{name}"] = moments["exp_avg"], moments["exp_avg_sq"]
            tensors |= {f"best/{name}": weight for name, weight in self.best.items()}
            if not self.team.rank:
                self.checkpoint.save(tensors, self.course.state())
        self.saved = self.mark = time.monotonic()

    def _stop_clock(self) -> None:
        self.course.seconds += time.monotonic() - self.mark


def _steps_of(epochs: int | None, steps_an_epoch: float) -> int | None:
    return None if epochs is None else math.ceil(epochs * steps_an_epoch)
