"""Readers of source files, by the name a card calls them by; ``base`` says what each of them offers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from bench.data.readers.base import Reader

__all__ = ["READERS", "reader_named"]

READERS: Mapping[str, str] = {
    "amazon-2014": "amazon_2014",
    "amazon-2018": "amazon_2018",
    "amazon-2023": "amazon_2023",
    "movielens": "movielens",
    "recbole-atomic": "atomic",
    "s3rec": "s3rec",
    "table": "table",
    "yelp": "yelp",
}
"""A card's ``reader`` -> the module here that reads its files."""


def reader_named(name: str) -> Reader:
    """Import the reader that a card names."""
    return cast(Reader, import_module(f"{__name__}.{READERS[name]}"))
