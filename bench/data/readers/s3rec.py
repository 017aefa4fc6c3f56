"""The prepared sequence files of S3-Rec (Zhou et al., CIKM 2020), which P5 used too, and item texts in JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from bench.data.content import Block, Content
from bench.data.readers import text
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError

__all__ = ["VERSION", "read_interactions", "read_items"]

VERSION = "1"

_ITEMS = {"item": "id", "title": "title", "categories": "categories"}


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read one user a line, ``user item item ...``, oldest first; there are no times.

    ``rows`` counts events; a line that is left out counts as one.

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32, null) and ``position`` (Int64, from 0 within the user).
    """
    if ask.columns:
        raise DataError(f"{content}: a sequence file has no columns to map")
    seen: dict[str, int] = {}
    for block in content.blocks(encoding=ask.reading.encoding):
        users: list[str] = []
        sequences: list[list[str]] = []
        for row, line in enumerate(block.lines(), start=block.first_row):
            fields = line.split()
            if len(fields) > 1 and fields[0] not in seen:
                rows.read += len(fields) - 1
                seen[fields[0]] = row
                users.append(fields[0])
                sequences.append(fields[1:])
                continue
            rows.read += 1
            if len(fields) < 2:
                problem = f"{len(fields)} fields where a user and at least one item are needed"
                rows.leave_out(row, "wrong number of fields", problem)
            else:
                problem = f"user {text.shown(fields[0])} stands on row {seen[fields[0]]} already"
                rows.leave_out(row, "repeated user", problem)
        yield _events(users, sequences)


def _events(users: list[str], sequences: list[list[str]]) -> pl.DataFrame:
    """One row an event."""
    lines = pl.DataFrame(
        {"user_id": users, "item_id": sequences}, schema={"user_id": pl.String, "item_id": pl.List(pl.String)}
    )
    lines = lines.with_columns(pl.int_ranges(pl.col("item_id").list.len(), dtype=pl.Int64).alias("position"))
    events = lines.explode("item_id", "position")
    return events.select("user_id", "item_id", pl.lit(None, pl.Float32).alias("rating"), "position")


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read item texts, one JSON object a line.

    Categories come as paths from a root (``[["Beauty", "Makeup", "Nails"], ...]``: flattened, the root left out where
    the path goes on) or as a flat list.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String).
    """
    if unknown := sorted(ask.columns.keys() - _ITEMS.keys()):
        raise DataError(f"{content}: this reader knows no column {unknown[0]!r}; it knows: {', '.join(_ITEMS)}")
    wanted = {**_ITEMS, **ask.columns}
    seen: dict[str, int] = {}
    for block in content.blocks(encoding=ask.reading.encoding):
        frame = text.require_ids(_items(block, rows, wanted), rows, {"item": wanted["item"]})
        frame = text.once(frame, rows, seen, "item")
        yield frame.select(pl.col("item").alias("item_id"), "title", "categories")


def _items(block: Block, rows: Rows, wanted: Mapping[str, str]) -> pl.DataFrame:
    found: list[tuple[int, str, str | None, list[str] | None]] = []
    for row, line in enumerate(block.lines(), start=block.first_row):
        rows.read += 1
        try:
            record = _record(line)
            found.append((row, *_fields(record, wanted)))
        except _Unreadable as defect:
            rows.leave_out(row, defect.reason, defect.problem, column=defect.column)
    schema: dict[str, Any] = {"row": pl.Int64, "item": pl.String, "title": pl.String, "categories": pl.List(pl.String)}
    return pl.DataFrame(found, schema=schema, orient="row")


class _Unreadable(Exception):
    """What is wrong with one line."""

    def __init__(self, reason: str, problem: str, column: str | None = None) -> None:
        super().__init__(problem)
        self.reason, self.problem, self.column = reason, problem, column


def _record(line: str) -> dict[str, Any]:
    try:
        record = text.parse_json(line)
    except ValueError as error:
        raise _Unreadable("not JSON", f"not JSON ({error})") from error
    if not isinstance(record, dict):
        raise _Unreadable("not a JSON object", "not a JSON object")
    return record


def _fields(record: dict[str, Any], wanted: Mapping[str, str]) -> tuple[str, str | None, list[str] | None]:
    item, name, labels = (record.get(wanted[ours]) for ours in ("item", "title", "categories"))
    if not isinstance(item, str | int) or isinstance(item, bool):
        raise _Unreadable("not an id", "missing, or not an id", wanted["item"])
    if name is not None and not isinstance(name, str):
        raise _Unreadable("title is not a text", "not a text", wanted["title"])
    # A lone name instead of a list of one.
    entries = [labels] if isinstance(labels, str) else labels
    names: list[object] = []
    for entry in entries if isinstance(entries, list) else [] if entries is None else [None]:
        names.extend((entry[1:] or entry) if isinstance(entry, list) else [entry])
    if not all(isinstance(one, str) for one in names):
        problem = "not a list of names, nor of lists of names"
        raise _Unreadable("categories are not names", problem, wanted["categories"])
    return str(item), text.title(name), text.categories(str(one) for one in names)
