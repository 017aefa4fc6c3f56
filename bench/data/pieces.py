"""Working on long columns piece by piece, and on several side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "gather", "side_by_side", "tally"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Scalar = TypeVar("_Scalar", bound=np.generic)

_BLOCK = 1 << 17


def blocks(length: int, least: int = _BLOCK) -> Iterator[slice]:
    """Cut rows into blocks that the processor's cache holds, so that no temporary array is as long as the table.

    Parameters
    ----------
    length : int
        Rows.
    least : int
        Rows of a block at least, where a block costs something of its own.
    """
    size = max(_BLOCK, least)
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def side_by_side(function: Callable[[_In], _Out], values: Iterable[_In]) -> list[_Out]:
    """Apply a function to a few values in threads: NumPy and polars let the interpreter go while they work."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, values))


def tally(codes: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Rows of each code from 0, shape (count,); as ``bincount``, which makes an array of 64-bit integers first."""
    tallied = np.zeros(count, np.int64)
    for block in blocks(len(codes), least=count):
        tallied += np.bincount(codes[block], minlength=count)
    return tallied


def gather(values: NDArray[_Scalar], rows: NDArray[np.integer[Any]]) -> NDArray[_Scalar]:
    """Take ``values[rows]``, shape (rows,); at once, NumPy would make 64-bit integers of all row numbers first."""
    taken = np.empty(len(rows), values.dtype)

    def take(block: slice) -> None:
        taken[block] = values[rows[block]]

    side_by_side(take, blocks(len(rows)))
    return taken
