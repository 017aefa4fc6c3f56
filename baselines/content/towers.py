r"""Two linear towers over TF-IDF rows, and how they are trained; imports torch.

With :math:`x` the row of a user's profile and :math:`y` that of an item, both of length 1 or empty,

.. math:: s(x, y) = \tau \, \big( x^\top y + (A x)^\top (B y) \big) + b^\top y .

The first term keeps every word as a dimension of its own: the towers start as content kNN and learn what it misses,
which words of a profile speak for which *other* words of an item, and, by :math:`b`, which words are asked for at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from baselines.content.course import Course
from baselines.simple.profiles import profiles
from bench.models import Budget, Progress, Ragged

__all__ = ["Pairs", "Towers", "contrastive_loss", "project", "train"]

_SPREAD = 0.1
"""Standard deviation of the first weights, times the root of the dimensions: small beside the words' own term."""


class Towers(nn.Module):
    """The weights.

    Attributes
    ----------
    user, item : Parameter, shape (words, dimensions)
        The transposes of A and B.
    bias : Parameter, shape (words, 1)
        b.
    log_scale : Parameter, shape ()
        The logarithm of tau, the inverse temperature.
    """

    def __init__(self, words: int, dimensions: int, temperature: float, generator: torch.Generator) -> None:
        super().__init__()
        spread = _SPREAD / dimensions**0.5
        self.user = nn.Parameter(torch.randn(words, dimensions, generator=generator) * spread)
        self.item = nn.Parameter(torch.randn(words, dimensions, generator=generator) * spread)
        self.bias = nn.Parameter(torch.zeros(words, 1))
        self.log_scale = nn.Parameter(torch.tensor(-np.log(temperature), dtype=torch.float32))

    def forward(self, profile: csr_array, item: csr_array, shared: Tensor) -> Tensor:
        """Scores, shape (profiles, items); ``shared`` holds the products of the words' own term, same shape."""
        low = project(profile, self.user) @ project(item, self.item).T
        return self.log_scale.exp() * (shared + low) + project(item, self.bias).T


def project(rows: csr_array, weight: Tensor) -> Tensor:
    """The product of sparse rows and a dense matrix, shape (rows, columns of ``weight``)."""
    device = weight.device
    return functional.embedding_bag(
        torch.from_numpy(rows.indices.astype(np.int64)).to(device),
        weight,
        torch.from_numpy(rows.indptr[:-1].astype(np.int64)).to(device),
        mode="sum",
        per_sample_weights=torch.from_numpy(rows.data).to(device),
    )


def contrastive_loss(scores: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """Mean cross-entropy of the softmax over each row's candidates.

    Parameters
    ----------
    scores : Tensor, shape (pairs, candidates)
    target : Tensor of int64, shape (pairs,)
        Column of the item that followed.
    masked : Tensor of bool, shape (pairs, candidates)
        Candidates that are no negatives of the row; its target is never one of them, whatever is said here.
    """
    hidden = masked.scatter(1, target[:, None], False)
    return functional.cross_entropy(scores.masked_fill(hidden, -torch.inf), target)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What to learn from: the items a user had met, and the item that followed.

    Attributes
    ----------
    sequences : Ragged
        Positions of the training items that have a word, oldest first, a row a user.
    target : ndarray of int64, shape (pairs,)
        Where in ``sequences.values`` the item that followed stands: everywhere but at the start of a row.
    place : ndarray of int64, shape (pairs,)
        How many items of the row come before it.
    """

    sequences: Ragged
    target: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Ragged, worded: NDArray[np.bool_]) -> Pairs:
        """Pair every event with those before it; items without a word (``worded``, by position) do not take part."""
        sequences = sequences.keep(worded[sequences.values])
        place = np.arange(len(sequences.values)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
        target = np.flatnonzero(place > 0)
        return cls(sequences, target, place[target])

    def __len__(self) -> int:
        return len(self.target)

    def history(self, chosen: NDArray[np.int64], length: int) -> Ragged:
        """The last items, ``length`` at most, before each of the chosen pairs, oldest first."""
        back = np.arange(length, 0, -1)
        real = back <= self.place[chosen][:, None]
        where = (self.target[chosen][:, None] - back)[real]
        return Ragged.from_lengths(real.sum(axis=1), self.sequences.values[where])


def train(
    towers: Towers,
    rows: csr_array,
    pairs: Pairs,
    *,
    history_items: int,
    half_life_items: float | None,
    batch_pairs: int,
    learning_rate: float,
    word_dropout: float,
    validate: Callable[[], float],
    budget: Budget,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Any]:
    """Train ``towers`` in place and leave the weights with the best validation number in them.

    The candidates of a batch are the distinct items that follow in it; what a user met at any time is no negative.

    Parameters
    ----------
    rows : csr_array of float32, shape (items, words)
    pairs : Pairs
        At least one.
    word_dropout : float
        Share of a row's entries that the projections do not see in a step (the others are raised to make up for it).

    Returns
    -------
    dict
        The fields of a ``FitReport`` that concern the course of training.
    """
    met = pairs.sequences
    met = csr_array((np.ones(len(met.values), bool), met.values, met.offsets), shape=(len(met), rows.shape[0]))
    user, item = pairs.sequences.row_of[pairs.target], pairs.sequences.values[pairs.target]
    optimiser = torch.optim.Adam(towers.parameters(), lr=learning_rate, fused=True)
    best: dict[str, Tensor] = {}

    def keep() -> None:
        best.update({name: weight.detach().clone() for name, weight in towers.state_dict().items()})

    course = Course(budget, validate=validate, keep=keep, progress=progress)
    device, epoch_steps, step, on = towers.bias.device, -(-len(pairs) // batch_pairs), 0, True
    while on:
        for chosen in np.array_split(rng.permutation(len(pairs)), epoch_steps):
            candidates, target = np.unique(item[chosen], return_inverse=True)
            profile = profiles(pairs.history(chosen, history_items), rows, half_life_items)
            shown = rows[candidates]
            shared = torch.from_numpy((profile @ shown.T).toarray()).to(device)
            scores = towers(_dropped(profile, word_dropout, rng), _dropped(shown, word_dropout, rng), shared)
            masked = torch.from_numpy(met[user[chosen]][:, candidates].toarray()).to(device)
            loss = contrastive_loss(scores, torch.from_numpy(target).to(device), masked)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            on = course.goes_on(step, step / epoch_steps, loss.item())
            if not on:
                break
    towers.load_state_dict(best)
    return course.report_fields()


def _dropped(rows: csr_array, share: float, rng: np.random.Generator) -> csr_array:
    if share == 0:
        return rows
    kept = (rng.random(len(rows.data), dtype=np.float32) >= share).astype(np.float32) / np.float32(1 - share)
    return csr_array((rows.data * kept, rows.indices, rows.indptr), shape=rows.shape)
