"""Small steps that all readers share: lines with their row numbers, checked numbers, tidy text."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from bench.data.sources import open_content
from bench.errors import DataError

__all__ = ["categories", "no_repeats", "read_lines", "title", "to_float", "to_seconds"]


def read_lines(path: Path) -> list[str]:
    """Read a UTF-8 text file, plain or gzip, as lines; line ``i`` of the list is row ``i + 1`` of the file.

    Raises
    ------
    DataError
        Empty, undecodable (the row is named) or damaged.
    """
    with open_content(path) as stream:
        raw = stream.read()
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, row {row}: byte {raw[error.start]:#04x} is not UTF-8") from error
    lines = [line.removesuffix("\r") for line in content.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the file is empty")
    return lines


def to_float(path: Path, column: pl.Series, first_row: int) -> pl.Series:
    """Cast text to Float32; an empty cell is null, anything else must be a finite number."""
    cells = column.str.strip_chars()
    values = cells.cast(pl.Float64, strict=False)
    _refuse(path, column, (cells != "") & ~values.is_finite().fill_null(False), first_row, "a finite number")
    return values.cast(pl.Float32)


def to_seconds(path: Path, column: pl.Series, first_row: int) -> pl.Series:
    """Cast text to Int64 Unix seconds; no cell may be empty or hold a fraction of a second."""
    cells = column.str.strip_chars()
    exact = cells.cast(pl.Int64, strict=False)
    approximate = cells.cast(pl.Float64, strict=False)
    whole = (approximate.is_finite() & (approximate == approximate.floor())).fill_null(False)
    # Beyond 2^53 a float no longer tells neighbouring integers apart.
    whole = whole & (approximate.abs() < 2.0**53).fill_null(False)
    _refuse(path, column, ~(exact.is_not_null() | whole), first_row, "a whole number of seconds")
    return exact.fill_null(approximate.cast(pl.Int64, strict=False)).alias(column.name)


def _refuse(path: Path, column: pl.Series, wrong: pl.Series, first_row: int, wanted: str) -> None:
    if wrong.any():
        at = wrong.arg_true()[0]
        more = f" (and {wrong.sum() - 1} more rows)" if wrong.sum() > 1 else ""
        raise DataError(f"{path}, row {at + first_row}, column {column.name!r}: {column[at]!r} is not {wanted}{more}")


def no_repeats(path: Path, what: str, ids: Iterable[str], first_row: int) -> None:
    """Refuse an id that stands on two rows."""
    seen: dict[str, int] = {}
    for row, name in enumerate(ids, start=first_row):
        if name in seen:
            raise DataError(f"{path}, row {row}: {what} {name!r} stands on row {seen[name]} already")
        seen[name] = row


def title(text: str | None) -> str | None:
    """Unescape HTML entities and collapse white space; nothing left is null."""
    return None if text is None else " ".join(html.unescape(text).split()) or None


def categories(names: Iterable[str]) -> list[str] | None:
    """Tidy names, each once, in the order of their first appearance; none at all is null."""
    tidy = (title(name) for name in names)
    return list(dict.fromkeys(name for name in tidy if name is not None)) or None
