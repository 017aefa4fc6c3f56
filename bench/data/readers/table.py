"""A user's own table: CSV, TSV or Parquet, with columns that the card names.

How cells are read:

ids            exactly as written, white space around them included; empty, white space alone, or with a NUL character:
               wrong
rating, price  a finite number in ASCII digits (``5``, ``+5``, ``.5``, ``1e3``), white space around it allowed; empty:
               unknown; ``NaN``, ``inf``, ``1_000``, ``1,5`` and other digits: wrong
time           ``bench.data.readers.times``
texts          of reviews as written, of items tidied (``bench.data.readers.text``)
categories     in one cell separated by ``|``, or else ``;``, or a JSON list of names; in Parquet also a list
year           four digits (``1999.0`` too, as spreadsheets write it); empty: unknown
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from bench.data.content import Content
from bench.data.readers import text
from bench.data.readers.base import Ask, Rows
from bench.data.readers.delimited import Delimited
from bench.data.readers.parquet import Parquet, is_parquet
from bench.data.readers.times import format_problem, to_times
from bench.errors import DataError

__all__ = ["ITEM_COLUMNS", "VERSION", "read_interactions", "read_items"]

VERSION = "1"

_TIMES = "events need an order: name the column of their times"

_EVENT_COLUMNS = ("user", "item", "time", "rating", "headline", "text", "reviewer")
ITEM_COLUMNS = ("item", "title", "categories", "year", "brand", "price", "description")
"""What a table of items may have."""


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read events with times.

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32), ``time`` (Int64, Unix seconds) and, where there and
        wanted, ``headline``, ``text`` and ``reviewer`` (String).

    Raises
    ------
    DataError
        A file, column, type or setting that cannot be read; without ``rows.drop`` also the first row that cannot.
    """
    if problem := format_problem(ask.reading.time_format):
        raise DataError(f"{content}: {text.shown(ask.reading.time_format)} (reading.time_format) {problem}")
    unwanted = {"headline", "text", "reviewer"} - set(ask.texts)
    known = tuple(ours for ours in _EVENT_COLUMNS if ours not in unwanted)
    for frame, names in _batches(content, ask, rows, known, needed=("user", "item", "time")):
        frame = text.require_ids(frame, rows, {ours: names[ours] for ours in ("user", "item")})
        if "rating" in names:
            frame = text.to_float(frame, rows, "rating", names["rating"])
        else:
            frame = frame.with_columns(pl.lit(None, pl.Float32).alias("rating"))
        frame = to_times(frame, rows, ask.reading.time_format, names["time"])
        texts = [
            pl.Series(ours, [text.prose(cell) for cell in frame[ours]], dtype=pl.String)
            for ours in ask.texts
            if ours in names
        ]
        events = frame.select(pl.col("user").alias("user_id"), pl.col("item").alias("item_id"), "rating", "time")
        yield events.with_columns(texts)


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read what is known of the items.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String) and, where there, ``year``, ``brand``,
        ``description`` (String) and ``price`` (Float32).

    Raises
    ------
    DataError
        As for the events; also an item that stands on two rows.
    """
    seen: dict[str, int] = {}
    for frame, names in _batches(content, ask, rows, ITEM_COLUMNS, needed=("item",)):
        frame = text.once(text.require_ids(frame, rows, {"item": names["item"]}), rows, seen, "item")
        if "price" in names:
            frame = text.to_float(frame, rows, "price", names["price"])
        if "year" in names:
            frame = _with_years(frame, rows, names["year"])
        if "categories" in names:
            frame = _with_categories(frame, rows, names["categories"])
        else:
            frame = frame.with_columns(pl.lit(None, pl.List(pl.String)).alias("categories"))
        tidied = [
            pl.Series(ours, [text.title(cell) for cell in frame[ours]], dtype=pl.String)
            for ours in ("title", "brand", "description")
            if ours in names
        ]
        frame = frame.with_columns(tidied)
        if "title" not in names:
            frame = frame.with_columns(pl.lit(None, pl.String).alias("title"))
        optional = [ours for ours in ("year", "brand", "price", "description") if ours in names]
        yield frame.select(pl.col("item").alias("item_id"), "title", "categories", *optional)


def _batches(
    content: Content, ask: Ask, rows: Rows, known: tuple[str, ...], *, needed: tuple[str, ...]
) -> Iterator[tuple[pl.DataFrame, Mapping[str, str]]]:
    """Read batches under our names, and say which columns of the file they are."""
    asked = {ours: name for ours, name in ask.columns.items() if ours in known}
    for ours in needed if ask.columns else ():
        if ours not in asked:
            raise DataError(
                f"{content}: the card maps no column to {ours!r}" + (f"; {_TIMES}" if ours == "time" else "")
            )
    if "user" in asked and asked["user"] == asked.get("item"):
        raise DataError(f"{content}: the card takes users and items from the same column {text.shown(asked['user'])}")
    wanted = asked or {ours: ours for ours in needed}
    table: Parquet | Delimited
    if is_parquet(content):
        table = Parquet(content)
    else:
        table = Delimited(content, ask.reading.delimiter, ask.reading.encoding, tuple(wanted.values()))
    if not asked:
        wanted |= {ours: ours for ours in known if ours in table.header}
    text.columns_at(content, table.header, wanted, _TIMES)
    for frame in table.batches(wanted, rows):
        yield frame, wanted
    if not rows.read:
        raise DataError(f"{content}: there is a header, but no row")


def _with_years(frame: pl.DataFrame, rows: Rows, column: str) -> pl.DataFrame:
    cells = frame["year"].cast(pl.String)
    filled = cells.str.strip_chars()
    years = filled.str.extract(r"^([0-9]{4})(?:\.0+)?$")
    wrong = (filled.fill_null("") != "") & years.is_null()

    def problem(at: int) -> str:
        return f"{text.shown(cells[at])} is not a year of four digits"

    stay = rows.keep(wrong, frame["row"], "year is not four digits", problem, column=column)
    return frame.with_columns(years.alias("year")).filter(stay)


def _with_categories(frame: pl.DataFrame, rows: Rows, column: str) -> pl.DataFrame:
    cells = frame["categories"].to_list()
    names: list[list[str] | None] = []
    wrong: list[bool] = []
    for cell in cells:
        found = _categories(cell)
        wrong.append(found is None)
        names.append(None if found is None else text.categories(found))

    def problem(at: int) -> str:
        return f"{text.shown(cells[at])} is not a JSON list of names"

    is_wrong = pl.Series(wrong, dtype=pl.Boolean)
    stay = rows.keep(is_wrong, frame["row"], "categories are not names", problem, column=column)
    return frame.with_columns(pl.Series("categories", names, dtype=pl.List(pl.String))).filter(stay)


def _categories(cell: str | list[str | None] | None) -> list[str] | None:
    """Names in a cell; None: unreadable."""
    if cell is None:
        return []
    if isinstance(cell, list):
        return [name for name in cell if name is not None]
    if cell.lstrip().startswith("["):
        try:
            names = text.parse_json(cell)
        except ValueError:
            return None
        return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
    # An entity ends with a semicolon, which separates nothing.
    plain = text.prose(cell) or ""
    return plain.split("|" if "|" in plain else ";")
