"""Ways to number items, for probes: what a number can give away depends on which events it was made from."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from bench.splits.split import Split

__all__ = ["NUMBERINGS", "Numbering", "first_appearance", "number_items", "walks"]

Numbering = Literal["original", "training-only", "random"]

NUMBERINGS: tuple[Numbering, ...] = get_args(Numbering)
"""``original``: P5's own, over everything a user ever did; ``training-only``: the same walk over training events, the
rest at random behind; ``random``."""


def first_appearance(sequences: Ragged, *, seed: int) -> NDArray[np.int32]:
    """Items in the order in which a walk through shuffled users meets them first.

    Parameters
    ----------
    sequences : Ragged
        A row a user, oldest first.
    seed : int
        Of the shuffle.

    Returns
    -------
    ndarray of int32, shape (items,)
        Every item that occurs, once.
    """
    order = np.random.default_rng([seed, len(sequences)]).permutation(len(sequences))
    met = sequences.take(order).values
    first = np.unique(met, return_index=True)[1]
    return met[np.sort(first)]


def walks(split: Split) -> tuple[NDArray[np.int32], Ragged]:
    """Everything each user did: training events, then what is shown and asked of them in the ranking sets.

    Of leave-one-out that is a user's whole sequence; of other protocols all that the split says of the user.

    Returns
    -------
    user : ndarray of int32, shape (users,)
        Codes, strictly increasing.
    items : Ragged
        May hold an item more than once.
    """
    users, items = [split.training.user[split.training.sequences.row_of]], [split.training.sequences.values]
    for held in sorted(split.held_out, key=lambda held: held.part != "valid"):
        users += [held.user[held.history.row_of], held.user]
        items += [held.history.values, held.item]
    user = np.concatenate(users)
    order = np.argsort(user, kind="stable")
    codes, lengths = np.unique(user, return_counts=True)
    return codes.astype(np.int32), Ragged.from_lengths(lengths, np.concatenate(items)[order])


def number_items(split: Split, numbering: Numbering, *, seed: int) -> NDArray[np.int64]:
    """Number all items of a split from 1.

    Parameters
    ----------
    seed : int
        Of the shuffle of users, and of what is placed at random.

    Returns
    -------
    ndarray of int64, shape (items,)
        By item code.
    """
    if numbering == "original":
        first = first_appearance(walks(split)[1], seed=seed)
    elif numbering == "training-only":
        first = first_appearance(split.training.sequences, seed=seed)
    else:
        first = np.empty(0, np.int32)
    rest = np.setdiff1d(np.arange(len(split.items), dtype=np.int32), first)
    order = np.concatenate([first, np.random.default_rng([seed, 1]).permutation(rest)])
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return number
