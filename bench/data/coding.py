"""Integer codes for ids, fast: millions of strings a second, without sorting or comparing one of them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.pieces import blocks

__all__ = ["distinct_ids", "encode", "number_ids", "rank_ids"]

_MOST_SLOT_BITS = 22
_HASHED_AT_ONCE = 1 << 20
"""Rows; every call of polars costs about a millisecond."""
_ODD = np.uint64(0x9E3779B97F4A7C15)


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
    bits = min(_MOST_SLOT_BITS, (2 * len(ids)).bit_length())
    shift = np.uint64(64 - bits)
    name, slot = np.empty(len(ids), np.uint64), np.empty(len(ids), np.int32)
    for block in blocks(len(ids), _HASHED_AT_ONCE):
        name[block] = ids[block].hash(0).to_numpy()
        slot[block] = ids[block].hash(1).to_numpy() >> shift
    # The codes of the first round are written where the slots stood.
    codes, count = slot, 0
    rows: NDArray[np.intp] | None = None
    while len(name):
        table, taken = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, bool)
        for block in blocks(len(name)):
            table[slot[block]], taken[slot[block]] = name[block], True
        number = np.cumsum(taken, dtype=np.int32)
        number += count - 1
        count = int(number[-1]) + 1
        lost, keys = [], []
        for block in blocks(len(name)):
            at = slot[block].copy()
            codes[block if rows is None else rows[block]] = number[at]
            out = np.flatnonzero(table[at] != name[block])
            lost.append(out + block.start)
            # Not of the name alone, so that ids of one name and two slots stay apart.
            keys.append((name[block][out] ^ (at[out].astype(np.uint64) << shift)) * _ODD)
        again = np.concatenate(lost)
        rows = again if rows is None else rows[again]
        name, slot = name[again], (np.concatenate(keys) >> shift).astype(np.int32)
    return codes, count


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
    distinct, codes = distinct_ids(ids)
    ordered, rank = rank_ids(distinct)
    return ordered, rank[codes]


def distinct_ids(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Distinct ids by code, and the code of each row, shape (rows,)."""
    codes, count = encode(ids)
    row = np.empty(count, np.int64)
    row[codes] = np.arange(len(codes))
    chosen = np.zeros(len(codes), bool)
    chosen[row] = True
    # Picked by a mask, since gathering from a column in many pieces is slow; and by way of Arrow, since texts that are
    # only picked keep all texts of their column in memory.
    picked = pl.Series(ids.filter(pl.Series(chosen)).to_arrow(), dtype=pl.String)
    place = np.cumsum(chosen, dtype=np.int32)[row] - 1
    return picked.gather(place), codes


def rank_ids(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Sort distinct ids, and say which place each has there, shape (ids,)."""
    order = ids.arg_sort()
    rank = np.empty(len(ids), np.int32)
    rank[order.to_numpy()] = np.arange(len(ids), dtype=np.int32)
    return ids.gather(order), rank
