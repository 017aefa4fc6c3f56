"""A data set as the harness knows it: canonical tables and what is worth saying about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl

from bench.data.card import Card, Source, load_card
from bench.data.events import CodedEvents
from bench.data.filters import REPEATED, Step, apply_filters
from bench.data.hashing import digest, digest_frame
from bench.data.prepared import Prepared, interactions_of, prepare
from bench.data.reviews import Reviews
from bench.data.sources import Located, locate, remedy
from bench.data.ties import tie_statistics
from bench.errors import DataError

__all__ = ["Dataset", "load_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Canonical tables of one data set.

    Attributes
    ----------
    name : str
    card : Card
    events : CodedEvents
        The events with numbers for ids, in canonical order.
    interactions : polars.DataFrame
        The same with the ids as texts, made when first asked for. One row an event: ``user_id``, ``item_id``
        (String), ``rating`` (Float32, null where there is none), ``time`` (Int64, Unix seconds; all null when only
        the order is known), ``position`` (Int64, from 0 without gaps within the user; all null when times are known).
        Sorted by user, then time and item, or position.
    items : polars.DataFrame
        One row per item of the interactions and no other, sorted: ``item_id``, ``title`` (String, null where
        unknown), ``categories`` (List of String, null where unknown), and, where the data has them, ``year``,
        ``brand``, ``description`` (String) and ``price`` (Float32).
    order : str
        ``"time"`` or ``"sequence"``.
    identity : str
        SHA-256 of the tables and texts. Rows of timed data may come in any order without changing it.
    warnings : tuple of str
        Computed facts that a table of results must print (ties, unknown order, dropped rows, filters).
    dropped : mapping
        Reason -> rows of the sources that are not in ``interactions``.
    missing : tuple of str
        Optional files that were not found, each with the way to get it.
    sources : mapping
        Role -> the file that was read and where it was found.
    steps : tuple of Step
        What each filter left.
    reviews : Reviews or None
        The texts that came with ``interactions``, in their order.
    """

    name: str
    card: Card
    events: CodedEvents
    items: pl.DataFrame
    order: Literal["time", "sequence"]
    identity: str
    warnings: tuple[str, ...]
    dropped: Mapping[str, int]
    missing: tuple[str, ...]
    sources: Mapping[str, Located]
    steps: tuple[Step, ...] = ()
    reviews: Reviews | None = None

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """See the class."""
        return self.events.frame()

    @property
    def repeats(self) -> bool:
        """Whether a user may have several events with one item."""
        return self.card.repeats == "all"

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
    sources, missing = _locate(card, download)
    prepared = prepare(card, sources)
    where = str(sources["interactions"].content)
    # Read and handed on without a name, so that the texts of the ids need not outlive their numbering.
    filtered, steps = apply_filters(
        _checked(card, prepared.read_events(), where), card.filters, what=f"{card.name} ({where})"
    )
    events = replace(filtered, rest=filtered.rest.select("rating", "time", "position"))
    items = _items_of(events.items, prepared.items)
    dropped = Counter(prepared.dropped)
    for step in steps:
        dropped[step.reason] += step.dropped
    content = {"order": card.order, "interactions": digest_frame(events.frame()), "items": digest_frame(items)}
    if prepared.reviews is not None:
        content["reviews"] = digest_frame(filtered.rest.select("review_hash"))
    if card.repeats == "all":
        content["repeats"] = "all"
    return Dataset(
        name=card.name,
        card=card,
        events=events,
        items=items,
        order=card.order,
        identity=digest(content),
        warnings=tuple(_warnings(card, prepared, events, steps)),
        dropped={reason: rows for reason, rows in dropped.items() if rows},
        missing=missing,
        sources=sources,
        steps=steps,
        reviews=_reviews(prepared, filtered.rest["row"]),
    )


def _locate(card: Card, download: bool) -> tuple[dict[str, Located], tuple[str, ...]]:
    """Find every file of a card; what is optional and nowhere is named with its remedy."""
    wanted: dict[str, Source] = dict(interactions_of(card))
    if card.files.items is not None:
        wanted["items"] = card.files.items
    if card.files.users is not None and card.reading.reviewer_names:
        wanted["users"] = card.files.users
    found = {role: locate(card, role, source, download=download) for role, source in wanted.items()}
    missing = tuple(f"{role}: {remedy(wanted[role])}" for role, located in found.items() if located is None)
    return {role: located for role, located in found.items() if located is not None}, missing


def _checked(card: Card, events: CodedEvents, where: str) -> CodedEvents:
    """Compare what the files hold with what the card expects."""
    if card.counts is None:
        return events
    counted = {"users": len(events.users), "items": len(events.items), "interactions": len(events)}
    wrong = [
        f"{what}: expected {expected:,}, found {counted[what]:,}"
        for what, expected in card.counts.model_dump().items()
        if counted[what] != expected
    ]
    if wrong:
        raise DataError(f"{where}: counts differ from the card {card.name}: {'; '.join(wrong)}")
    return events


def _items_of(ids: pl.Series, texts: pl.DataFrame | None) -> pl.DataFrame:
    """One row for every item of the interactions, with what is known of it."""
    items = pl.DataFrame({"item_id": ids})
    if texts is None:
        return items.with_columns(
            pl.lit(None, pl.String).alias("title"), pl.lit(None, pl.List(pl.String)).alias("categories")
        )
    return items.join(texts, on="item_id", how="left").sort("item_id")


def _reviews(prepared: Prepared, rows: pl.Series) -> Reviews | None:
    if prepared.reviews is None:
        return None
    return Reviews(prepared.reviews, rows.to_numpy(), prepared.texts)


def _warnings(card: Card, prepared: Prepared, events: CodedEvents, steps: Sequence[Step]) -> list[str]:
    warnings = []
    ties = tie_statistics(events)
    if ties is None:
        warnings.append("tie order unknown: the data has an order but no times")
    elif ties.users_last_two > 0:
        warnings.append(
            f"{ties.users_last_two:.0%} of users have their last two events in the same second: "
            "which of the two comes last is drawn by the split's seed"
        )
    unread = sum(prepared.dropped.values())
    if unread:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in prepared.dropped.items())
        warnings.append(f"{unread:,} rows were left out while reading: {reasons}")
    for step in steps:
        if step.dropped and step.reason == REPEATED:
            warnings.append(f"{step.dropped:,} {step.reason} dropped, the {card.repeats} of each kept")
        elif step.dropped:
            warnings.append(f"filtered: {step.name} left {step.counts.interactions:,} events")
    if card.repeats == "all":
        warnings.append("repeated user-item pairs are kept: what comes next may be known, so nothing is masked")
    return warnings
