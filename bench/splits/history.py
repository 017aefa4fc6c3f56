"""What a user had done before an event."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged, ranges
from bench.splits.events import Events

__all__ = ["before", "items_at"]


def before(events: Events, targets: NDArray[np.integer], pool: NDArray[np.bool_], *, strictly: bool = False) -> Ragged:
    """Find the events of the target's user before each target.

    Parameters
    ----------
    targets : ndarray of int, shape (targets,)
        Positions of events.
    pool : ndarray of bool, shape (events,)
        The events that count.
    strictly : bool
        Whether an event in the same second as the target is not before it; without times, the order decides.

    Returns
    -------
    Ragged
        A row a target: positions of events, oldest first.
    """
    where = np.flatnonzero(pool)
    start = np.searchsorted(where, np.searchsorted(events.user, events.user[targets]))
    stop = np.searchsorted(where, _moment(events)[targets] if strictly else targets)
    lengths = stop - start
    return Ragged.from_lengths(lengths, where[ranges(start, lengths)])


def items_at(events: Events, positions: Ragged) -> Ragged:
    """Items of the events at ``positions``, row by row."""
    return Ragged(positions.offsets, events.item[positions.values])


def _moment(events: Events) -> NDArray[np.int64]:
    """The first position of each event's user and second."""
    place = np.arange(len(events))
    if events.time is None or not len(events):
        return place
    time = events.time[:]
    new = (events.user[1:] != events.user[:-1]) | (time[1:] != time[:-1])
    return np.maximum.accumulate(np.where(np.append(True, new), place, 0))
