"""Cold start: users and items held out together, four kinds of request, one fit.

A seeded share of users and, independently, of items is cold for the test; a further disjoint share of each is cold for
validation. Training sees warm users on warm items only, less the last two events of each (as in leave-one-out).

=============  ==========================================================================================
warm-warm      leave-one-out among warm users and items; ranked among the warm items
cold-warm      one target a cold user, the last warm-item event; the k warm events just before it are shown
warm-cold      every cold-item event of a warm user with an earlier warm event; those strictly earlier are shown
cold-cold      one target a cold user, the last cold-item event; the k warm events just before it are shown
=============  ==========================================================================================

Cold items are ranked twice: among the cold items of the same part, and among the whole catalogue. Whatever a user had
met before the target is masked, shown or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.data import Dataset
from bench.data.hashing import mix64
from bench.data.ragged import Ragged, ranges
from bench.errors import DataError
from bench.splits.draws import unmet_among
from bench.splits.events import Events, order_events
from bench.splits.history import before, items_at
from bench.splits.leave_one_out import last_two
from bench.splits.pairs import beside_clicks
from bench.splits.protocol import Protocol
from bench.splits.split import Cut, HeldOut, HeldOutPairs, Part, exclude_union
from bench.splits.training import Pairs

__all__ = ["ColdStart"]


_SETS = ("warm-warm/warm", "cold-warm/warm", "warm-cold/cold", "warm-cold/all", "cold-cold/cold", "cold-cold/all")


class ColdStart(Protocol):
    """The cold-start protocol: shares of users and items held out, the shots shown, and what is asked.

    Attributes
    ----------
    sets : tuple of str or None
        Quadrants and the items ranked (``"warm-cold/cold"``) that are asked about, in validation and test alike: with
        one alone, models are selected by that one. ``None``: all. What is learned from does not depend on it.
    negatives : int or None
        Asks about clicks, too: every event is a click, and beside each so many negatives are declared, drawn uniformly
        from the items of the same kind (warm, or cold in the same part) that its user does not meet, as far as the part
        may know. Cold users show as many events as the largest of ``shots``.
    """

    name: Literal["cold-start"] = "cold-start"
    test_users: float = Field(0.2, ge=0, lt=1)
    test_items: float = Field(0.1, ge=0, lt=1)
    validation_users: float = Field(0.1, ge=0, lt=1)
    validation_items: float = Field(0.05, ge=0, lt=1)
    shots: tuple[int, ...] = (0, 1, 3, 5)
    sets: tuple[str, ...] | None = None
    negatives: int | None = Field(None, ge=1)

    version: ClassVar[str] = "2"

    @model_validator(mode="after")
    def _something_stays_warm(self) -> ColdStart:
        if self.test_users + self.validation_users >= 1 or self.test_items + self.validation_items >= 1:
            raise ValueError("the cold shares of users, or of items, leave nothing to learn from")
        if not self.shots or min(self.shots) < 0 or len(set(self.shots)) != len(self.shots):
            raise ValueError("shots must be distinct numbers, 0 or more")
        unknown = sorted(set(self.sets or _SETS) - set(_SETS))
        if unknown or self.sets == ():
            raise ValueError(f"sets takes some of {', '.join(_SETS)}, not {unknown[0] if unknown else 'none'}")
        return self

    def describe(self) -> str:
        """The protocol in words."""
        asked = "" if self.sets is None else f"; asked: {', '.join(self.sets)}"
        if self.negatives is not None:
            asked += f"; clicks: every event, with {self.negatives} declared negatives each"
        return (
            f"cold start: {self.test_users:.0%} of users and {self.test_items:.0%} of items cold for the test, "
            f"{self.validation_users:.0%} and {self.validation_items:.0%} for validation{asked}"
        )

    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Cut by users x items; see the module's table."""
        if dataset.repeats:
            raise DataError(
                f"{dataset.name}: cold start asks about items the user never met, but the card keeps repeated "
                "user-item pairs: let it keep the first or the last of each"
            )
        return _cut(order_events(dataset, seed), self, seed)


def _draw(hashes: NDArray[np.uint64], seed: int, salt: int, test: float, valid: float) -> dict[str, NDArray[np.bool_]]:
    """Seeded disjoint groups: warm, and cold for test and for validation."""
    rank = np.argsort(np.argsort(mix64(hashes, np.full(len(hashes), seed, np.uint64), np.full_like(hashes, salt))))
    first, second = round(test * len(hashes)), round(test * len(hashes)) + round(valid * len(hashes))
    return {"test": rank < first, "valid": (rank >= first) & (rank < second), "warm": rank >= second}


def _last_of_each_user(events: Events, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    where = np.flatnonzero(mask)
    users = events.user[where]
    return where[np.append(users[1:] != users[:-1], True)] if len(where) else where


def _cut(events: Events, spec: ColdStart, seed: int) -> Cut:
    """Unit of inference: the user; for cold items users and items jointly."""
    users = _draw(events.user_hash, seed, 1, spec.test_users, spec.validation_users)
    items = _draw(events.item_hash, seed, 2, spec.test_items, spec.validation_items)
    warm_user, warm_item = users["warm"][events.user], items["warm"][events.item]
    two = last_two(events, warm_user & warm_item)
    every_item = np.arange(len(events.items), dtype=np.int32)
    warm_items = np.flatnonzero(items["warm"]).astype(np.int32)
    anything = np.ones(len(events), bool)
    held: list[HeldOut] = []

    def add_warm(part: Part, held_events: tuple[NDArray[np.int32], NDArray[np.int32], Ragged]) -> None:
        user, item, history = held_events
        held.append(
            HeldOut(part, "warm-warm", None, "warm", "user", user, item, history, exclude_union(history), warm_items)
        )

    def add_cold_user(
        part: Part, quadrant: str, targets: NDArray[np.int64], pools: dict[str, NDArray[np.int32]]
    ) -> None:
        met = exclude_union(items_at(events, before(events, targets, anything)))
        warm_before = items_at(events, before(events, targets, warm_item))
        for shots in spec.shots:
            for pool, candidates in pools.items():
                held.append(
                    HeldOut(
                        part,
                        quadrant,
                        shots,
                        pool,
                        "user" if quadrant == "cold-warm" else "user x item",
                        events.user[targets],
                        events.item[targets],
                        warm_before.last(shots),
                        met,
                        candidates,
                    )
                )

    parts: tuple[Part, ...] = ("valid", "test")
    for part in parts:
        add_warm(part, two.parts[part])
        cold_item = items[part][events.item]
        pools = {"cold": np.flatnonzero(items[part]).astype(np.int32), "all": every_item}
        cold_user = users[part][events.user]
        add_cold_user(part, "cold-warm", _last_of_each_user(events, cold_user & warm_item), {"warm": warm_items})

        targets = np.flatnonzero(warm_user & cold_item)
        # A validation request shows nothing that a test asks for.
        visible = anything if part == "test" else ~two.last
        history = items_at(events, before(events, targets, warm_item & visible, strictly=True))
        answerable = np.flatnonzero(history.lengths > 0)
        targets, history = targets[answerable], history.take(answerable)
        # A model has learned from the user's later warm events too: they are no candidates either.
        learned = Ragged.from_lengths(*_rows_of(events, two.training, events.user[targets]))
        met = exclude_union(items_at(events, before(events, targets, visible, strictly=True)), learned)
        for pool, candidates in pools.items():
            held.append(
                HeldOut(
                    part,
                    "warm-cold",
                    None,
                    pool,
                    "user x item",
                    events.user[targets],
                    events.item[targets],
                    history,
                    met,
                    candidates,
                )
            )
        add_cold_user(part, "cold-cold", _last_of_each_user(events, cold_user & cold_item), pools)
    # What only validation holds out: warm users' last event but one, and all that its cold users and items did.
    known_user, known_item = ~users["test"][events.user], ~items["test"][events.item]
    validation = known_user & known_item & ~two.training & ~two.last
    asked = [one for one in held if spec.sets is None or f"{one.quadrant}/{one.pool}" in spec.sets]
    if spec.negatives is None:
        return Cut(events, two.training, validation, asked)
    clicks = _Clicks(events, spec, seed, {"valid": two.training | validation, "test": anything})
    return Cut(events, two.training, validation, asked, clicks.pairs(asked), clicks.learned(two.training, warm_items))


@dataclass(frozen=True)
class _Clicks:
    """Makes clicks of held-out and of training events.

    Attributes
    ----------
    horizon : dict of str to ndarray of bool, shape (events,)
        What may be known of in each part.
    """

    events: Events
    spec: ColdStart
    seed: int
    horizon: dict[Part, NDArray[np.bool_]]

    def pairs(self, asked: list[HeldOut]) -> list[HeldOutPairs]:
        """Pairs of every quadrant; a cold item's negatives are cold, as it is told apart from its like."""
        return [
            HeldOutPairs(held.part, held.quadrant, held.unit, self._beside(held, self.horizon[held.part]))
            for held in asked
            if held.pool != "all" and held.shots in (None, max(self.spec.shots))
        ]

    def learned(self, training: NDArray[np.bool_], warm_items: NDArray[np.int32]) -> Pairs:
        """Pairs of all training events."""
        events, rows = self.events, np.flatnonzero(training)
        user, item = events.user[rows], events.item[rows]
        history = items_at(events, before(events, rows, training, strictly=True))
        time = None if events.time is None else events.time[rows]
        return beside_clicks(user, item, history, time, self._negatives(user, item, warm_items, training))

    def _beside(self, held: HeldOut, horizon: NDArray[np.bool_]) -> Pairs:
        negatives = self._negatives(held.user, held.item, held.candidates, horizon)
        return beside_clicks(held.user, held.item, held.history, None, negatives)

    def _negatives(
        self,
        user: NDArray[np.int32],
        item: NDArray[np.int32],
        candidates: NDArray[np.int32],
        horizon: NDArray[np.bool_],
    ) -> Ragged:
        assert self.spec.negatives is not None
        return unmet_among(self.events, user, item, candidates, self.spec.negatives, self.seed, horizon)


def _rows_of(
    events: Events, mask: NDArray[np.bool_], users: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Lengths and items of the masked events of each of ``users`` (repeats allowed)."""
    where = np.flatnonzero(mask)
    start = np.searchsorted(events.user[where], users)
    stop = np.searchsorted(events.user[where], users, side="right")
    lengths = stop - start
    return lengths, events.item[where[ranges(start, lengths)]]
