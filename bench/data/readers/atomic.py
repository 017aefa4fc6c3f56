"""RecBole's atomic files: tab-separated, no quoting, a header of ``name:type`` fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from bench.data.readers import text
from bench.errors import DataError

__all__ = ["read_interactions", "read_items"]

_INTERACTIONS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
_ITEMS = {"item": "item_id"}
_FIRST_ROW = 2
"""Row 1 is the header."""


def read_interactions(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    """Read events with times.

    Parameters
    ----------
    path : Path
    columns : mapping
        ``user``, ``item``, ``time`` and, where the data has stars, ``rating`` -> the file's column; empty for
        RecBole's own names.

    Returns
    -------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32), ``time`` (Int64, Unix seconds).
    """
    wanted = dict(columns) or _INTERACTIONS
    table = _table(path, wanted, needed=("user", "item", "time"))
    rating = (
        text.to_float(path, table["rating"].alias(wanted["rating"]), _FIRST_ROW)
        if "rating" in wanted
        else pl.Series([None] * table.height, dtype=pl.Float32)
    )
    time = text.to_seconds(path, table["time"].alias(wanted["time"]), _FIRST_ROW)
    return pl.DataFrame(
        {"user_id": table["user"], "item_id": table["item"], "rating": rating, "time": time},
    )


def read_items(path: Path, columns: Mapping[str, str]) -> pl.DataFrame:
    """Read what is known of the items; categories are words separated by spaces.

    Returns
    -------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String) and, where mapped, ``year`` (String, four
        digits or null).
    """
    wanted = dict(columns) or _ITEMS
    table = _table(path, wanted, needed=("item",))
    text.no_repeats(path, "item", table["item"], _FIRST_ROW)
    blank = [None] * table.height
    titles = [text.title(cell) for cell in table["title"]] if "title" in wanted else blank
    labels = [text.categories(cell.split(" ")) for cell in table["categories"]] if "categories" in wanted else blank
    items = pl.DataFrame(
        {"item_id": table["item"], "title": titles, "categories": labels},
        schema={"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)},
    )
    if "year" in wanted:
        items = items.with_columns(table["year"].str.extract(r"^(\d{4})$").alias("year"))
    return items


def _table(path: Path, wanted: Mapping[str, str], *, needed: tuple[str, ...]) -> pl.DataFrame:
    """Split the file into text columns under our names, refusing rows with too few or too many fields."""
    lines = text.read_lines(path)
    header = [field.split(":")[0] for field in lines[0].split("\t")]
    for ours in needed:
        if ours not in wanted:
            raise DataError(f"{path}: the card maps no column to {ours!r}")
    for name in wanted.values():
        if header.count(name) != 1:
            problem = "is missing" if name not in header else "stands twice in the header"
            raise DataError(f"{path}, row 1: column {name!r} {problem}; the file has: {', '.join(header)}")
    if len(lines) == 1:
        raise DataError(f"{path}: there is a header, but no row")
    rows = pl.Series("line", lines[1:], dtype=pl.String)
    fields = rows.str.count_matches("\t", literal=True) + 1
    ragged = fields != len(header)
    if ragged.any():
        at = ragged.arg_true()[0]
        raise DataError(f"{path}, row {at + _FIRST_ROW}: {fields[at]} fields where the header has {len(header)}")
    cells = rows.str.split_exact("\t", len(header) - 1).struct.unnest()
    table = cells.select(pl.col(f"field_{header.index(name)}").alias(ours) for ours, name in wanted.items())
    for ours in {"user", "item"} & set(wanted):
        empty = table[ours] == ""
        if empty.any():
            raise DataError(f"{path}, row {empty.arg_true()[0] + _FIRST_ROW}, column {wanted[ours]!r}: empty id")
    return table
