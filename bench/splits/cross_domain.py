"""Cross-domain: learn from one data set, be asked about another, for the people who occur in both.

Everything of the source domain is learned from, nothing of the target domain. Each shared user is asked for the last
target event; shown are the source events strictly earlier and the ``k`` target events just before it. A seeded share of
the shared users is asked for validation, the others for the test.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from bench.data import Dataset, load_dataset
from bench.data.events import CodedEvents
from bench.data.hashing import mix64
from bench.data.ragged import Ragged
from bench.data.reviews import Reviews
from bench.errors import DataError
from bench.splits.events import Events, order_events
from bench.splits.history import before, items_at
from bench.splits.protocol import Protocol
from bench.splits.split import Cut, HeldOut, Part, exclude_union

__all__ = ["CrossDomain"]

_SALT = 6


class CrossDomain(Protocol):
    """The cross-domain protocol; the suite's data set is the target domain.

    Attributes
    ----------
    source : str
        The source domain: a data set's name, or the path of its card. Users are the same where their ids are.
    shots : tuple of int
        How many target events are shown, at most.
    validation : float
        Share of the shared users asked for validation.
    """

    name: Literal["cross-domain"] = "cross-domain"
    source: str
    shots: tuple[int, ...] = (0, 1, 3, 5)
    validation: float = Field(0.3, ge=0, lt=1)

    version: ClassVar[str] = "1"

    @field_validator("shots")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 0 or len(set(value)) != len(value):
            raise ValueError("shots must be distinct numbers, 0 or more")
        return value

    def describe(self) -> str:
        """The protocol in words."""
        source = Path(self.source).name.removesuffix(".yaml").removesuffix(".yml")
        return f"cross-domain: learned from {source}, {self.validation:.0%} of shared users for validation"

    def identity(self) -> dict[str, Any]:
        """As for every protocol, less where the source lies: what it holds is hashed instead."""
        return {key: value for key, value in super().identity().items() if key != "source"}

    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Hold out the last target event of each shared user; unit of inference: users and items jointly."""
        source = load_dataset(self.source)
        for domain in (source, dataset):
            if domain.order != "time":
                raise DataError(
                    f"{domain.name}: cross-domain needs times in both data sets, but only the order of events is known"
                )
        merged, both = _merge(source, dataset)
        events = replace(order_events(merged, seed), repeats=source.repeats or dataset.repeats)
        is_source = events.items["item_id"].is_in(source.items["item_id"].implode()).to_numpy()
        learned = is_source[events.item]
        size = len(events.users)
        shared = np.bincount(events.user[learned], minlength=size) * np.bincount(events.user[~learned], minlength=size)
        if not shared.any():
            raise DataError(
                f"no user occurs in both {source.name} ({source.interactions['user_id'].n_unique():,} users) and "
                f"{dataset.name} ({dataset.interactions['user_id'].n_unique():,} users), not counting {both:,} items "
                "that occur in both: are the user ids of one kind?"
            )
        held, without = self._held(events, np.flatnonzero(shared), learned, np.flatnonzero(~is_source), seed)
        notes = [
            *(f"{source.name}: {note}" for note in (*source.notes, *source.warnings)),
            f"{np.count_nonzero(shared):,} users occur in both domains; {without:,} of them have no event in "
            f"{source.name} before the one asked for",
        ]
        if both:
            notes.append(f"{both:,} items of {dataset.name} occur in {source.name} too and are left out of the target")
        return Cut(events, learned, np.zeros(len(events), bool), held, notes=tuple(notes), also_read=(source.identity,))

    def _held(
        self,
        events: Events,
        shared: NDArray[np.int64],
        learned: NDArray[np.bool_],
        candidates: NDArray[np.int64],
        seed: int,
    ) -> tuple[list[HeldOut], int]:
        """Make the sets of both parts, and count the requests without an earlier source event."""
        drawn = np.argsort(np.argsort(mix64(seed, _SALT, events.user_hash[shared])))
        validated = drawn < round(self.validation * len(shared))
        where = np.flatnonzero(~learned)
        last = where[np.searchsorted(events.user[where], shared, side="right") - 1]
        parts: dict[Part, NDArray[np.int64]] = {"valid": last[validated], "test": last[~validated]}
        held = []
        for part, targets in parts.items():
            from_source = before(events, targets, learned, strictly=True)
            from_target = before(events, targets, ~learned)
            met = exclude_union(items_at(events, before(events, targets, np.ones(len(events), bool))))
            for shots in self.shots:
                # Positions are in order of time within a user, so that their union is too.
                shown = exclude_union(from_source, from_target.last(shots))
                held.append(
                    HeldOut(
                        part,
                        "warm-cold",
                        shots,
                        "all",
                        "user x item",
                        events.user[targets],
                        events.item[targets],
                        items_at(events, shown),
                        Ragged.empty(len(targets)) if events.repeats else met,
                        candidates.astype(np.int32),
                    )
                )
        earlier = before(events, last, learned, strictly=True)
        return held, int(np.count_nonzero(earlier.lengths == 0))


def _merge(source: Dataset, target: Dataset) -> tuple[Dataset, int]:
    """Both domains in one data set, and how many items occur in both: they belong to the source alone."""
    known = source.items["item_id"].implode()
    kept = (~target.interactions["item_id"].is_in(known)).to_numpy()
    items = target.items.filter(~pl.col("item_id").is_in(known))
    rows = target.interactions.filter(pl.Series(kept))
    texts = source.reviews
    if texts is not None:
        # Only events of the source are learned from: the others' places are filled, and never read.
        texts = Reviews(texts.path, np.append(texts.rows, np.zeros(len(rows), np.uint32)), texts.columns)
    merged = replace(
        target,
        events=CodedEvents.of(pl.concat([source.interactions, rows], how="diagonal_relaxed")),
        items=pl.concat([source.items, items], how="diagonal_relaxed").sort("item_id"),
        reviews=texts,
    )
    return merged, len(target.items) - len(items)
