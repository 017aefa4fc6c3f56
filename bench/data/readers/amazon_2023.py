"""Amazon's reviews and products as collected by Hou et al. (arXiv 2403.03952) up to 2023.

Reviews are JSON lines, or the authors' own tables and splits: comma-separated without quoting, with a header that
begins ``user_id,parent_asin,rating,timestamp``. Times are milliseconds (12 or 13 digits; anything else is refused, not
guessed at) and become seconds, rounded down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import polars as pl

from bench.data.content import Block, Content
from bench.data.readers import json_lines, text
from bench.data.readers.base import Ask, Rows
from bench.data.readers.fields import Field, Milliseconds, Unreadable, event_fields
from bench.data.readers.item_fields import Categories, product_fields

__all__ = ["VERSION", "read_interactions", "read_items"]

VERSION = "1"

_EVENTS = {"user": "user_id", "rating": "rating", "time": "timestamp", "headline": "title", "text": "text"}
_ITEMS = {
    "item": "parent_asin",
    "title": "title",
    "categories": "categories",
    "brand": "store",
    "price": "price",
    "description": "description",
}
_MAIN_CATEGORY = "main_category"
_PLAIN_NUMBER = r"^[0-9]+(\.[0-9]+)?$"


class _Path(Categories):
    """The path of categories or, where it is empty, the one main category."""

    def read(self, record: Mapping[str, object]) -> list[str] | None:
        names: list[str] | None = super().read(record)
        return names or self._value(record.get(_MAIN_CATEGORY))


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read reviews, or a table of ratings (which has no texts; its column ``history`` follows from the others).

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String: the id that ``ask.reading.item`` names), ``rating`` (Float32), ``time``
        (Int64, Unix seconds) and, where the file has them and the card wants them, ``headline``, ``text`` (String,
        null where there is none). The files have no names of reviewers.
    """
    key = json_lines.keys(content, ask, {**_EVENTS, "item": ask.reading.item})
    fields = event_fields(key, (), Milliseconds)
    with_texts = event_fields(key, ask.texts, Milliseconds)
    header: list[str] | None = None
    for block in content.blocks(encoding=ask.reading.encoding):
        if block.first_row == 1 and not block.data.lstrip().startswith(b"{"):
            header = block.lines()[0].split(",")
            text.columns_at(content, header, {field.name: field.key for field in fields})
        if header is None:
            yield json_lines.read_block(block, rows, with_texts, json_lines.json_record)
        else:
            yield _table_block(block, header, rows, fields)


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read products, which the metadata lists by ``parent_asin`` only.

    With ``ask.reading.item`` ``"asin"`` a variant that has the id of its parent is described, and no other.
    The root of the path of categories is left out where the path goes on; an empty path is the main category.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String), ``brand`` (String: the store), ``price``
        (Float32, US dollars; null unless one plain number), ``description`` (String); null where unknown. A product
        stands there as often as in the file.
    """
    key = json_lines.keys(content, ask, _ITEMS)
    fields = product_fields(key, path=_Path)
    return json_lines.read_rows(content, ask, rows, fields)


def _table_block(block: Block, header: list[str], rows: Rows, fields: list[Field]) -> pl.DataFrame:
    """Read comma-separated rows; the first line of the file is its header."""
    skipped = 1 if block.first_row == 1 else 0
    lines = block.lines()[skipped:]
    table = None if b'"' in block.data else _at_once(lines, header, fields)
    if table is None:
        numbered = enumerate(lines, start=block.first_row + skipped)
        return json_lines.row_by_row(numbered, rows, fields, partial(_record, header=header))
    rows.read += table.height
    return table


def _at_once(lines: list[str], header: list[str], fields: list[Field]) -> pl.DataFrame | None:
    """Split all lines together; None if a single cell may not be as it usually is."""
    texts = pl.Series(lines, dtype=pl.String)
    if (texts.str.count_matches(",", literal=True) != len(header) - 1).any():
        return None
    cells = texts.str.split_exact(",", len(header) - 1).struct.unnest()
    columns = []
    for field in fields:
        cell = cells[f"field_{header.index(field.key)}"]
        if field.raw != pl.String:
            if not cell.str.contains(_PLAIN_NUMBER).all():
                return None
            cell = cell.cast(field.raw)
        if (column := field.column(cell)) is None:
            return None
        columns.append(column.alias(field.name))
    return pl.DataFrame(columns)


def _record(line: str, header: list[str]) -> dict[str, object]:
    if '"' in line:
        raise Unreadable("quotation mark", "a quotation mark stands in a table without quoting")
    cells = line.split(",")
    if len(cells) != len(header):
        raise Unreadable("wrong number of fields", f"{len(cells)} fields where the header has {len(header)}")
    return dict(zip(header, cells, strict=True))
