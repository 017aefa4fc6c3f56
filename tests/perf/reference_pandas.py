"""K-core and leave-one-out in pandas, vectorised throughout: what the harness is compared with, in two ways of writing.

``idiomatic`` is what a practised user of pandas writes: ids become integers once, group sizes by ``transform``, one
sort, ``drop_duplicates``, ``cumcount``, masks.

``tuned`` is as fast and as lean as we could make it, mostly in NumPy by then: the k-core counts with ``bincount`` and
moves two integer columns, not the table; the sort is one of a single 64-bit key, with a second one among ties alone;
repeats are found by one hash of a 64-bit pair; columns of strings go as soon as they are integers.

Both hash strings only for the users and items that are left. Measured with pandas 3.1, NumPy 2.4 and pyarrow-backed
strings.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd

LEAST = 5
_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Parts(NamedTuple):
    """Training, validation and test events, columns ``user``, ``item``, ``rating``, ``time``, and the ids by code."""

    training: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    users: pd.Index
    items: pd.Index


def read(path: str) -> pd.DataFrame:
    """Read the events."""
    return pd.read_parquet(path, columns=["user_id", "item_id", "rating", "time"])


def idiomatic(events: pd.DataFrame) -> Parts:
    """Take the 5-core, keep the first event of each pair, and hold out the last two of each user."""
    events["user"], users = pd.factorize(events["user_id"])
    events["item"], items = pd.factorize(events["item_id"])
    events = events.drop(columns=["user_id", "item_id"])
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
    return Parts(events[~held | (left >= 2)], events[held & (left == 1)], events[held & (left == 0)], users, items)


def tuned(events: pd.DataFrame) -> Parts:
    """Do the same as ``idiomatic``; eats its input."""
    # One column after the other, so that the strings of the first are gone when the second is read.
    codes, users = pd.factorize(events.pop("user_id"))
    events["user"] = codes.astype(np.int32)
    codes, items = pd.factorize(events.pop("item_id"))
    events["item"] = codes.astype(np.int32)
    del codes
    events = events.take(_k_core(events["user"].to_numpy(), events["item"].to_numpy()))
    events = events.take(_order(events, users, items))
    pair = events["user"].to_numpy().astype(np.int64) * len(items) + events["item"].to_numpy()
    # Sorted by time, so that the first of each pair is its earliest.
    events = events[~pd.Series(pair).duplicated().to_numpy()]
    del pair

    user = events["user"].to_numpy()
    held = np.bincount(user)[user] >= 3
    left = events.groupby("user", sort=False).cumcount(ascending=False).to_numpy()
    return Parts(
        training=events[~held | (left >= 2)],
        validation=events[held & (left == 1)],
        test=events[held & (left == 0)],
        users=users,
        items=items,
    )


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
