"""The one order of events, which no order of the source's rows can change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.coding import number_ids
from bench.data.sorting import sort_keys, sort_rows

__all__ = ["canonical", "canonical_order"]

_COLUMNS = {"rating": pl.Float32, "time": pl.Int64, "position": pl.Int64, "row": pl.UInt32}


def canonical(events: pl.DataFrame) -> pl.DataFrame:
    """Sort events by user, time, position, item, rating and review, what is unknown last.

    Parameters
    ----------
    events : polars.DataFrame
        ``user_id``, ``item_id`` (String, no nulls), and any of ``rating`` (Float32), ``time``, ``position`` (Int64),
        ``row`` (UInt32) and ``review_hash`` (UInt64). If it has ``user`` and ``item`` as well, as the frames of
        ``apply_filters`` do, they must number the users and the items in the order of their ids.

    Returns
    -------
    polars.DataFrame
        ``user_id``, ``item_id``, ``rating``, ``time``, ``position`` (from 0 within the user, where it was known),
        ``row``, and ``review_hash`` where it was given. But for ``row``, the same events in any order give the same
        frame.
    """
    user, item = _numbers(events, "user"), _numbers(events, "item")
    order = canonical_order(user, item, lambda name: events.get_column(name, default=None))
    table = events.select(
        "user_id",
        "item_id",
        *(name if name in events.columns else pl.lit(None, dtype).alias(name) for name, dtype in _COLUMNS.items()),
        *(["review_hash"] if "review_hash" in events.columns else []),
    )
    if (order[1:] < order[:-1]).any():
        table, user = table[order], user[order]
    if table["position"].null_count() == table.height:
        return table
    known = table["position"].is_not_null()
    within = np.arange(len(user)) - np.searchsorted(user, user)
    return table.with_columns(pl.when(known).then(pl.Series(within, dtype=pl.Int64)).alias("position"))


def canonical_order(
    user: NDArray[np.int32], item: NDArray[np.int32], column: Callable[[str], pl.Series | None]
) -> NDArray[np.uint32]:
    """Find the canonical order of events, shape (events,).

    Parameters
    ----------
    user, item : ndarray of int32, shape (events,)
        Numbers in the order of the ids.
    column : callable
        Name -> column, or ``None`` where there is no such column.
    """

    def keys(*names: str) -> list[NDArray[np.integer[Any]]]:
        return [key for name in names if (series := column(name)) is not None for key in sort_keys(series)]

    by = [user, *keys("time", "position"), item]
    order, new = sort_rows(*by)
    if new.all():
        return order
    # Several events of one pair at one time: so rare that these keys are not made before they are needed.
    return sort_rows(*by, *keys("rating", "review_hash"))[0]


def _numbers(events: pl.DataFrame, which: str) -> NDArray[np.int32]:
    """Numbers of the users or items in the order of their ids."""
    if which in events.columns:
        return events[which].to_numpy()
    return number_ids(events[f"{which}_id"])[1]
