"""Seeded draws of items a user never met.

A draw is a pure function of hashes of the split seed, the user and the item it goes with: neither the order of the
source rows nor the other requests can change it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.hashing import mix64
from bench.data.ragged import Ragged, ranges
from bench.splits.events import Events
from bench.splits.split import exclude_union

__all__ = ["declared_negatives", "draw_unmet", "first_met", "met_items", "sampled_candidates", "unmet_among"]

_CANDIDATES, _NEGATIVES = 3, 4
"""Salts, so that draws for different ends are independent (1 and 2 are the cold start's)."""
_BLOCK_CELLS = 500_000
"""Numbers drawn at once (4 MB, which caches hold); results do not depend on it."""


def draw_unmet(
    key: NDArray[np.uint64], group: NDArray[np.integer], met: Ragged, known: NDArray[np.integer], n: int
) -> Ragged:
    """Draw ``n`` distinct places uniformly from ``0 .. known - 1`` without those met.

    Parameters
    ----------
    key : ndarray of uint64, shape (rows,)
        Decides the draw of each row.
    group : ndarray of int, shape (rows,)
        The row of ``met`` that belongs to each row.
    met : Ragged
        Places that are never drawn; strictly increasing in a row.
    known : ndarray of int, shape (rows,)
        How many places there are.
    n : int
        How many to draw; where fewer are left, all of them.

    Returns
    -------
    Ragged
        Strictly increasing in a row.
    """
    width = max(int(known.max(initial=0)), int(met.values.max(initial=0))) + 1
    row = met.row_of
    # Place p is the (p - smaller met places)-th that is not met: this turns numbers of unmet places into places.
    smaller = np.arange(len(row)) - met.offsets[row]
    gaps = row * width + met.values - smaller
    left = known - (np.searchsorted(row * width + met.values, group * width + known) - met.offsets[group])
    numbers = _distinct(key, left, n)
    owner = group[numbers.row_of]
    shift = np.searchsorted(gaps, owner * width + numbers.values, side="right") - met.offsets[owner]
    return Ragged(numbers.offsets, (numbers.values + shift).astype(np.int32))


def _distinct(key: NDArray[np.uint64], limit: NDArray[np.int64], n: int) -> Ragged:
    """``min(n, limit)`` distinct numbers below ``limit`` a row, sorted: the first that the row's stream brings."""
    size = np.minimum(limit, n)
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    everything = np.flatnonzero(limit <= n)
    total = limit[everything]
    parts.append((np.repeat(everything, total), ranges(np.zeros_like(total), total)))
    pending, width = np.flatnonzero(limit > n), n + n // 4 + 8
    while len(pending):
        missed = []
        step = max(1, _BLOCK_CELLS // width)
        for rows in (pending[start : start + step] for start in range(0, len(pending), step)):
            # A longer stream begins as the shorter one did, so how often it was lengthened leaves no trace.
            stream = mix64(key[rows, None], np.arange(width)[None, :]) % limit[rows, None].astype(np.uint64)
            order = np.argsort(stream, axis=1, kind="stable")
            ordered = np.take_along_axis(stream, order, axis=1)
            new = np.ones(stream.shape, bool)
            np.put_along_axis(new, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
            nth = np.cumsum(new, axis=1)
            enough = nth[:, -1] >= n
            row, column = np.nonzero(new & (nth <= n) & enough[:, None])
            parts.append((rows[row], stream[row, column].astype(np.int64)))
            missed.append(rows[~enough])
        pending, width = np.concatenate(missed), 2 * width
    row, number = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Ragged.from_lengths(size, number[np.lexsort((number, row))])


def met_items(events: Events, mask: NDArray[np.bool_]) -> Ragged:
    """Distinct items each user (row: code) meets under ``mask``, sorted."""
    lengths = np.bincount(events.user[mask], minlength=len(events.users))
    return exclude_union(Ragged.from_lengths(lengths, events.item[mask]))


def first_met(events: Events) -> NDArray[np.int64]:
    """When each item is first met by anyone, Unix seconds, shape (items,)."""
    assert events.time is not None, "needs times"
    first = np.full(len(events.items), np.iinfo(np.int64).max)
    np.minimum.at(first, events.item, events.time[:])
    return first


def sampled_candidates(events: Events, targets: NDArray[np.integer], n: int, seed: int) -> Ragged:
    """Draw ``n`` items that its user never meets beside each target's item.

    Returns
    -------
    Ragged
        A row a target: its item and the drawn ones, sorted, so that the place tells nothing.
    """
    user, item = events.user[targets], events.item[targets]
    key = mix64(seed, events.user_hash[user], events.item_hash[item], _CANDIDATES)
    everything = np.full(len(targets), len(events.items))
    drawn = draw_unmet(key, user, met_items(events, np.ones(len(events), bool)), everything, n)
    return exclude_union(drawn, Ragged.from_lengths(np.ones(len(item), np.int64), item))


def declared_negatives(
    events: Events, clicks: NDArray[np.integer], n: int, seed: int, horizon: NDArray[np.bool_]
) -> Ragged:
    """Draw ``n`` negatives for each click, from the items that someone had met by then and its user does not meet.

    Parameters
    ----------
    clicks : ndarray of int, shape (clicks,)
        Positions of events.
    horizon : ndarray of bool, shape (events,)
        The events that count as met: those of later parts must not, or the negatives to learn from would tell by what
        is absent what a test asks for.

    Returns
    -------
    Ragged
        A row a click: items, in order of arrival.
    """
    assert events.time is not None, "needs times"
    first = first_met(events)
    arrival = np.argsort(first, kind="stable").astype(np.int32)
    place = np.empty_like(arrival)
    place[arrival] = np.arange(len(arrival), dtype=np.int32)
    known = np.searchsorted(first[arrival], events.time[clicks], side="right")
    met = met_items(events, horizon)
    met = exclude_union(Ragged(met.offsets, place[met.values]))
    user = events.user[clicks]
    key = mix64(seed, events.user_hash[user], events.item_hash[events.item[clicks]], n, _NEGATIVES)
    drawn = draw_unmet(key, user, met, known, n)
    return Ragged(drawn.offsets, arrival[drawn.values])


def unmet_among(
    events: Events,
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    candidates: NDArray[np.int32],
    n: int,
    seed: int,
    horizon: NDArray[np.bool_],
) -> Ragged:
    """Draw ``n`` negatives for each click on one of some candidates, from those that its user does not meet.

    Parameters
    ----------
    user, item : ndarray of int32, shape (clicks,)
    candidates : ndarray of int32, shape (candidates,)
        Item codes, strictly increasing.
    horizon : ndarray of bool, shape (events,)
        The events that count as met, as in :func:`declared_negatives`; the clicks are among them.

    Returns
    -------
    Ragged
        A row a click: items, strictly increasing.
    """
    place = np.full(len(events.items), -1, np.int32)
    place[candidates] = np.arange(len(candidates), dtype=np.int32)
    met = met_items(events, horizon)
    there = place[met.values]
    met = Ragged(met.offsets, there).keep(there >= 0)
    key = mix64(seed, events.user_hash[user], events.item_hash[item], n, _NEGATIVES)
    drawn = draw_unmet(key, user, met, np.full(len(user), len(candidates)), n)
    return Ragged(drawn.offsets, candidates[drawn.values])
