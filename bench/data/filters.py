"""Filters of events: time window, rating threshold, repeated pairs, k-core.

None of them depends on the order of the rows, and none drops a row without counting it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.canonical import canonical_order
from bench.data.card import Counts, Filter, KCore, RatingThreshold, Repeats, TimeWindow
from bench.data.coding import encode, one_row_each, rank_ids
from bench.data.sorting import sort_keys, sort_rows
from bench.errors import DataError

__all__ = ["REPEATED", "Step", "apply_filters", "k_core"]

REPEATED = "repeated user-item pairs"
"""Why a policy for repeated pairs drops an event."""


@dataclass(frozen=True)
class Step:
    """What one filter did.

    Attributes
    ----------
    name : str
        The filter with its parameters, readable.
    reason : str
        Why it drops an event.
    dropped : int
        Events it dropped.
    counts : Counts
        What it left.
    """

    name: str
    reason: str
    dropped: int
    counts: Counts


def apply_filters(
    events: pl.DataFrame, card_filters: Sequence[Filter], *, what: str
) -> tuple[pl.DataFrame, tuple[Step, ...]]:
    """Apply a card's filters in their order.

    Where none of them says what becomes of repeated user-item pairs, the first event of each pair is kept at the end.

    Parameters
    ----------
    events : polars.DataFrame
        ``user_id``, ``item_id`` (String, no nulls), ``rating`` (Float32), ``time`` (Int64, Unix seconds),
        ``position`` (Int64), ``row`` (UInt32) and, for texts, ``review_hash`` (UInt64); null where unknown.
    card_filters : sequence of Filter
    what : str
        The data, for messages.

    Returns
    -------
    events : polars.DataFrame
        The rows that are left, in canonical order, and two columns more: ``user`` and ``item`` (Int32), numbers from
        0 in the order of the ids.
    steps : tuple of Step
        One a filter, the one for repeated pairs always among them.

    Raises
    ------
    DataError
        A filter that leaves nothing, or other counts than it promises; one that needs times or ratings that are
        not there.
    """
    if not events.height:
        raise DataError(f"{what}: there are no events")
    columns = events.columns
    users, user = _code(events["user_id"])
    items, item = _code(events["item_id"])
    # Codes stand in for the ids from here on: where nobody else holds the texts, their memory is free again.
    events = events.drop("user_id", "item_id")
    left = _Left(events, np.arange(events.height, dtype=np.uint32), user, item)
    del user, item

    specs = list(card_filters)
    if not any(isinstance(spec, Repeats) for spec in specs):
        specs.append(Repeats(filter="repeats", keep="first"))
    steps = []
    for spec in specs:
        name, reason = _words(spec)
        before = len(left.rows)
        try:
            kept = _kept(left, spec)
        except DataError as error:
            raise DataError(f"{what}: {name}: {error}") from None
        if kept is not None:
            left = left.take(kept)
        if not len(left.rows):
            raise DataError(f"{what}: {name} left nothing of {before:,} events")
        steps.append(Step(name, reason, before - len(left.rows), left.counts()))
        if spec.counts is not None and spec.counts != steps[-1].counts:
            raise DataError(f"{what}: after {name}: {_differences(spec.counts, steps[-1].counts)}")

    users, user = _renumber(users, left.user)
    items, item = _renumber(items, left.item)
    order = canonical_order(user, item, left.column)
    numbers = pl.DataFrame({"user": user[order], "item": item[order]})
    ids = [users.gather(numbers["user"]).alias("user_id"), items.gather(numbers["item"]).alias("item_id")]
    return events[left.rows[order]].with_columns(*ids, *numbers).select(*columns, "user", "item"), tuple(steps)


@dataclass(frozen=True, eq=False)
class _Left:
    """The events that are left: rows of the source, and their codes."""

    events: pl.DataFrame
    rows: NDArray[np.uint32]
    user: NDArray[np.int32]
    item: NDArray[np.int32]

    def take(self, which: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> _Left:
        return _Left(self.events, self.rows[which], self.user[which], self.item[which])

    def column(self, name: str) -> pl.Series | None:
        """What the source says in a column; ``None`` where it has no such column."""
        column = self.events.get_column(name, default=None)
        return None if column is None else column.gather(self.rows)

    def known(self, name: str) -> NDArray[Any]:
        """A column that has no nulls."""
        column = self.column(name)
        missing = len(self.rows) if column is None else column.null_count()
        if column is None or missing:
            raise DataError(f"{missing:,} of {len(self.rows):,} events have no {name}")
        return column.to_numpy()

    def counts(self) -> Counts:
        users, items = (int(np.count_nonzero(np.bincount(codes))) for codes in (self.user, self.item))
        return Counts(users=users, items=items, interactions=len(self.rows))


def _code(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Distinct ids by code, and the code of each row."""
    codes, count = encode(ids)
    # By way of Arrow: texts that are only gathered keep all texts of their column in memory.
    return pl.Series(ids.gather(one_row_each(codes, count)).to_arrow(), dtype=pl.String), codes


def _renumber(ids: pl.Series, codes: NDArray[np.int32]) -> tuple[pl.Series, NDArray[np.int32]]:
    """Sort the ids that still occur, and number the rows by them."""
    left = np.flatnonzero(np.bincount(codes))
    ordered, rank = rank_ids(ids.gather(left))
    number = np.empty(len(ids), np.int32)
    number[left] = rank
    return ordered, number[codes]


def _differences(expected: Counts, found: Counts) -> str:
    return "; ".join(
        f"{name}: expected {number:,}, found {getattr(found, name):,}"
        for name, number in expected.model_dump().items()
        if getattr(found, name) != number
    )


def _words(spec: Filter) -> tuple[str, str]:
    """Name a filter, and say why it drops an event."""
    if isinstance(spec, TimeWindow):
        bounds = [f"{word} {bound:%Y-%m-%d %H:%M:%S}" for word, bound in _bounds(spec)]
        return f"times {' '.join(bounds)}", "outside the time window"
    if isinstance(spec, RatingThreshold):
        return f"ratings of at least {spec.at_least:g}", f"rated below {spec.at_least:g}"
    if isinstance(spec, KCore):
        return f"{spec.users}-core on users, {spec.items} on items", "in users or items with too few events"
    return ("all of repeated pairs" if spec.keep == "all" else f"{spec.keep} of each user-item pair"), REPEATED


def _bounds(spec: TimeWindow) -> list[tuple[str, datetime]]:
    """The bounds that a window has, in UTC."""
    given = (("from", spec.start), ("to", spec.stop))
    return [
        (word, bound.astimezone(UTC) if bound.tzinfo is not None else bound.replace(tzinfo=UTC))
        for word, bound in given
        if bound is not None
    ]


def _kept(left: _Left, spec: Filter) -> NDArray[np.bool_] | None:
    """Which events a filter keeps; ``None`` for all."""
    kept: NDArray[np.bool_]
    if isinstance(spec, TimeWindow):
        time = left.known("time")
        bounds = {word: bound.timestamp() for word, bound in _bounds(spec)}
        kept = (time >= bounds.get("from", -np.inf)) & (time <= bounds.get("to", np.inf))
        return kept
    if isinstance(spec, RatingThreshold):
        # Compared at the precision of the ratings: 4.1 at 32 bits is less than 4.1 at 64.
        kept = left.known("rating") >= np.float32(spec.at_least)
        return kept
    if isinstance(spec, KCore):
        users, items = int(left.user.max()) + 1, int(left.item.max()) + 1
        return k_core(left.user, left.item, users, items, least_of_user=spec.users, least_of_item=spec.items)
    return None if spec.keep == "all" else _one_of_each_pair(left, last=spec.keep == "last")


def _one_of_each_pair(left: _Left, *, last: bool) -> NDArray[np.bool_]:
    """Keep the first (or last) event of each pair by time, then position; then the lowest rating and review hash.

    Events that agree in all of that are one event told twice: which of them stays makes no difference.
    """
    order, new = sort_rows(left.user, left.item)
    once = new & np.append(new[1:], True)
    keep = np.zeros(len(order), bool)
    keep[order[once]] = True
    repeated, new = order[~once], new[~once]
    if len(repeated):
        few = left.take(repeated)
        keys = [np.cumsum(new)]
        for name in ("time", "position", "rating", "review_hash"):
            if (column := few.column(name)) is not None:
                keys += sort_keys(column, descending=last and name in ("time", "position"))
        # The pairs stay where they are, so that each begins where it began before.
        keep[repeated[sort_rows(*keys)[0][new]]] = True
    return keep


def k_core(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    users: int,
    items: int,
    *,
    least_of_user: int = 5,
    least_of_item: int = 5,
) -> NDArray[np.bool_]:
    """Find the largest set of events in which every user and every item has enough of them.

    Events of users and items with too few are dropped until none is left with too few. Whatever is dropped could be in
    no such set, so that the result is unique and depends neither on the order of the events nor on that of dropping.

    Parameters
    ----------
    user, item : ndarray of int32, shape (events,)
        Codes from 0.
    users, items : int
        Numbers of codes.
    least_of_user, least_of_item : int
        Events that every user, and every item, must have.

    Returns
    -------
    ndarray of bool, shape (events,)
        Whether an event is in the core.
    """
    core = np.zeros(len(user), bool)
    rows = np.arange(len(user), dtype=np.uint32)
    of_user, of_item = np.bincount(user, minlength=users), np.bincount(item, minlength=items)
    while True:
        stays = (of_user >= least_of_user)[user] & (of_item >= least_of_item)[item]
        if stays.all():
            break
        of_user -= np.bincount(user[~stays], minlength=users)
        of_item -= np.bincount(item[~stays], minlength=items)
        user, item, rows = user[stays], item[stays], rows[stays]
    core[rows] = True
    return core
