"""Digests that are the same on every platform and with every version of polars.

Identities (of data sets, splits, runs) are SHA-256 digests of bytes that this module spells out itself, never of a
library's own serialisation. The 64-bit hashes are for seeded draws and tie-breaks, not for identities.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

__all__ = ["canonical_json", "digest", "digest_frame", "file_sha256", "mix64", "stable_hash64", "stream_sha256"]

_CHUNK = 1 << 20
_ROWS = 1 << 18


def canonical_json(obj: Any) -> bytes:
    """Write ``obj`` as JSON in one way only: sorted keys, no spaces, UTF-8.

    Raises
    ------
    TypeError, ValueError
        For anything JSON cannot say (sets, arrays, NaN, infinities): such a value has no single spelling.
    """
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(obj: Any) -> str:
    """SHA-256, in hex, of the canonical JSON of ``obj``."""
    return hashlib.sha256(canonical_json(obj)).hexdigest()


def stream_sha256(stream: BinaryIO) -> str:
    """SHA-256, in hex, of what is left to read of an open binary stream; memory stays at one mebibyte."""
    sha = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        sha.update(chunk)
    return sha.hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256, in hex, of a file's bytes."""
    with Path(path).open("rb") as stream:
        return stream_sha256(stream)


def digest_frame(frame: pl.DataFrame) -> str:
    """SHA-256, in hex, of a frame: column names, types, nulls and values, in the order of its columns and rows.

    Integers count as 64-bit, floats keep their width, and -0.0 equals 0.0. A text is written with its length, so that
    moving a letter from one cell to the next changes the digest.

    Raises
    ------
    TypeError
        For a column that is not integer, float, Boolean, string or list of strings.
    """
    sha = hashlib.sha256()
    sha.update(canonical_json([frame.height, frame.columns]))
    for series in frame.get_columns():
        _feed(series, sha.update)
    return sha.hexdigest()


def _feed(series: pl.Series, write: Callable[[bytes], None]) -> None:
    """Write one column: a type tag, the nulls, then the values with nulls as zero or nothing."""
    dtype = series.dtype
    nulls = np.packbits(series.is_null().to_numpy()).tobytes()
    if dtype == pl.String:
        write(b"text")
        write(nulls)
        filled = series.fill_null("")
        write(filled.str.len_bytes().to_numpy().astype("<i8").tobytes())
        for start in range(0, len(filled), _ROWS):
            write("".join(filled[start : start + _ROWS].to_list()).encode())
    elif dtype == pl.List(pl.String):
        write(b"list")
        write(nulls)
        lengths = series.list.len().fill_null(0)
        write(lengths.to_numpy().astype("<i8").tobytes())
        _feed(series.filter(lengths > 0).explode(), write)
    elif dtype.is_integer() or dtype == pl.Boolean:
        write(b"uint" if dtype == pl.UInt64 else b"int_")
        write(nulls)
        kind = "<u8" if dtype == pl.UInt64 else "<i8"
        write(series.cast(pl.Int8 if dtype == pl.Boolean else dtype).fill_null(0).to_numpy().astype(kind).tobytes())
    elif dtype in (pl.Float32, pl.Float64):
        kind = "<f4" if dtype == pl.Float32 else "<f8"
        write(kind.encode())
        write(nulls)
        values = series.fill_null(0.0).to_numpy() + 0.0
        write(np.where(np.isnan(values), np.nan, values).astype(kind).tobytes())
    else:
        raise TypeError(f"column {series.name!r}: no canonical bytes for {dtype}")


def stable_hash64(strings: Sequence[str] | pl.Series) -> NDArray[np.uint64]:
    """Hash every string to 64 bits: the first 8 bytes of its BLAKE2b digest, little-endian.

    Parameters
    ----------
    strings : sequence of str or polars.Series of String, without nulls

    Returns
    -------
    ndarray of uint64, shape (len(strings),)
    """
    series = pl.Series(strings, dtype=pl.String)
    distinct = series.unique()
    repeated = len(distinct) < len(series)
    blake2b = hashlib.blake2b
    texts = (distinct if repeated else series).cast(pl.Binary).to_list()
    raw = b"".join([blake2b(text, digest_size=8).digest() for text in texts])
    hashes = np.frombuffer(raw, dtype="<u8").astype(np.uint64)
    if not repeated:
        return hashes
    hashed = series.replace_strict(distinct, pl.Series(hashes), return_dtype=pl.UInt64)
    return hashed.to_numpy().astype(np.uint64)


def mix64(*parts: ArrayLike) -> NDArray[np.uint64]:
    """Combine unsigned integers into one well-spread 64-bit hash each; order of the arguments matters.

    Each part is added to the state, the odd constant 2^64/phi moves it on, and the finaliser of SplitMix64 (Steele,
    Lea & Flood, 2014) stirs it. For one argument this is a bijection: different integers never collide.

    Parameters
    ----------
    *parts : array_like of unsigned integers (or non-negative ints), broadcast against each other

    Returns
    -------
    ndarray of uint64
    """
    arrays = np.broadcast_arrays(*(np.asarray(part, dtype=np.uint64) for part in parts))
    state = np.zeros(arrays[0].shape, np.uint64)
    with np.errstate(over="ignore"):
        for array in arrays:
            state = state + array + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state
