"""Whether what is asked for was learned from: held-out pairs among the training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.splits.split import Split

__all__ = ["Overlap", "pair_overlap"]


@dataclass(frozen=True)
class Overlap:
    """One held-out set.

    Attributes
    ----------
    name : str
        ``test, warm-warm`` and, of labelled pairs, their kind.
    pairs : int
        Held-out user-item pairs.
    found : int
        How many of them are a training row, as an event or as a labelled pair.
    """

    name: str
    pairs: int
    found: int


def pair_overlap(split: Split) -> list[Overlap]:
    """Look for every held-out pair among the training rows, once a set of pairs."""
    training = split.training
    users, items = [training.user[training.sequences.row_of]], [training.sequences.values]
    if training.pairs is not None:
        users, items = [*users, training.pairs.user], [*items, training.pairs.item]
    learned = _keys(np.concatenate(users), np.concatenate(items))
    held = {f"{one.part}, {one.quadrant}": (one.user, one.item) for one in split.held_out}
    held |= {f"{one.part}, {one.quadrant}, {one.pairs.kind}": (one.pairs.user, one.pairs.item) for one in split.pairs}
    return [
        Overlap(name, len(user), int(np.isin(_keys(user, item), learned).sum())) for name, (user, item) in held.items()
    ]


def _keys(user: NDArray[np.int32], item: NDArray[np.int32]) -> NDArray[np.int64]:
    return (user.astype(np.int64) << 32) | item
