"""Ragged integer arrays: one variable-length list a row, stored flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from bench.data.pieces import blocks

__all__ = ["Ragged", "ranges"]


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Write the positions of ranges one after the other, shape (sum of lengths,)."""
    positions = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    for block in blocks(len(positions)):
        positions[block] += np.arange(block.start, block.stop)
    return positions


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of integers of different lengths.

    Attributes
    ----------
    offsets : ndarray of int64, shape (rows + 1,)
        Row ``r`` is ``values[offsets[r]:offsets[r + 1]]``.
    values : ndarray of int32, shape (offsets[-1],)
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int] | NDArray[np.integer]]) -> Ragged:
        """Build from any iterable of integer sequences."""
        parts = [np.asarray(row, dtype=np.int32) for row in rows]
        values = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return cls.from_lengths([len(part) for part in parts], values)

    @classmethod
    def from_lengths(cls, lengths: ArrayLike, values: ArrayLike) -> Ragged:
        """Build from row lengths and the flat values."""
        offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))])
        flat = np.ascontiguousarray(values, dtype=np.int32)
        if offsets[-1] != len(flat):
            raise ValueError(f"row lengths add up to {offsets[-1]}, but there are {len(flat)} values")
        return cls(offsets.astype(np.int64), flat)

    @classmethod
    def empty(cls, rows: int) -> Ragged:
        """``rows`` empty rows."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.values[start:stop]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Row lengths, shape (rows,)."""
        return np.diff(self.offsets)

    @property
    def row_of(self) -> NDArray[np.int64]:
        """The row of each value, shape (values,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: ArrayLike) -> Ragged:
        """Select rows (integer positions, any order, repeats allowed)."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        return Ragged.from_lengths(lengths, self.values[ranges(self.offsets[:-1][rows], lengths)])

    def last(self, k: int) -> Ragged:
        """Keep the last ``k`` values of each row."""
        lengths = np.minimum(self.lengths, k)
        return Ragged.from_lengths(lengths, self.values[ranges(self.offsets[1:] - lengths, lengths)])

    def keep(self, mask: NDArray[np.bool_]) -> Ragged:
        """Drop the values where ``mask`` (shape (values,)) is false."""
        dropped = np.concatenate([[0], np.cumsum(~mask)])[self.offsets]
        return Ragged.from_lengths(self.lengths - np.diff(dropped), self.values[mask])

    def distinct(self) -> Ragged:
        """Sort each row (values not negative), and keep one of every value in it."""
        keys = np.repeat(np.arange(len(self), dtype=np.uint64) << np.uint64(32), self.lengths)
        keys |= self.values.view(np.uint32)
        # polars sorts in parallel, and several times faster than NumPy.
        keys = pl.Series(keys).sort().to_numpy()
        values = keys.astype(np.uint32).view(np.int32)
        once = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
        ordered = Ragged(self.offsets, values)
        return ordered if once.all() else ordered.keep(once)
