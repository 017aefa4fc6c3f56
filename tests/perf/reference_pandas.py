"""K-core and leave-one-out in pandas, vectorised throughout: what the harness is compared with, in two ways of writing.

``idiomatic`` is what a practised user of pandas writes: group sizes by ``transform``, one sort, ``drop_duplicates``,
``cumcount``, masks.

``tuned`` is as fast and as lean as we could make it, mostly in NumPy by then: the k-core counts with ``bincount`` and
moves two integer columns, not the table; the sort is one of a single 64-bit key, with a second one among ties alone;
repeats are found by one hash of a 64-bit pair; what each user met is sorted once for both parts.

Both begin with ids that are integers already, as the harness does, and make all that a split holds: the events to learn
from, and for each part the held-out pairs, the history before them and, sorted, the items that a ranking leaves out.
Both hash strings only for the users and items that are left. Measured with pandas 3.1 and NumPy 2.4.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd

LEAST = 5
_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Part(NamedTuple):
    """The last event of each of some users, and what they met before it.

    ``pairs`` has the columns ``user`` and ``item``; ``lengths`` are the numbers of items before each pair; ``history``
    (oldest first) and ``met`` (sorted) hold those items, one user after the other.
    """

    pairs: pd.DataFrame
    lengths: np.ndarray
    history: np.ndarray
    met: np.ndarray


class Parts(NamedTuple):
    """Training events (columns ``user``, ``item``, ``rating``, ``time``), validation and test."""

    training: pd.DataFrame
    validation: Part
    test: Part


def idiomatic(events: pd.DataFrame, users: pd.Index, items: pd.Index) -> Parts:
    """Take the 5-core, keep the first event of each pair, and hold out the last two of each user."""
    while True:
        of_user = events.groupby("user")["item"].transform("size")
        of_item = events.groupby("item")["user"].transform("size")
        keep = (of_user >= LEAST) & (of_item >= LEAST)
        if keep.all():
            break
        events = events[keep]
    user, item = events["user"].to_numpy(), events["item"].to_numpy()
    events["tie"] = _mix(_hashes(user, users)[user], _hashes(item, items)[item])
    # The first of each pair is its earliest.
    events = events.sort_values(["user", "time", "tie", "rating"]).drop_duplicates(["user", "item"])
    of_user = events.groupby("user", sort=False)
    left, held = of_user.cumcount(ascending=False), of_user["item"].transform("size") >= 3

    def part(which: int) -> Part:
        before = events.loc[held & (left > which), ["user", "item"]]
        lengths = before.groupby("user", sort=False).size().to_numpy()
        met = before.sort_values(["user", "item"])["item"].to_numpy()
        return Part(events.loc[held & (left == which), ["user", "item"]], lengths, before["item"].to_numpy(), met)

    return Parts(events.loc[~held | (left >= 2), ["user", "item", "rating", "time"]], part(1), part(0))


def tuned(events: pd.DataFrame, users: pd.Index, items: pd.Index) -> Parts:
    """Do the same as ``idiomatic``; eats its input."""
    events = events.take(_k_core(events["user"].to_numpy(), events["item"].to_numpy()))
    events = events.take(_order(events, users, items))
    pair = events["user"].to_numpy().astype(np.int64) * len(items) + events["item"].to_numpy()
    # Sorted by time, so that the first of each pair is its earliest.
    events = events[~pd.Series(pair).duplicated().to_numpy()]
    del pair

    user, item = events["user"].to_numpy(), events["item"].to_numpy()
    held = np.bincount(user)[user] >= 3
    left = events.groupby("user", sort=False).cumcount(ascending=False).to_numpy()
    before = {which: held & (left > which) for which in (1, 0)}
    pairs = {which: events.loc[held & (left == which), ["user", "item"]] for which in (1, 0)}
    training = events[~held | (left >= 2)]
    lengths = np.unique(user[before[0]], return_counts=True)[1]
    history = {which: item[rows] for which, rows in before.items()}
    met = np.sort(user[before[0]].astype(np.int64) * len(items) + history[0]) % len(items)
    met = {0: met.astype(np.int32)}
    # What was met before the validation event is what was met before the test event, but for the validation event.
    met[1] = met[0][met[0] != np.repeat(pairs[1]["item"].to_numpy(), lengths)]
    return Parts(training, *(Part(pairs[which], lengths - which, history[which], met[which]) for which in (1, 0)))


def _k_core(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    rows = np.arange(len(user))
    while True:
        keep = (np.bincount(user) >= LEAST)[user] & (np.bincount(item) >= LEAST)[item]
        if keep.all():
            return rows
        user, item, rows = user[keep], item[keep], rows[keep]


def _order(events: pd.DataFrame, users: pd.Index, items: pd.Index) -> np.ndarray:
    """Order by user and time; ties by the harness's hash of user and item, then by rating."""
    user, item, time = (events[name].to_numpy() for name in ("user", "item", "time"))
    time = time - time.min()
    key = user * (time.max() + 1) + time
    order = np.argsort(key)
    key = key[order]
    same = key[1:] == key[:-1]
    tied = np.zeros(len(key), bool)
    tied[1:] = same
    tied[:-1] |= same
    rows = order[tied]
    tie = _mix(_hashes(user, users)[user[rows]], _hashes(item, items)[item[rows]])
    order[tied] = rows[np.lexsort((events["rating"].to_numpy()[rows], tie, key[tied]))]
    return order


def _hashes(codes: np.ndarray, ids: pd.Index) -> np.ndarray:
    """Hash the ids that occur: 64 bits of BLAKE2b each."""
    present = np.flatnonzero(np.bincount(codes, minlength=len(ids)))
    raw = b"".join([hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids[present]])
    hashes = np.zeros(len(ids), np.uint64)
    hashes[present] = np.frombuffer(raw, "<u8")
    return hashes


def _mix(*parts: np.ndarray) -> np.ndarray:
    """The harness's tie-break, split seed 0: SplitMix64 over the seed and the hashes."""
    state = np.zeros(len(parts[0]), np.uint64)
    with np.errstate(over="ignore"):
        for part in (np.uint64(0), *parts):
            state += part
            state += _GOLDEN
            state = (state ^ (state >> np.uint64(30))) * _FIRST
            state = (state ^ (state >> np.uint64(27))) * _SECOND
            state ^= state >> np.uint64(31)
    return state
