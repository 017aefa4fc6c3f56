"""Labelled pairs made of events."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.column import Column
from bench.data.ragged import Ragged
from bench.splits.draws import declared_negatives
from bench.splits.events import Events
from bench.splits.training import Pairs

__all__ = ["beside_clicks", "clicks_with_negatives", "event_pairs"]


def event_pairs(
    events: Events,
    rows: NDArray[np.integer],
    label: NDArray[np.floating] | Column[np.float32],
    kind: Literal["rating", "click"],
    history: Ragged,
) -> Pairs:
    """Make every event at ``rows`` a pair.

    Parameters
    ----------
    rows : ndarray of int, shape (pairs,)
        Positions of events.
    label : ndarray or Column of float, shape (events,)
        Labels of *all* events.
    kind : str
    history : Ragged
        Items before each of ``rows``, oldest first.
    """
    return Pairs(
        events.user[rows],
        events.item[rows],
        label[rows].astype(np.float32),
        history,
        None if events.time is None else events.time[rows],
        kind,
        None if events.reviews is None else events.reviews.take(rows),
    )


def clicks_with_negatives(
    events: Events, rows: NDArray[np.integer], n: int, seed: int, horizon: NDArray[np.bool_], history: Ragged
) -> Pairs:
    """Make every event at ``rows`` a click with ``n`` declared negatives, which share its time and history."""
    negatives = declared_negatives(events, rows, n, seed, horizon)
    time = None if events.time is None else events.time[rows]
    return beside_clicks(events.user[rows], events.item[rows], history, time, negatives)


def beside_clicks(
    user: NDArray[np.int32], item: NDArray[np.int32], history: Ragged, time: NDArray[np.int64] | None, negatives: Ragged
) -> Pairs:
    """Put clicks and their declared negatives together.

    A click and its negatives stand together, in order of item code, so that the place does not tell which is which.

    Parameters
    ----------
    user, item : ndarray of int32, shape (clicks,)
    history : Ragged
        Items before each click, oldest first.
    time : ndarray of int64, shape (clicks,), or None
    negatives : Ragged
        Items of each click's negatives.
    """
    clicks = len(user)
    owner = np.concatenate([np.arange(clicks), negatives.row_of])
    items = np.concatenate([item, negatives.values])
    label = np.repeat(np.array([1, 0], np.float32), [clicks, len(negatives.values)])
    order = np.lexsort((items, owner))
    owner = owner[order]
    return Pairs(
        user[owner], items[order], label[order], history.take(owner), None if time is None else time[owner], "click"
    )
