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

__all__ = ["clicks_with_negatives", "event_pairs"]


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
    """Make every event at ``rows`` a click with ``n`` declared negatives, which share its time and history.

    A click and its negatives stand together, in order of item code, so that the place does not tell which is which.
    """
    negatives = declared_negatives(events, rows, n, seed, horizon)
    owner = np.concatenate([np.arange(len(rows)), negatives.row_of])
    item = np.concatenate([events.item[rows], negatives.values])
    label = np.repeat(np.array([1, 0], np.float32), [len(rows), len(negatives.values)])
    order = np.lexsort((item, owner))
    owner = owner[order]
    return Pairs(
        events.user[rows][owner],
        item[order],
        label[order],
        history.take(owner),
        None if events.time is None else events.time[rows][owner],
        "click",
    )
