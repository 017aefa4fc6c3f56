"""The one order of events, which no order of the source's rows can change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.sorting import sort_keys, sort_rows

__all__ = ["canonical_order"]


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
