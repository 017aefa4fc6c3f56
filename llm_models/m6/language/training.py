"""The causal loss on texts of several tasks, in mixed-task batches. Imports torch: import it inside a method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from bench.models import Budget, Progress, Selection
from llm_models.m6.language.model import LanguageModel
from llm_models.m6.language.rows import Row, Rows
from llm_models.m6.packing import buckets

__all__ = ["batches_of", "fit_rows"]

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises; then it falls to 0 along a line."""

CLIP = 1.0
"""Longest gradient."""


def batches_of(
    packer: Rows, rows: Sequence[Row], *, tokens: int, rng: np.random.Generator | None = None
) -> Iterator[list[int]]:
    """Positions of rows that make a batch: of like length, whatever their tasks, and each task's together."""
    lengths = np.array([packer.length(row) for row in rows], np.int64)
    for places in buckets(lengths, tokens=tokens, rng=rng):
        yield sorted(places.tolist(), key=lambda place: rows[place].task)


def fit_rows(
    model: LanguageModel,
    rows: Sequence[Row],
    *,
    learning_rate: float,
    weight_decay: float = 0.01,
    batch_tokens: int = 4096,
    budget: Budget,
    seed: int,
    validate: Callable[[], float],
    progress: Progress,
) -> Selection:
    """Train a model in place on rows with targets; it ends as validation chose it, its start among the candidates.

    Parameters
    ----------
    batch_tokens : int
        Padded tokens of a batch, soft prompts left out.
    validate : callable
        The validation number of the model as it stands; higher is better.
    """
    budget.must_end()
    rng = np.random.default_rng(seed)
    counts = np.bincount(
        [token for row in rows for token in (*row.target, model.rows.end)], minlength=len(model.stack.words.weight)
    )
    model.head.start_at(torch.from_numpy(counts).to(model.stack.device))
    trained = list(model.trained().values())
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    per_epoch = sum(1 for _ in batches_of(model.rows, rows, tokens=batch_tokens))
    ends = [budget.max_steps, None if budget.max_epochs is None else budget.max_epochs * per_epoch]
    last = min((end for end in ends if end), default=0)
    selection = Selection(budget)
    best = [weight.detach().clone() for weight in trained]
    losses: list[float] = []

    def evaluate(step: int) -> None:
        nonlocal best
        loss = float(np.mean(losses))
        if selection.observe(step=step, epoch=step / per_epoch, loss=loss, validation=validate()):
            best = [weight.detach().clone() for weight in trained]
        progress(step, last, f"loss {loss:.3f}")

    with torch.random.fork_rng(devices=[model.stack.device] if model.stack.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for step, places in enumerate(_for_ever(model.rows, rows, batch_tokens, rng), start=1):
            values, _ = model.token_likelihoods(model.rows.pack([rows[place] for place in places]))
            loss = -values.mean()
            losses.append(loss.item())
            if step == 1:
                evaluate(0)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * _share(step, last)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimiser.step()
            if budget.due(step, step / per_epoch):
                evaluate(step)
                losses.clear()
            if selection.stopped:
                break
    with torch.no_grad():
        for weight, kept in zip(trained, best, strict=True):
            weight.copy_(kept)
    return selection


def _share(step: int, last: int) -> float:
    """What part of the learning rate a step has, steps counted from 1; without an end it does not fall."""
    warm = max(1, math.ceil(WARM_UP * last)) if last else 20
    if step <= warm or not last:
        return min(1.0, step / warm)
    return (last + 1 - step) / (last + 1 - warm)


def _for_ever(packer: Rows, rows: Sequence[Row], tokens: int, rng: np.random.Generator) -> Iterator[list[int]]:
    while True:
        yield from batches_of(packer, rows, tokens=tokens, rng=rng)
