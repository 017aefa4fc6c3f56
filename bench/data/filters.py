"""Filters of events: time window, rating threshold, repeated pairs, k-core.

None of them depends on the order of the rows, and none drops a row without counting it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.canonical import canonical_order
from bench.data.card import Counts, Filter, KCore, RatingThreshold, Repeats, TimeWindow
from bench.data.events import EVENT_COLUMNS, CodedEvents
from bench.data.pieces import gather, tally
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
    events: CodedEvents, card_filters: Sequence[Filter], *, what: str
) -> tuple[CodedEvents, tuple[Step, ...]]:
    """Apply a card's filters in their order.

    Where none of them says what becomes of repeated user-item pairs, the first event of each pair is kept at the end.

    Parameters
    ----------
    events : CodedEvents
        With any of ``rating`` (Float32), ``time`` (Int64, Unix seconds), ``position`` (Int64), ``row`` (UInt32) and,
        for texts, ``review_hash`` (UInt64); null where unknown.
    card_filters : sequence of Filter
    what : str
        The data, for messages.

    Returns
    -------
    events : CodedEvents
        What is left, its ids numbered anew, with all columns of ``EVENT_COLUMNS`` and ``review_hash`` where it was
        given. In canonical order: by user, time, position, item, rating and review, what is unknown last; positions
        count from 0 within the user where they are known. But for ``row``, the same events in any order give the same.
    steps : tuple of Step
        One a filter, the one for repeated pairs always among them.

    Raises
    ------
    DataError
        A filter that leaves nothing, or other counts than it promises; one that needs times or ratings that are
        not there.
    """
    if not len(events):
        raise DataError(f"{what}: there are no events")
    users, items = events.users, events.items
    columns = {name: events.rest[name] for name in events.rest.columns}
    left = _Left(columns, np.arange(len(events), dtype=np.uint32), events.user, events.item)
    # Where nobody else holds the events, what a filter drops is free again.
    del events

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

    (users, user), (items, item) = (_renumber(*ids) for ids in ((users, left.user), (items, left.item)))
    order = canonical_order(user, item, left.column)
    rows = gather(left.rows, order)
    del left
    user, item = gather(user, order), gather(item, order)
    del order
    known = [_gathered(column, rows) for column in columns.values()]
    unknown = {name: dtype for name, dtype in EVENT_COLUMNS.items() if name not in columns}
    rest = pl.DataFrame(known + [pl.Series(name, dtype=dtype).clear(len(rows)) for name, dtype in unknown.items()])
    if rest["position"].null_count() < rest.height:
        within = pl.Series(np.arange(len(user)) - np.searchsorted(user, user), dtype=pl.Int64)
        rest = rest.with_columns(pl.when(pl.col("position").is_not_null()).then(within).alias("position"))
    return CodedEvents(users, items, user, item, rest), tuple(steps)


@dataclass(frozen=True, eq=False)
class _Left:
    """The events that are left: rows of the source, and their codes."""

    source: Mapping[str, pl.Series]
    rows: NDArray[np.uint32]
    user: NDArray[np.int32]
    item: NDArray[np.int32]

    def take(self, which: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> _Left:
        return _Left(self.source, self.rows[which], self.user[which], self.item[which])

    def column(self, name: str) -> pl.Series | None:
        """What the source says in a column; ``None`` where it has no such column."""
        column = self.source.get(name)
        return None if column is None else _gathered(column, self.rows)

    def known(self, name: str) -> NDArray[Any]:
        """A column that has no nulls."""
        column = self.column(name)
        missing = len(self.rows) if column is None else column.null_count()
        if column is None or missing:
            raise DataError(f"{missing:,} of {len(self.rows):,} events have no {name}")
        return column.to_numpy()

    def counts(self) -> Counts:
        users, items = (np.count_nonzero(tally(codes, int(codes.max()) + 1)) for codes in (self.user, self.item))
        return Counts(users=int(users), items=int(items), interactions=len(self.rows))


def _gathered(column: pl.Series, rows: NDArray[np.uint32]) -> pl.Series:
    missing = column.null_count()
    if missing == len(column):
        return column.clear(len(rows))
    # polars is several times slower, above all where the column is in many pieces.
    return column.gather(rows) if missing else pl.Series(column.name, gather(column.to_numpy(), rows))


def _renumber(ids: pl.Series, codes: NDArray[np.int32]) -> tuple[pl.Series, NDArray[np.int32]]:
    """Keep the ids that still occur, in their order, and number the rows by them."""
    left = np.flatnonzero(tally(codes, len(ids)))
    number = np.empty(len(ids), np.int32)
    number[left] = np.arange(len(left), dtype=np.int32)
    return ids.gather(left), gather(number, codes)


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
    events = len(user)
    stays = np.ones(events, bool)
    # The rows that are still looked at; None: all.
    rows: NDArray[np.intp] | None = None
    of_user, of_item = tally(user, users), tally(item, items)
    while True:
        before = stays.copy()
        stays &= gather(of_user >= least_of_user, user)
        stays &= gather(of_item >= least_of_item, item)
        lost = np.flatnonzero(before & ~stays)
        if not len(lost):
            break
        of_user -= np.bincount(user[lost], minlength=users)
        of_item -= np.bincount(item[lost], minlength=items)
        # What is gone is not looked at again, once that is worth moving the rest.
        if 2 * np.count_nonzero(stays) < len(stays):
            here = np.flatnonzero(stays)
            rows = here if rows is None else rows[here]
            user, item, stays = user[here], item[here], stays[here]
    if rows is None:
        return stays
    core = np.zeros(events, bool)
    core[rows[stays]] = True
    return core
