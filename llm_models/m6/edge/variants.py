"""A fitted click model around another network: tuned on, leaving early, pruned, in 8 bits; asked like any other.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import UsageError
from bench.models import Ragged, Requests, Training
from llm_models.m6.behaviour import Segments
from llm_models.m6.click import M6Click
from llm_models.m6.click_rows import Examples, Grouped
from llm_models.m6.click_scoring import Asked, ClickScorer
from llm_models.m6.edge.early_exit import Exits, Leaving, Weighting, answer, every_exit, exit_loss, leave
from llm_models.m6.network import Batch, M6Network
from llm_models.m6.packing import buckets

__all__ = ["EdgeScorer", "Lessons", "Variant", "tune"]


class EdgeScorer(ClickScorer):
    """What a click model computes with, around another network; states of segments are not kept.

    Attributes
    ----------
    leaving : Leaving or None
        When candidates leave; ``None``: after the last layer.
    exits : list of Tensor of int64
        At which exit each candidate of the batches so far left; with ``leaving`` alone.
    known : dict or None
        Where the logits of all exits of a batch are looked up, and kept, instead of leaving early: variants that differ
        in ``leaving`` alone are then measured in one pass. ``None``: rows leave.
    """

    def __init__(self, fitted: ClickScorer, network: M6Network, leaving: Leaving | None = None) -> None:
        # Nothing is loaded: all but the network is taken over.
        self.settings, self.device = fitted.settings, fitted.device
        self.tokenizer, self.begin, self.end = fitted.tokenizer, fitted.begin, fitted.end
        self.network, self.leaving = network, leaving
        self.exits: list[Tensor] = []
        self.known: dict[bytes, Tensor] | None = None

    def read(self, segments: Segments) -> Asked:
        """See :meth:`ClickScorer.read`."""
        return replace(super().read(segments), lower=None)

    def logits(self, asked: Asked, parts: list[tuple[str, Grouped]]) -> list[Tensor]:
        """See :meth:`ClickScorer.logits`."""
        if self.leaving is None:
            return super().logits(asked, parts)
        [(task, rows)] = parts
        batch = asked.packer.pack(rows.user, rows.target, [(task, len(rows))])
        found = answer(self.network, batch, self.leaving) if self.known is None else self._recalled(batch)
        self.exits.append(found.exit)
        return [found.logits]

    def _recalled(self, batch: Batch) -> Exits:
        assert self.known is not None
        assert self.leaving is not None
        parts = (batch.tokens, batch.special, batch.layout.segment)
        key = hashlib.sha256(b"".join(part.cpu().numpy().tobytes() for part in parts)).digest()
        if key not in self.known:
            self.known[key] = every_exit(self.network, batch)
        return leave(self.known[key], self.leaving)

    @property
    def layers_run(self) -> float:
        """Layers that a candidate went through, mean over all that were asked about."""
        if self.leaving is None:
            return self.network.stack.depth
        return float(self.network.late + torch.cat(self.exits).double().mean())


class Variant(M6Click):
    """A fitted click model with another network.

    Parameters
    ----------
    fitted : M6Click
        What it is a variant of: settings, statistics and templates are its own.
    network : M6Network or None
        ``None``: a copy of the fitted one.
    leaving : Leaving or None
    """

    def __init__(self, fitted: M6Click, network: M6Network | None = None, leaving: Leaving | None = None) -> None:
        super().__init__(fitted.settings, device=fitted.device)
        if fitted._scorer is None:
            raise ValueError("a variant is made of a fitted model")
        if fitted.settings.tasks != ("click",):
            raise UsageError(f"edge steps are for models of clicks alone, not of {', '.join(fitted.settings.tasks)}")
        self._statistics = fitted._statistics
        network = copy.deepcopy(fitted._scorer.network) if network is None else network
        self._scorer: EdgeScorer = EdgeScorer(fitted._scorer, network, leaving)

    @property
    def network(self) -> M6Network:
        """The network."""
        return self._scorer.network

    @property
    def scorer(self) -> EdgeScorer:
        """What it computes with."""
        return self._scorer

    def lessons(self, training: Training, *, seed: int) -> Lessons:
        """Write and tokenise the training clicks, as its fit did."""
        examples = Examples.of(training, self.settings, seed)
        segments = self._writer().click_rows(
            examples.user, examples.history, examples.item, training.items, pairs=examples.pairs
        )
        labelled = examples.tasks["click"]
        asked = self._scorer.read(segments)
        rows = asked.rows(labelled.row, most=self.settings.targets_per_row)
        return Lessons(asked, rows, labelled.label)

    def read(self, requests: Requests) -> Asked:
        """Write and tokenise requests."""
        assert requests.item is not None
        history = Ragged.empty(len(requests)) if requests.history is None else requests.history
        return self._scorer.read(self._writer().click_rows(requests.user, history, requests.item, requests.text))


@dataclass(frozen=True, eq=False)
class Lessons:
    """Training clicks as rows.

    Attributes
    ----------
    asked : Asked
    rows : Grouped
    labels : ndarray of int64, shape (clicks,)
    """

    asked: Asked
    rows: Grouped
    labels: NDArray[np.int64]

    def batches(self, tokens: int, seed: int) -> Iterator[Grouped]:
        """Batches of like length without end, shuffled anew every epoch."""
        lengths, epoch = self.asked.lengths(self.rows), 0
        while True:
            for part in buckets(lengths, tokens=tokens, rng=np.random.default_rng((seed, epoch))):
                yield self.rows.take(np.sort(part))
            epoch += 1


def tune(
    variant: Variant,
    lessons: Lessons,
    *,
    steps: int,
    seed: int,
    exits: Weighting | None = None,
    after_step: Callable[[int], None] | None = None,
    told: Callable[[int, float], None] | None = None,
) -> None:
    """Train a variant's network in place, with its settings' batches and rates; what the last step gives is kept.

    Parameters
    ----------
    exits : {"quoted", "normalised"} or None
        A loss at every layer, weighted so; ``None``: at the last alone.
    after_step : callable or None
        Called with the number of each optimiser step, from 1: where a pruner holds its weights.
    told : callable or None
        Called after it with the number and the loss of a candidate.
    """
    scorer, settings = variant.scorer, variant.settings
    parameters = scorer.declared
    optimiser = torch.optim.AdamW(_groups(variant), fused=True)
    rates = [group["lr"] for group in optimiser.param_groups]
    batches = lessons.batches(settings.batch_tokens, seed)
    for step in range(1, steps + 1):
        share = _share(step, steps, settings.warm_up)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share
        optimiser.zero_grad(set_to_none=True)
        taken = [next(batches) for _ in range(settings.accumulate)]
        count, total = sum(len(rows.of.values) for rows in taken), 0.0
        for rows in taken:
            labels = torch.from_numpy(lessons.labels[rows.of.values]).to(variant.device)
            loss = _loss(scorer, lessons.asked, rows, labels, exits) * (len(labels) / count)
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(parameters.values(), settings.clip)
        optimiser.step()
        if after_step is not None:
            after_step(step)
        if told is not None:
            told(step, total)


def _loss(scorer: EdgeScorer, asked: Asked, rows: Grouped, labels: Tensor, exits: Weighting | None) -> Tensor:
    if exits is None:
        return functional.cross_entropy(scorer.logits(asked, [("click", rows)])[0], labels)
    batch = asked.packer.pack(rows.user, rows.target, [("click", len(rows))])
    return exit_loss(scorer.network, batch, labels, exits)


def _groups(variant: Variant) -> list[dict[str, object]]:
    """Parameters with the rate and decay that the settings have for their kind."""
    settings, groups = variant.settings, []
    for name, weight in variant.scorer.declared.items():
        if name.startswith("stack."):
            rate, decay = settings.backbone_rate, settings.weight_decay
        elif ".adapters." in name:
            rate, decay = settings.adapter_rate, settings.weight_decay
        else:
            rate, decay = settings.learning_rate, settings.weight_decay if ".head." in name else 0.0
        groups.append({"params": [weight], "lr": rate, "weight_decay": decay})
    return groups


def _share(step: int, steps: int, warm_up: float) -> float:
    """Share of the rates: up over the first steps, then down along half a cosine."""
    rise = max(1, round(warm_up * steps))
    if step <= rise:
        return step / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, steps - rise))
