"""The prepared sequence files of S3-Rec (Zhou et al., CIKM 2020), which P5 used too, and item texts in JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from bench.data.readers import text
from bench.errors import DataError

__all__ = ["read_interactions", "read_items"]

_ITEMS = {"item": "id", "title": "title", "categories": "categories"}


def read_interactions(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    """Read one user a line, ``user item item ...``, oldest first; there are no times.

    Returns
    -------
    polars.DataFrame
        ``user_id``, ``item_id`` (String) and ``position`` (Int64, from 0 within the user).
    """
    if columns:
        raise DataError(f"{path}: a sequence file has no columns to map")
    rows = [line.split() for line in text.read_lines(path)]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise DataError(f"{path}, row {number}: {len(row)} fields where a user and at least one item are needed")
    text.no_repeats(path, "user", (row[0] for row in rows), 1)
    table = pl.DataFrame(
        {
            "user_id": [row[0] for row in rows for _ in row[1:]],
            "item_id": [item for row in rows for item in row[1:]],
        },
        schema={"user_id": pl.String, "item_id": pl.String},
    )
    return table.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over("user_id").alias("position"))


def read_items(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    """Read item texts, one JSON object a line.

    Categories come as paths from a root (``[["Beauty", "Makeup", "Nails"], ...]``: flattened, the root left out where
    the path goes on) or as a flat list.

    Returns
    -------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String).
    """
    if unknown := sorted(columns.keys() - _ITEMS.keys()):
        raise DataError(f"{path}: this reader knows no column {unknown[0]!r}; it knows: {', '.join(_ITEMS)}")
    wanted = {**_ITEMS, **columns}
    ids, titles, labels = [], [], []
    for number, line in enumerate(text.read_lines(path), start=1):
        record = _record(path, number, line)
        item = record.get(wanted["item"])
        if not isinstance(item, str | int) or isinstance(item, bool):
            raise DataError(f"{path}, row {number}, column {wanted['item']!r}: missing, or not an id")
        ids.append(str(item))
        name = record.get(wanted["title"])
        if name is not None and not isinstance(name, str):
            raise DataError(f"{path}, row {number}, column {wanted['title']!r}: not a text")
        titles.append(text.title(name))
        labels.append(_categories(path, number, wanted["categories"], record.get(wanted["categories"])))
    text.no_repeats(path, "item", ids, 1)
    return pl.DataFrame(
        {"item_id": ids, "title": titles, "categories": labels},
        schema={"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)},
    )


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}, row {number}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}, row {number}: not a JSON object")
    return record


def _categories(path: Path, number: int, column: str, value: object) -> list[str] | None:
    if value is None:
        return None
    # A lone name instead of a list of one.
    entries = [value] if isinstance(value, str) else value
    names: list[object] = []
    for entry in entries if isinstance(entries, list) else [None]:
        names.extend((entry[1:] or entry) if isinstance(entry, list) else [entry])
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}, row {number}, column {column!r}: not a list of names, nor of lists of names")
    return text.categories(str(name) for name in names)
