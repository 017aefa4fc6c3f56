"""Sorting rows by several integer keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.pieces import blocks, side_by_side

__all__ = ["sort_keys", "sort_rows"]

_WORD = 64


def _steps(keys: Sequence[NDArray[np.integer[Any]]]) -> NDArray[np.bool_] | None:
    """Which rows differ from the one before, shape (rows - 1,); ``None`` where the rows are not sorted."""
    higher = np.empty(len(keys[0]) - 1, bool)
    for block in blocks(len(higher)):
        after = slice(block.start + 1, block.stop + 1)
        greater, equal = higher[block], np.ones(block.stop - block.start, bool)
        greater[:] = False
        for key in keys:
            if (equal & (key[after] < key[block])).any():
                return None
            greater |= equal & (key[after] > key[block])
            equal &= ~greater
    return higher


@dataclass(frozen=True, eq=False)
class _Key:
    """Integers that count from ``low`` and need ``width`` bits."""

    values: NDArray[np.integer[Any]]
    low: np.uint64
    width: int

    @classmethod
    def of(cls, values: NDArray[np.integer[Any]]) -> _Key:
        low, high = int(values.min()), int(values.max())
        return cls(values, np.uint64(low % (1 << _WORD)), (high - low).bit_length())


def sort_rows(*keys: NDArray[np.integer[Any]]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Find the order that sorts rows by ``keys``, the first the most significant; equal rows keep their order.

    The leading bits of the keys, as many as fit, and the row's number share one 64-bit word: sorting these words
    sorts the rows. What is still tied is sorted again by its next bits, until nothing is tied or no bit is left.

    Parameters
    ----------
    *keys : ndarrays of integers, shape (rows,)

    Returns
    -------
    order : ndarray of uint32, shape (rows,)
        ``key[order]`` is sorted.
    new : ndarray of bool, shape (rows,)
        Whether a row of the sorted table differs from the one before it in any key; true for the first.
    """
    order = np.arange(len(keys[0]), dtype=np.uint32)
    new = np.zeros(len(order), bool)
    new[:1] = True
    if not len(order):
        return order, new
    if (steps := _steps(keys)) is not None:
        return order, np.append(True, steps)
    wanted = [_Key.of(values) for values in keys]
    total, done = sum(key.width for key in wanted), 0
    # Where in `order` tied rows stand (None: everywhere), and which of the groups of tied rows each belongs to.
    tied: NDArray[np.intp] | None = None
    group, groups = np.zeros(1, np.uint64), 1
    while done < total:
        rows = None if tied is None else order[tied]
        length = len(order) if rows is None else len(rows)
        row_bits = (length - 1).bit_length()
        width = min(_WORD - row_bits - (groups - 1).bit_length(), total - done)
        place, first = _sorted(_words(wanted, rows, np.broadcast_to(group, length), done, width, row_bits), row_bits)
        done += width
        if rows is None or tied is None:
            order, new = place, first
        else:
            order[tied], new[tied] = rows[place], first
        again = ~first
        again[:-1] |= again[1:]
        if done == total or not again.any():
            break
        group = np.cumsum(first[again], dtype=np.uint64)
        groups = int(group[-1]) + 1
        tied = np.flatnonzero(again) if tied is None else tied[again]
    return order, new


def _words(
    keys: list[_Key],
    rows: NDArray[np.uint32] | None,
    group: NDArray[np.uint64],
    start: int,
    width: int,
    row_bits: int,
) -> NDArray[np.uint64]:
    """Number of the group, bits ``start`` to ``start + width`` of the keys written one after the other, row number."""
    words = np.empty(len(group), np.uint64)

    def write(block: slice) -> None:
        word = group[block].copy()
        at = 0
        for key in keys:
            first, last = max(start, at), min(start + width, at + key.width)
            if first < last:
                # Unsigned arithmetic wraps, so that negative values come out right.
                part = key.values[block if rows is None else rows[block]].astype(np.uint64)
                part -= key.low
                part >>= np.uint64(at + key.width - last)
                part &= np.uint64((1 << (last - first)) - 1)
                word <<= np.uint64(last - first)
                word |= part
            at += key.width
        word <<= np.uint64(row_bits)
        word |= np.arange(block.start, block.stop, dtype=np.uint64)
        words[block] = word

    side_by_side(write, blocks(len(words)))
    return words


def _sorted(words: NDArray[np.uint64], row_bits: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Row numbers in the order of the words, and which words differ from the one before but for the row number."""
    # polars sorts in parallel, and several times faster than NumPy.
    series = pl.Series(words)
    del words
    words = series.sort().to_numpy()
    del series
    place, first = np.empty(len(words), np.uint32), np.ones(len(words), bool)
    shift, mask = np.uint64(row_bits), np.uint64((1 << row_bits) - 1)

    def read(block: slice) -> None:
        place[block] = words[block] & mask
        # From the last word of the block before on.
        bits = words[max(block.start - 1, 0) : block.stop] >> shift
        first[max(block.start, 1) : block.stop] = bits[1:] != bits[:-1]

    side_by_side(read, blocks(len(words)))
    return place, first


def sort_keys(column: pl.Series, *, descending: bool = False) -> list[NDArray[np.integer[Any]]]:
    """Integer keys that sort rows by a column of integers or floats, nulls last; none when all are null.

    Floats sort by their bits: NaN is the largest, and -0.0 equals 0.0.
    """
    missing = column.null_count()
    if missing == len(column):
        return []
    values = column.fill_null(0).to_numpy()
    if column.dtype.is_float():
        integer = np.dtype(f"i{values.itemsize}")
        bits = np.where(np.isnan(values), values.dtype.type(np.nan), values + values.dtype.type(0)).view(integer)
        # The bits of negative floats count backwards.
        values = np.where(bits < 0, ~bits ^ np.iinfo(integer).min, bits)
    keys = [~values if descending else values]
    return [column.is_null().to_numpy().astype(np.uint8), *keys] if missing else keys
