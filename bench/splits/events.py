"""A dataset as coded events in one canonical order that no row order of the source can change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data import Dataset
from bench.data.column import Column
from bench.data.hashing import mix64, stable_hash64
from bench.data.pieces import gather, tally
from bench.data.ragged import Ragged, ranges
from bench.data.reviews import Reviews
from bench.data.sorting import sort_rows
from bench.splits.training import Training

__all__ = ["Events", "order_events"]


@dataclass(frozen=True, eq=False)
class Events:
    """All interactions, sorted by user and, within a user, oldest first.

    Attributes
    ----------
    user, item : ndarray of int32, shape (events,)
        Codes; assigned in the order of a hash of the id, so that they carry no information.
    time : Column of int64, or None
        Unix seconds; ``None`` when the data has only an order.
    rating : Column of float32, or None
    users, items : polars.DataFrame
        ``user``/``user_id`` and ``item``/``item_id``/text columns, one row a code, in order of code.
    user_hash, item_hash : ndarray of uint64, shape (users,), (items,)
        Hashes of the ids, for seeded draws that do not depend on which other ids exist.
    reviews : Reviews or None
        The texts that came with the events, in their order.
    repeats : bool
        Whether a user may have met an item more than once.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: Column[np.int64] | None
    rating: Column[np.float32] | None
    users: pl.DataFrame
    items: pl.DataFrame
    user_hash: NDArray[np.uint64]
    item_hash: NDArray[np.uint64]
    reviews: Reviews | None = None
    repeats: bool = False

    def __len__(self) -> int:
        return len(self.user)

    def by_user(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Users with events under ``mask``, and their numbers of such events."""
        user = self.user[mask]
        starts = np.flatnonzero(np.append(True, user[1:] != user[:-1])[: len(user)])
        return user[starts], np.diff(starts, append=len(user))

    def training(self, mask: NDArray[np.bool_]) -> Training:
        """Make training data of the events under ``mask``; items without such an event are not in it."""
        users, counts = self.by_user(mask)
        sequences = Ragged.from_lengths(counts, self.item[mask])
        items = np.flatnonzero(tally(sequences.values, len(self.items)))
        return Training(
            user=users,
            sequences=sequences,
            time=None if self.time is None else self.time[mask],
            rating=None if self.rating is None else self.rating[mask],
            items=self.items[items],
            reviews=None if self.reviews is None else self.reviews.take(np.flatnonzero(mask)),
        )

    def everything(self, users: NDArray[np.int32]) -> Ragged:
        """Find all items that each of ``users`` (strictly increasing) met, held out or not, oldest first."""
        wanted = np.zeros(len(self.users), bool)
        wanted[users] = True
        mask = wanted[self.user]
        return Ragged.from_lengths(self.by_user(mask)[1], self.item[mask])


def _by_hash(ids: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Hashes of distinct ids, and the order that sorts the ids by them."""
    hashes = stable_hash64(ids)
    return hashes, np.argsort(hashes, kind="stable")


def order_events(dataset: Dataset, seed: int) -> Events:
    """Put a dataset's interactions into canonical order.

    Ties in time within a user are broken by a hash of (``seed``, user, item), never by file order; data that has
    only an order keeps it.
    """
    events, table = dataset.events, dataset.events.rest
    (user_hash, users), (item_hash, items) = _by_hash(events.users), _by_hash(events.items)
    time = table["time"].to_numpy() if dataset.order == "time" else None
    # As a rule the events are sorted like this already, so that only ties are left.
    order, new = sort_rows(events.user, table["position"].to_numpy() if time is None else time)
    if time is not None:
        tied = np.flatnonzero(~(new & np.append(new[1:], True)))
        rows = order[tied]
        tie = mix64(seed, user_hash[events.user[rows]], item_hash[events.item[rows]])
        order[tied] = rows[sort_rows(np.cumsum(new[tied]), tie)[0]]
    # Now whole users move, from the order of their ids to that of their codes.
    lengths = tally(events.user, len(users))
    order = gather(order, ranges((np.cumsum(lengths) - lengths)[users], lengths[users]))
    code = np.empty(len(items), np.int32)
    code[items] = np.arange(len(items), dtype=np.int32)
    item_ids = events.items.gather(items)
    rating = table["rating"]
    text = pl.DataFrame({"item_id": item_ids}).join(dataset.items, on="item_id", how="left", maintain_order="left")
    return Events(
        user=np.repeat(np.arange(len(users), dtype=np.int32), lengths[users]),
        item=gather(code, gather(events.item, order)),
        time=None if time is None else Column(time, order),
        rating=None if rating.null_count() else Column(rating.to_numpy(), order),
        users=pl.DataFrame({"user": np.arange(len(users), dtype=np.int32), "user_id": events.users.gather(users)}),
        items=text.select(pl.Series("item", np.arange(len(items), dtype=np.int32)), pl.all()),
        user_hash=user_hash[users],
        item_hash=item_hash[items],
        reviews=None if dataset.reviews is None else dataset.reviews.take(order),
        repeats=dataset.repeats,
    )
