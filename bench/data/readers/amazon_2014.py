"""Amazon's reviews and products as collected by McAuley et al. in 2014.

Times have the precision of a day. Lines are JSON objects or, as in all published metadata, Python literals.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from bench.data.content import Content
from bench.data.readers import json_lines
from bench.data.readers.base import Ask, Rows
from bench.data.readers.fields import Seconds, event_fields
from bench.data.readers.item_fields import product_fields

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
    "categories": "categories",
    "brand": "brand",
    "price": "price",
    "description": "description",
}


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
    return json_lines.read_rows(content, ask, rows, fields, json_lines.literal_record)


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read products; of each path of categories the root is left out where the path goes on.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String), ``categories`` (List of String), ``brand`` (String), ``price`` (Float32, US
        dollars), ``description`` (String); null where unknown. A product stands there as often as in the file.
    """
    key = json_lines.keys(content, ask, _ITEMS)
    fields = product_fields(key)
    return json_lines.read_rows(content, ask, rows, fields, json_lines.literal_record)
