"""``split.json``: what a complete export says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.data import Dataset
from bench.data.hashing import digest_frame, file_sha256
from bench.errors import DataError

__all__ = [
    "FILES",
    "MANIFEST",
    "EventsKind",
    "Exported",
    "HeldOutSet",
    "Origin",
    "PairPart",
    "PairSet",
    "Unit",
    "origin_of",
    "read_manifest",
]

MANIFEST = "split.json"

FILES = (
    "candidates.parquet",
    "held_out.parquet",
    "items.parquet",
    "pairs.parquet",
    "rest.parquet",
    "training.parquet",
    "users.parquet",
    "validation.parquet",
)
"""The tables of a complete export."""

PairPart = Literal["training", "valid", "test"]
Unit = Literal["user", "user x item"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(_Strict):
    """The data set a split was made from.

    Attributes
    ----------
    identity : str
        ``Dataset.identity``.
    events_sha256 : str
        Of its events alone, texts apart.
    """

    name: str
    identity: str
    users: int
    items: int
    events: int
    events_sha256: str


class EventsKind(_Strict):
    """What is known of the events, and what the protocol lets be learned from.

    Attributes
    ----------
    timed, rated, reviewed : bool
        Whether times, ratings and texts of reviews are part of it.
    repeats : bool
        Whether a user may have several events with one item.
    """

    timed: bool
    rated: bool
    reviewed: bool
    repeats: bool


class HeldOutSet(_Strict):
    """One held-out set: the columns of ``HeldOut`` that do not differ from row to row.

    Attributes
    ----------
    set : int
        Its number in ``held_out.parquet``.
    catalogue : int
        The number of its candidates in ``candidates.parquet``.
    sampled : bool
        Whether only a draw is ranked.
    events : int
    """

    set: int
    part: Literal["valid", "test"]
    quadrant: str
    shots: int | None
    pool: str
    unit: Unit
    catalogue: int
    sampled: bool
    events: int


class PairSet(_Strict):
    """One set of labelled pairs; ``part`` is ``"training"`` for those that are learned from.

    Attributes
    ----------
    timed, reviewed : bool
        Whether its pairs carry times, and whether texts came with them.
    """

    set: int
    part: PairPart
    quadrant: str
    unit: Unit
    kind: Literal["rating", "click"]
    timed: bool
    reviewed: bool
    pairs: int


class Exported(_Strict):
    """What ``split.json`` holds.

    Attributes
    ----------
    dataset : Origin
    protocol : str
        In words.
    settings : dict
        The protocol's name and parameters.
    split_seed : int
    identity : str
        Of the split that was exported.
    notes : list of str
        What the protocol says a reader of its tables must know.
    dataset_notes : list of str
        What the data set says.
    also_read : list of str
        Identities of other data sets that the protocol read.
    files : dict
        Name -> SHA-256.
    """

    format: Literal["bench split"] = "bench split"
    version: Literal[1] = 1
    dataset: Origin
    protocol: str
    settings: dict[str, Any]
    split_seed: int = Field(ge=0)
    identity: str
    notes: list[str]
    dataset_notes: list[str]
    also_read: list[str]
    events: EventsKind
    held_out: list[HeldOutSet]
    pairs: list[PairSet]
    files: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write ``split.json``; the same content gives the same bytes."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")


def origin_of(dataset: Dataset) -> Origin:
    """Describe the data set a split is made from."""
    events = dataset.interactions.select("user_id", "item_id", "rating", "time", "position")
    return Origin(
        name=dataset.name,
        identity=dataset.identity,
        users=events["user_id"].n_unique(),
        items=dataset.items.height,
        events=events.height,
        events_sha256=digest_frame(events.with_columns(pl.col("rating").cast(pl.Float32))),
    )


def read_manifest(folder: Path, *, check: bool = True) -> Exported:
    """Read ``split.json`` and, with ``check``, compare every file with its checksum there.

    Raises
    ------
    DataError
        Not such an export, of another version, incomplete, or changed since.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON in UTF-8: {error}") from error
    if not isinstance(content, dict) or content.get("format") != "bench split":
        raise DataError(f"{path}: not an export of `bench split export`")
    if content.get("version") != 1:
        raise DataError(
            f"{path}: format version {content.get('version')!r}, but this program reads version 1: "
            "export the split again, or use the version of the program that wrote it"
        )
    try:
        exported = Exported.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {where}: {first['msg']}") from error
    if sorted(exported.files) != sorted(FILES):
        raise DataError(f"{path}: files: expected {', '.join(FILES)}; found {', '.join(sorted(exported.files))}")
    for name, expected in exported.files.items() if check else ():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing: copy the whole folder of the export")
        found = file_sha256(folder / name)
        if found != expected:
            raise DataError(f"{folder / name}: changed since the export: sha256 {expected} expected, {found} found")
    return exported
