"""Leave-one-out: a user's last event is the test, the one before the validation, the rest is learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from bench.splits.events import Events
from bench.splits.split import HeldOut, Part, exclude_union

__all__ = ["LastTwo", "last_two", "leave_one_out"]


@dataclass(frozen=True, eq=False)
class LastTwo:
    """The last two events of each user with at least three, among the events under a mask.

    Attributes
    ----------
    training : ndarray of bool, shape (events,)
        The masked events without the held-out ones.
    last : ndarray of bool, shape (events,)
        The test events.
    valid, test : tuple of (user, item, history)
        Arrays of shape (users,) and a Ragged with the items before the held-out event, oldest first.
    """

    training: NDArray[np.bool_]
    last: NDArray[np.bool_]
    valid: tuple[NDArray[np.int32], NDArray[np.int32], Ragged]
    test: tuple[NDArray[np.int32], NDArray[np.int32], Ragged]


def last_two(events: Events, mask: NDArray[np.bool_]) -> LastTwo:
    """Hold out the last two of each user's events under ``mask``; users with fewer than three keep all."""
    users, counts, where = events.by_user(mask)
    sequences = Ragged.from_lengths(counts, events.item[where])
    eligible = np.flatnonzero(counts >= 3)
    last = sequences.offsets[1:][eligible] - 1

    def before(steps: int) -> Ragged:
        kept = sequences.take(eligible)
        place = np.arange(len(kept.values)) - np.repeat(kept.offsets[:-1], kept.lengths)
        return kept.keep(place < np.repeat(kept.lengths - steps, kept.lengths))

    training = mask.copy()
    training[where[last]] = False
    training[where[last - 1]] = False
    tested = np.zeros(len(events), bool)
    tested[where[last]] = True
    held = users[eligible]
    return LastTwo(
        training=training,
        last=tested,
        valid=(held, sequences.values[last - 1], before(2)),
        test=(held, sequences.values[last], before(1)),
    )


def leave_one_out(events: Events) -> tuple[NDArray[np.bool_], list[HeldOut]]:
    """Split by leave-one-out, ranking the whole catalogue.

    Returns
    -------
    training : ndarray of bool, shape (events,)
    held_out : list of HeldOut
        One validation and one test set; unit of inference: the user.
    """
    cut = last_two(events, np.ones(len(events), bool))
    every_item = np.arange(len(events.items), dtype=np.int32)
    parts: tuple[tuple[Part, tuple[NDArray[np.int32], NDArray[np.int32], Ragged]], ...]
    parts = (("valid", cut.valid), ("test", cut.test))
    sets = [
        HeldOut(part, "warm-warm", None, "all", "user", user, item, history, exclude_union(history), every_item)
        for part, (user, item, history) in parts
    ]
    return cut.training, sets
