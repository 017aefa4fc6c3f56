"""Amazon's reviews and products as collected by Ni, Li and McAuley (EMNLP 2019) up to 2018; times are days.

The metadata holds scraps of web pages in the place of values. Of these, ``price`` is null unless it is one plain
number with or without ``$`` (``$12.99``; not ``$5.99 - $9.99``, not markup), a ``title`` with page script in it (its
authors advise to look for ``getTime``) is null, and names of categories that are nothing but markup are left out. None
of this costs a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from bench.data.content import Content
from bench.data.readers import json_lines
from bench.data.readers.base import Ask, Rows
from bench.data.readers.fields import Seconds, event_fields
from bench.data.readers.item_fields import Categories, Name, product_fields

__all__ = ["VERSION", "read_interactions", "read_items"]

VERSION = "1"

_EVENTS = {
    "user": "reviewerID",
    "item": "asin",
    "rating": "overall",
    "time": "unixReviewTime",
    "headline": "summary",
    "text": "reviewText",
    "reviewer": "reviewerName",
}
_ITEMS = {
    "item": "asin",
    "title": "title",
    "categories": "category",
    "brand": "brand",
    "price": "price",
    "description": "description",
}
_MARKUP = re.compile(r"(\s*<[^<>]*>)+\s*")


class _Title(Name):
    def _value(self, raw: object) -> str | None:
        return None if isinstance(raw, str) and "getTime" in raw else super()._value(raw)


class _Path(Categories):
    def _value(self, raw: object) -> list[str] | None:
        if isinstance(raw, list):
            raw = [name for name in raw if not (isinstance(name, str) and _MARKUP.fullmatch(name))]
        return super()._value(raw)


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read reviews.

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32), ``time`` (Int64, Unix seconds) and, where the card
        wants them, ``headline``, ``text``, ``reviewer`` (String, null where there is none).
    """
    key = json_lines.keys(content, ask, _EVENTS)
    fields = event_fields(key, ask.texts, Seconds)
    return json_lines.read_rows(content, ask, rows, fields)


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read products; the root of the path of categories is left out where the path goes on.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String), ``brand`` (String), ``price`` (Float32, US
        dollars), ``description`` (String); null where unknown. A product stands there as often as in the file.
    """
    key = json_lines.keys(content, ask, _ITEMS)
    fields = product_fields(key, title=_Title, path=_Path)
    return json_lines.read_rows(content, ask, rows, fields)
