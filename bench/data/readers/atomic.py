"""RecBole's atomic files: tab-separated, no quoting, a header of ``name:type`` fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from bench.data.content import Content
from bench.data.readers import text
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError

__all__ = ["VERSION", "read_interactions", "read_items"]

VERSION = "1"

_INTERACTIONS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
_ITEMS = {"item": "item_id"}


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read events with times.

    Parameters
    ----------
    content : Content
    ask : Ask
        Its columns: ``user``, ``item``, ``time`` and, where the data has stars, ``rating`` -> the file's column; empty
        for RecBole's own names.
    rows : Rows

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32), ``time`` (Int64, Unix seconds).
    """
    wanted = dict(ask.columns) or _INTERACTIONS
    for batch in _batches(content, ask, rows, wanted, needed=("user", "item", "time")):
        frame = text.require_ids(batch, rows, {ours: wanted[ours] for ours in ("user", "item")})
        if "rating" in wanted:
            frame = text.to_float(frame, rows, "rating", wanted["rating"])
        else:
            frame = frame.with_columns(pl.lit(None, pl.Float32).alias("rating"))
        frame = text.to_seconds(frame, rows, "time", wanted["time"])
        yield frame.select(pl.col("user").alias("user_id"), pl.col("item").alias("item_id"), "rating", "time")


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read what is known of the items; categories are words separated by spaces.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String) and, where mapped, ``year`` (String, four
        digits or null).
    """
    wanted = dict(ask.columns) or _ITEMS
    seen: dict[str, int] = {}
    for batch in _batches(content, ask, rows, wanted, needed=("item",)):
        frame = text.once(text.require_ids(batch, rows, {"item": wanted["item"]}), rows, seen, "item")
        blank = [None] * frame.height
        titles = [text.title(cell) for cell in frame["title"]] if "title" in wanted else blank
        names = [text.categories(cell.split(" ")) for cell in frame["categories"]] if "categories" in wanted else blank
        items = pl.DataFrame(
            {"item_id": frame["item"], "title": titles, "categories": names},
            schema={"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)},
        )
        if "year" in wanted:
            items = items.with_columns(frame["year"].str.extract(r"^(\d{4})$").alias("year"))
        yield items


def _batches(
    content: Content, ask: Ask, rows: Rows, wanted: Mapping[str, str], *, needed: tuple[str, ...]
) -> Iterator[pl.DataFrame]:
    """Split the file into text columns under our names."""
    for ours in needed:
        if ours not in wanted:
            raise DataError(f"{content}: the card maps no column to {ours!r}")
    header: list[str] = []
    places: dict[str, int] = {}
    for block in content.blocks(encoding=ask.reading.encoding):
        lines, first_row = block.lines(), block.first_row
        if not header:
            header = [field.split(":")[0] for field in lines[0].split("\t")]
            places = text.columns_at(content, header, wanted)
            lines, first_row = lines[1:], first_row + 1
        cells = text.split(lines, first_row, rows, "\t", len(header), f"the header has {len(header)}")
        yield cells.select("row", *(pl.col(f"field_{at}").alias(ours) for ours, at in places.items()))
    if not rows.read:
        raise DataError(f"{content}: there is a header, but no row")
