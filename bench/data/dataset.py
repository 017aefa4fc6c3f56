"""A data set as the harness knows it: canonical tables and what is worth saying about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from bench.data.card import Card, Source, load_card
from bench.data.hashing import digest, digest_frame
from bench.data.readers import atomic, s3rec
from bench.data.sources import Located, locate, remedy
from bench.data.ties import tie_statistics
from bench.errors import DataError

__all__ = ["Dataset", "load_dataset"]


class _Reader(Protocol):
    """What a module of ``bench.data.readers`` offers."""

    def read_interactions(self, path: Path, columns: Mapping[str, str]) -> pl.DataFrame: ...

    def read_items(self, path: Path, columns: Mapping[str, str]) -> pl.DataFrame: ...


_READERS: Mapping[str, _Reader] = {"recbole-atomic": atomic, "s3rec": s3rec}
_REPEATED = "repeated user-item pairs"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Canonical tables of one data set.

    Attributes
    ----------
    name : str
    card : Card
    interactions : polars.DataFrame
        One row per user-item pair: ``user_id``, ``item_id`` (String), ``rating`` (Float32, null where there is none),
        ``time`` (Int64, Unix seconds; all null when only the order is known), ``position`` (Int64, from 0 without
        gaps within the user; all null when times are known). Sorted by user, then time and item, or position.
    items : polars.DataFrame
        One row per item of the interactions and no other, sorted: ``item_id``, ``title`` (String, null where
        unknown), ``categories`` (List of String, null where unknown), and ``year`` (String) where the data has it.
    order : str
        ``"time"`` or ``"sequence"``.
    identity : str
        SHA-256 of both tables. Rows of timed data may come in any order without changing it.
    warnings : tuple of str
        Computed facts that a table of results must print (ties, unknown order, dropped rows).
    dropped : mapping
        Reason -> rows of the source that are not in ``interactions``.
    missing : tuple of str
        Optional files that were not found, each with the way to get it.
    sources : mapping
        Role -> the file that was read and where it was found.
    """

    name: str
    card: Card
    interactions: pl.DataFrame
    items: pl.DataFrame
    order: Literal["time", "sequence"]
    identity: str
    warnings: tuple[str, ...]
    dropped: Mapping[str, int]
    missing: tuple[str, ...]
    sources: Mapping[str, Located]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the card says a reader of the numbers must know."""
        return self.card.notes

    @property
    def has_titles(self) -> bool:
        """Whether at least one item has a title."""
        return self.items["title"].null_count() < self.items.height


def load_dataset(name_or_path: str | Path | Card, *, download: bool = True) -> Dataset:
    """Locate, check and read a data set.

    Parameters
    ----------
    name_or_path : str, Path or Card
        A shipped card's name, a YAML file, or a card.
    download : bool
        Whether a file that is not on this machine may be downloaded; if not, its absence is a DataError.

    Raises
    ------
    UsageError
        Unknown name or broken card.
    DataError
        A file that is missing, damaged, or not what the card says.
    """
    card = name_or_path if isinstance(name_or_path, Card) else load_card(name_or_path)
    reader = _READERS[card.reader]
    sources: dict[str, Located] = {}
    missing: list[str] = []

    def find(role: str, source: Source) -> Path | None:
        located = locate(card, role, source, download=download)
        if located is None:
            missing.append(f"{role}: {remedy(source)}")
            return None
        sources[role] = located
        return located.path

    path = find("interactions", card.files.interactions)
    assert path is not None, "the events are never optional"
    raw = reader.read_interactions(path, card.files.interactions.columns)
    _check_counts(card, raw, path)
    interactions = _canonical(raw)

    texts: pl.DataFrame | None = None
    if card.files.items is not None and (path := find("items", card.files.items)) is not None:
        texts = reader.read_items(path, card.files.items.columns)
    items = _items_of(interactions, texts)

    dropped = {_REPEATED: raw.height - interactions.height} if raw.height > interactions.height else {}
    content = {"order": card.order, "interactions": digest_frame(interactions), "items": digest_frame(items)}
    return Dataset(
        name=card.name,
        card=card,
        interactions=interactions,
        items=items,
        order=card.order,
        identity=digest(content),
        warnings=tuple(_warnings(interactions, dropped)),
        dropped=dropped,
        missing=tuple(missing),
        sources=sources,
    )


def _check_counts(card: Card, raw: pl.DataFrame, path: Path) -> None:
    """Compare what the file holds with what the card expects."""
    if card.counts is None:
        return
    counted = {"users": raw["user_id"].n_unique(), "items": raw["item_id"].n_unique(), "interactions": raw.height}
    wrong = [
        f"{what}: expected {expected:,}, found {counted[what]:,}"
        for what, expected in card.counts.model_dump().items()
        if counted[what] != expected
    ]
    if wrong:
        raise DataError(f"{path}: counts differ from the card {card.name}: {'; '.join(wrong)}")


def _canonical(raw: pl.DataFrame) -> pl.DataFrame:
    """Keep the first event of every user-item pair and sort, so that the order of timed rows cannot matter."""
    empty = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in {"rating": pl.Float32, "time": pl.Int64, "position": pl.Int64}.items()
        if name not in raw.columns
    ]
    table = raw.with_columns(empty).select("user_id", "item_id", "rating", "time", "position")
    # Among events of one pair in the same second the lowest rating stays: a rule that needs no row order.
    first = table.sort("user_id", "item_id", "time", "position", "rating", nulls_last=True).unique(
        ["user_id", "item_id"], keep="first", maintain_order=True
    )
    ordered = first.sort("user_id", "time", "position", "item_id", nulls_last=True)
    known = pl.col("position").is_not_null()
    return ordered.with_columns(
        pl.when(known).then(pl.int_range(pl.len(), dtype=pl.Int64).over("user_id")).alias("position")
    )


def _items_of(interactions: pl.DataFrame, texts: pl.DataFrame | None) -> pl.DataFrame:
    """One row for every item of the interactions, with what is known of it."""
    items = interactions.select(pl.col("item_id").unique()).sort("item_id")
    if texts is None:
        return items.with_columns(
            pl.lit(None, pl.String).alias("title"), pl.lit(None, pl.List(pl.String)).alias("categories")
        )
    return items.join(texts, on="item_id", how="left").sort("item_id")


def _warnings(interactions: pl.DataFrame, dropped: Mapping[str, int]) -> list[str]:
    warnings = []
    ties = tie_statistics(interactions)
    if ties is None:
        warnings.append("tie order unknown: the data has an order but no times")
    elif ties.users_last_two > 0:
        warnings.append(
            f"{ties.users_last_two:.0%} of users have their last two events in the same second: "
            "which of the two comes last is drawn by the split's seed"
        )
    for reason, rows in dropped.items():
        warnings.append(f"{rows:,} {reason} dropped, the first of each kept")
    return warnings
