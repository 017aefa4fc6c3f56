"""Training the heads: pairs of a history and the item that followed it. Imports torch: import it inside a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import dropout, linear, normalize

from bench.errors import UsageError
from bench.models import Budget, Ragged, Selection
from llm_models.m6.heads import Floats, Heads, collisions, contrastive_loss
from llm_models.m6.settings import M6Settings

__all__ = ["Pairs", "train_heads", "training_pairs"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What the heads learn from.

    Attributes
    ----------
    user : ndarray of int64, shape (pairs,)
        Row of ``positives``.
    item : ndarray of int64, shape (pairs,)
        Row of the item table: the target.
    history : Ragged
        Rows of the item table met just before the target, oldest first; never empty.
    positives : Ragged
        Per user all rows of the item table met in training.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    history: Ragged
    positives: Ragged

    def __len__(self) -> int:
        return len(self.item)


def training_pairs(sequences: Ragged, *, window: int, targets_per_user: int | None) -> Pairs:
    """Cut sequences into pairs: each user's latest targets, each with the (at most ``window``) items before it."""
    place = np.arange(len(sequences.values)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    wanted = place >= 1
    if targets_per_user is not None:
        wanted &= np.repeat(sequences.lengths, sequences.lengths) - place <= targets_per_user
    ends = np.flatnonzero(wanted)
    lengths = np.minimum(place[ends], window)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    history = Ragged.from_lengths(lengths, sequences.values[np.repeat(ends - lengths, lengths) + within])
    return Pairs(sequences.row_of[ends], sequences.values[ends].astype(np.int64), history, sequences)


def train_heads(
    heads: Heads,
    users: Floats,
    items: Floats,
    pairs: Pairs,
    settings: M6Settings,
    *,
    budget: Budget,
    seed: int,
    validate: Callable[[], float],
    told: Callable[[int, int, str], None],
) -> Selection:
    """Train ``heads`` in place; they end as validation chose them, the start among the candidates.

    Parameters
    ----------
    users : ndarray of float32, shape (pairs, width)
        Frozen vectors of the pairs' histories.
    items : ndarray of float32, shape (items, width)
        Frozen vectors of the item table.
    validate : callable
        The validation number of the heads as they are now.
    told : callable
        Progress: steps done, steps in all, a note.
    """
    rng = np.random.default_rng(seed)
    device = heads.user.device
    frozen_users, frozen_items = torch.from_numpy(users).to(device), torch.from_numpy(items).to(device)
    counts = np.bincount(pairs.item, minlength=len(items)).clip(min=1)
    log_share = torch.from_numpy(np.log(counts / len(pairs)).astype(np.float32)).to(device)
    parameters = [heads.user.requires_grad_(), heads.item.requires_grad_()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def loss_of(batch: NDArray[np.int64]) -> torch.Tensor:
        rows = torch.from_numpy(pairs.item[batch]).to(device)
        h_user = dropout(frozen_users[torch.from_numpy(batch).to(device)], settings.dropout)
        h_item = dropout(frozen_items[rows], settings.dropout)
        return contrastive_loss(
            normalize(linear(h_user, heads.user), dim=1),
            normalize(linear(h_item, heads.item), dim=1),
            torch.from_numpy(collisions(pairs.user[batch], pairs.item[batch], pairs.positives)).to(device),
            temperature=settings.temperature,
            offset=settings.popularity_correction * log_share[rows] if settings.popularity_correction else None,
        )

    selection = Selection(budget)
    best = heads.copy()
    per_epoch = -(-len(pairs) // settings.batch_size)
    schedule = _Schedule(budget, per_epoch)
    losses: list[float] = []

    def evaluate(step: int) -> None:
        nonlocal best
        loss = float(np.mean(losses))
        if selection.observe(step=step, epoch=step / per_epoch, loss=loss, validation=validate()):
            best = heads.copy()
        told(step, schedule.last_step, f"loss {loss:.3f}")

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for step, batch in enumerate(_batches(len(pairs), settings.batch_size, rng), start=1):
            loss = loss_of(batch)
            losses.append(loss.item())
            if step == 1:
                evaluate(0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if schedule.due(step):
                evaluate(step)
                losses.clear()
            if selection.stopped:
                break
    heads.user, heads.item = best.user, best.item
    return selection


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Positions of ``size`` pairs at a time, reshuffled every epoch, without end."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count, size):
            yield order[start : start + size]


class _Schedule:
    """After which steps to evaluate: as the budget says, by default after each epoch, and at its end."""

    def __init__(self, budget: Budget, per_epoch: int) -> None:
        ends = [budget.max_steps, budget.max_epochs and budget.max_epochs * per_epoch]
        self.last_step = min((end for end in ends if end), default=0)
        if not self.last_step and not budget.patience:
            raise UsageError("a budget needs max_steps, max_epochs or patience: without any, training has no end")
        self.periods = [budget.eval_every_steps, budget.eval_every_epochs and budget.eval_every_epochs * per_epoch]
        if not any(self.periods):
            self.periods = [per_epoch]

    def due(self, step: int) -> bool:
        """Whether to evaluate after this step."""
        return step == self.last_step or any(period and step % period == 0 for period in self.periods)
