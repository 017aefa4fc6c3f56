"""Integer codes for ids, fast: millions of strings a second, without sorting or comparing one of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.sorting import blocks

__all__ = ["encode", "number_ids", "one_row_each", "rank_ids"]

_MOST_SLOT_BITS = 22


def encode(ids: pl.Series) -> tuple[NDArray[np.int32], int]:
    """Number the distinct values of a column.

    Every row writes a hash of its id (the *name*) into a table, at a slot that another hash picks. The names that are
    still there when all have written have won their slots, and a slot's number is their code; the rows of the others
    try again with other slots. Different ids stay apart unless both hashes agree, on 64 and (from two million rows
    on) 22 bits: for ten million ids a chance of about 1e-12.

    Parameters
    ----------
    ids : polars.Series
        Without nulls, of any type that polars hashes.

    Returns
    -------
    codes : ndarray of int32, shape (rows,)
        Equal where and only where the ids are; which id has which code carries no meaning.
    count : int
        Codes go from 0 to ``count - 1``, each used at least once.
    """
    codes = np.empty(len(ids), np.int32)
    bits = min(_MOST_SLOT_BITS, (2 * len(ids)).bit_length())
    rows: NDArray[np.uint32] | None = None
    count = attempt = 0
    while rows is None or len(rows):
        table, taken = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, bool)
        for _, name, slot in _hashed(ids, rows, attempt, bits):
            table[slot], taken[slot] = name, True
        number = np.cumsum(taken, dtype=np.int32)
        number += count - 1
        lost = [np.empty(0, np.uint32)]
        for at, name, slot in _hashed(ids, rows, attempt, bits):
            codes[at] = number[slot]
            out = np.flatnonzero(table[slot] != name)
            lost.append((out + at.start).astype(np.uint32) if isinstance(at, slice) else at[out])
        rows, count, attempt = np.concatenate(lost), int(number[-1]) + 1, attempt + 1
    return codes, count


def _hashed(
    ids: pl.Series, rows: NDArray[np.uint32] | None, attempt: int, bits: int
) -> Iterator[tuple[slice | NDArray[np.uint32], NDArray[np.uint64], NDArray[np.int64]]]:
    """Blocks of rows (``None``: all) with the name and the slot of each; the slots change with the attempt."""
    for block in blocks(len(ids) if rows is None else len(rows)):
        at = block if rows is None else rows[block]
        part = ids[block] if rows is None else ids.gather(rows[block])
        slot = part.hash(attempt + 1).to_numpy() >> np.uint64(64 - bits)
        yield at, part.hash(0).to_numpy(), slot.view(np.int64)


def one_row_each(codes: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """A row of each code, shape (count,); -1 for a code that no row has."""
    row = np.full(count, -1, np.int64)
    row[codes] = np.arange(len(codes))
    return row


def number_ids(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Number the distinct ids in their order.

    Returns
    -------
    distinct : polars.Series
        Sorted.
    numbers : ndarray of int32, shape (rows,)
        The place of each row's id in ``distinct``.
    """
    # A sorted column, as that of the users in a canonical table, shows its numbers by itself.
    run = ids.rle_id().to_numpy()
    if len(run) and 2 * (int(run[-1]) + 1) <= len(run):
        heads = ids.gather(np.flatnonzero(np.append(True, run[1:] != run[:-1])))
        if heads.is_sorted():
            return heads, run.view(np.int32)
    codes, count = encode(ids)
    distinct, rank = rank_ids(ids.gather(one_row_each(codes, count)))
    return distinct, rank[codes]


def rank_ids(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Sort distinct ids, and say which place each has there, shape (ids,)."""
    order = ids.arg_sort()
    rank = np.empty(len(ids), np.int32)
    rank[order.to_numpy()] = np.arange(len(ids), dtype=np.int32)
    return ids.gather(order), rank
