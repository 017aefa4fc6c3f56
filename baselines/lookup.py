"""From item and user codes to rows and columns of a fitted model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged

__all__ = ["known", "positions", "take_columns"]


def positions(codes: NDArray[np.integer], wanted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each wanted code stands in the sorted ``codes``; -1 where it does not, shape of ``wanted``."""
    if len(codes) == 0:
        return np.full(len(wanted), -1, np.int64)
    place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where(codes[place] == wanted, place, -1).astype(np.int64)


def known(history: Ragged, codes: NDArray[np.integer]) -> Ragged:
    """Positions in the sorted ``codes`` of a history's items, unknown ones dropped; order and repeats are kept."""
    place = positions(codes, history.values)
    return Ragged(history.offsets, place.astype(np.int32)).keep(place >= 0)


def take_columns(block: NDArray[np.number], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Select columns of a score block; a column of -1 becomes NaN, shape (rows, len(columns)), float32."""
    chosen = block[..., np.maximum(columns, 0)].astype(np.float32)
    chosen[..., columns < 0] = np.nan
    return chosen
