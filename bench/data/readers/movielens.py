"""GroupLens' own files: MovieLens 100K (``u.data``, ``u.item``) and 1M (``ratings.dat``, ``movies.dat``)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from bench.data.content import Content
from bench.data.readers import text
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError

__all__ = ["VERSION", "read_interactions", "read_items"]

VERSION = "1"

_GENRES = (
    *(None, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""In the order of the flags of ``u.item``; the first flag stands for "unknown", which is no genre."""
_NO_GENRES = "(no genres listed)"


@dataclass(frozen=True)
class _Layout:
    delimiter: str
    width: int
    name: str


_EVENTS = (_Layout("::", 4, "ratings.dat"), _Layout("\t", 4, "u.data"))
_ITEMS = (_Layout("::", 3, "movies.dat"), _Layout("|", 5 + len(_GENRES), "u.item"))


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read ratings.

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32), ``time`` (Int64, Unix seconds).
    """
    for batch, _ in _batches(content, ask, rows, _EVENTS, ask.reading.encoding):
        frame = batch.rename({"field_0": "user", "field_1": "item", "field_2": "rating", "field_3": "time"})
        frame = text.require_ids(frame, rows, {"user": "user", "item": "item"})
        frame = text.to_seconds(text.to_float(frame, rows, "rating", "rating"), rows, "time", "time")
        yield frame.select(pl.col("user").alias("user_id"), pl.col("item").alias("item_id"), "rating", "time")


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read titles, as given, the years in them, and genres as categories.

    Files that are not UTF-8 are latin-1, as GroupLens wrote them until 1M.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String), ``year`` (String, four digits or null).
    """
    seen: dict[str, int] = {}
    encoding = ask.reading.encoding if _is_utf8(content) else "latin-1"
    for batch, layout in _batches(content, ask, rows, _ITEMS, encoding):
        frame = batch.rename({"field_0": "item"})
        frame = text.once(text.require_ids(frame, rows, {"item": "item"}), rows, seen, "item")
        frame, genres = _listed(frame) if layout.width == 3 else _flagged(frame, rows)
        titles = [text.title(cell) for cell in frame["field_1"]]
        years = [re.findall(r"\(([0-9]{4})\)", title or "")[-1:] for title in titles]
        yield pl.DataFrame(
            {
                "item_id": frame["item"],
                "title": titles,
                "categories": [text.categories(names) for names in genres],
                "year": [found[0] if found else None for found in years],
            },
            schema={"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String), "year": pl.String},
        )


def _batches(
    content: Content, ask: Ask, rows: Rows, layouts: tuple[_Layout, ...], encoding: Literal["utf-8", "latin-1"]
) -> Iterator[tuple[pl.DataFrame, _Layout]]:
    """Split the file as its first line says."""
    if ask.columns:
        raise DataError(f"{content}: a MovieLens file has no columns to map")
    layout: _Layout | None = None
    for block in content.blocks(encoding=encoding):
        lines = block.lines()
        if layout is None:
            fields = {known: lines[0].count(known.delimiter) + 1 for known in layouts}
            layout = next((known for known, count in fields.items() if count == known.width), None)
        if layout is None:
            forms = " nor ".join(
                f"{known.width} fields between {known.delimiter!r} ({known.name})" for known in layouts
            )
            raise DataError(
                f"{content}, row 1: {text.shown(lines[0])} has neither {forms}; files with a header are read by 'table'"
            )
        wanted = f"a line of {layout.name} has {layout.width}"
        yield text.split(lines, block.first_row, rows, layout.delimiter, layout.width, wanted), layout


def _listed(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[list[str]]]:
    """Genres of 1M: names between pipes."""
    return frame, [cell.split("|") if cell != _NO_GENRES else [] for cell in frame["field_2"]]


def _flagged(frame: pl.DataFrame, rows: Rows) -> tuple[pl.DataFrame, list[list[str]]]:
    """Genres of 100K: nineteen flags."""
    flags = [f"field_{at}" for at in range(5, 5 + len(_GENRES))]
    unreadable = frame.select(~pl.all_horizontal(pl.col(flags).is_in(["0", "1"]))).to_series()
    stay = rows.keep(unreadable, frame["row"], "genre flag is not 0 or 1", lambda _: "a genre flag is not 0 or 1")
    frame = frame.filter(stay)
    genres = [
        [name for name, flag in zip(_GENRES, row, strict=True) if name is not None and flag == "1"]
        for row in frame.select(flags).iter_rows()
    ]
    return frame, genres


def _is_utf8(content: Content) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with content.open() as stream:
        try:
            while chunk := stream.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
