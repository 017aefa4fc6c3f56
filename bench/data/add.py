"""From a table of the user's own to a dataset card, written only after the table was read from end to end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
import yaml
from pydantic import ValidationError

from bench.data.card import Card, Reading, load_card
from bench.data.content import Content
from bench.data.readers.base import Ask, Rows
from bench.data.readers.table import ITEM_COLUMNS, read_interactions, read_items
from bench.errors import UsageError, nearest

__all__ = ["write_card"]

_NAME = r"[a-z0-9][a-z0-9._-]*"


def write_card(
    path: Path,
    *,
    name: str,
    user: str,
    item: str,
    time: str | None = None,
    rating: str | None = None,
    headline: str | None = None,
    text: str | None = None,
    items: Path | None = None,
    item_columns: Mapping[str, str] = {},
    time_format: str = "seconds",
    delimiter: str | None = None,
    encoding: Literal["utf-8", "latin-1"] = "utf-8",
    licence: str,
    citation: str,
    folder: Path,
) -> Path:
    """Read a CSV, TSV or Parquet file of events and write a card for it: ``<folder>/<name>.yaml``.

    The card pins the checksums of the files and the counts that were found. Files are named relative to the card, so
    that both can be moved together.

    Parameters
    ----------
    path : Path
        The events.
    name : str
        Of the data set and the card: small letters, digits, dots, dashes and underscores.
    user, item, time, rating, headline, text : str
        Columns of the file.
    items : Path, optional
        A table of the items.
    item_columns : mapping
        ``item``, ``title``, ``categories``, ``year``, ``brand``, ``price``, ``description`` -> columns of ``items``;
        empty: columns of these very names.
    time_format, delimiter, encoding
        As in ``bench.data.card.Reading``.
    licence, citation : str
        What may be done with the data, and how it is cited.
    folder : Path
        Made if it is not there.

    Raises
    ------
    UsageError
        A name or setting that a card cannot have; a card of that name is there already, or none can be written.
    DataError
        The file is missing or cannot be read: the reader's own words, with file, row and column.
    """
    if re.fullmatch(_NAME, name) is None:
        raise UsageError(
            f"a data set's name has small letters, digits, dots, dashes and underscores only, not {name!r}"
        )
    if unknown := sorted(item_columns.keys() - set(ITEM_COLUMNS)):
        raise nearest("column of items", unknown[0], ITEM_COLUMNS)
    if item_columns and items is None:
        raise UsageError("columns of items are named, but no file of items")
    card = folder / f"{name}.yaml"
    if card.exists():
        raise UsageError(f"{card} exists already: choose another name, or remove it first")
    columns = {"user": user, "item": item, "time": time, "rating": rating, "headline": headline, "text": text}
    mapped = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    try:
        reading = Reading(encoding=encoding, delimiter=delimiter, time_format=time_format)
    except ValidationError as error:
        said = error.errors()[0]
        raise UsageError(f"{said['loc'][0]} {said['input']!r}: {said['msg']}") from error

    events = Content(path)
    counts = _count(read_interactions(events, Ask(mapped, reading), Rows(events)))
    files = {"interactions": {**_pinned(events, folder), "columns": mapped}}
    if items is not None:
        texts = Content(items)
        for _ in read_items(texts, Ask(item_columns, reading), Rows(texts)):
            pass
        files["items"] = _pinned(texts, folder) | ({"columns": dict(item_columns)} if item_columns else {})
    content = {
        "name": name,
        "title": name,
        "description": f"Events of {path.name}.",
        "licence": licence,
        "citation": citation,
        "reader": "table",
        "order": "time",
        **({"reading": changed} if (changed := reading.model_dump(exclude_defaults=True)) else {}),
        "files": files,
        "counts": counts,
    }
    _write(card, content)
    return card


def _count(batches: Iterable[pl.DataFrame]) -> dict[str, int]:
    """Users, items and interactions; only the distinct ids are kept."""
    users: set[str] = set()
    items: set[str] = set()
    interactions = 0
    for batch in batches:
        users.update(batch["user_id"].unique())
        items.update(batch["item_id"].unique())
        interactions += batch.height
    return {"users": len(users), "items": len(items), "interactions": interactions}


def _pinned(content: Content, folder: Path) -> dict[str, Any]:
    """A card's entry for a file: where it is from the card's folder, and its checksum."""
    path = content.path.resolve()
    try:
        place = Path(os.path.relpath(path, folder.resolve()))
    except ValueError:  # on another drive
        place = path
    return {"path": place.as_posix(), "sha256": content.sha256()}


def _write(path: Path, content: Mapping[str, Any]) -> Card:
    """Write a card and read it back; one that does not read back is not kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as sink:
            yaml.safe_dump(content, sink, sort_keys=False, allow_unicode=True, width=100)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        return load_card(path)
    except UsageError:
        path.unlink()
        raise
