"""The Yelp Open Dataset: its files of reviews, businesses and users.

Dates have no zone in the files; they are taken as UTC.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from bench.data.content import Content
from bench.data.readers import json_lines
from bench.data.readers.base import Ask, Rows
from bench.data.readers.fields import Field, Identity, Moment, Prose, event_fields
from bench.data.readers.item_fields import Categories, Name

__all__ = ["VERSION", "read_interactions", "read_items", "read_users"]

VERSION = "1"

_EVENTS = {"user": "user_id", "item": "business_id", "rating": "stars", "time": "date", "text": "text"}
_ITEMS = {"item": "business_id", "title": "name", "categories": "categories"}
_USERS = {"user": "user_id", "reviewer": "name"}


def read_interactions(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read reviews (``review.json``).

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float32), ``time`` (Int64, Unix seconds) and, where the card
        wants it, ``text`` (String, null where there is none). Reviews have no headlines; names of reviewers are in
        the file of users.
    """
    key = json_lines.keys(content, ask, _EVENTS)
    fields = event_fields(key, ask.texts, Moment)
    return json_lines.read_rows(content, ask, rows, fields)


def read_items(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read businesses (``business.json``); categories are names between commas, or a list in old editions.

    Yields
    ------
    polars.DataFrame
        ``item_id``, ``title`` (String: the name), ``categories`` (List of String); null where unknown.
    """
    key = json_lines.keys(content, ask, _ITEMS)
    fields: list[Field] = [
        Identity("item_id", key["item"]),
        Name("title", key["title"]),
        Categories("categories", key["categories"], separator=","),
    ]
    return json_lines.read_rows(content, ask, rows, fields)


def read_users(content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
    """Read the first names that users go by (``user.json``).

    Yields
    ------
    polars.DataFrame
        ``user_id``, ``reviewer`` (String, null where there is none).
    """
    key = json_lines.keys(content, ask, _USERS)
    fields: list[Field] = [Identity("user_id", key["user"]), Prose("reviewer", key["reviewer"])]
    return json_lines.read_rows(content, ask, rows, fields)
