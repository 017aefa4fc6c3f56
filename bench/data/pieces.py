"""Working on long columns piece by piece, and on several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["blocks", "side_by_side"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

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
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, values))
