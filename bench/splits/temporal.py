"""Temporal global: learn from what happened before a moment, be asked about what came after it.

Two moments, the same for all users, cut the events in three: training, the validation window, the test window. Nothing
of a later part is known in an earlier one, not even that an item exists.

===========  =================================================================================================
user         warm: has something to learn from (for rankings a training event, or with clicks a training click;
             for pairs a training pair); cold otherwise, with the history since the training, if any
item         warm: met by anyone in training; cold otherwise
===========  =================================================================================================

Warm items are ranked among the warm items; cold ones among the cold items known by the end of the window, and among all
items known by then. What the user had met strictly earlier is masked (nothing, where the data keeps repeats).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.data import Dataset
from bench.data.ragged import Ragged
from bench.errors import DataError
from bench.splits.draws import first_met
from bench.splits.events import Events, order_events
from bench.splits.history import before, items_at
from bench.splits.pairs import clicks_with_negatives, event_pairs
from bench.splits.protocol import Protocol
from bench.splits.split import Cut, HeldOut, HeldOutPairs, Part, Unit, exclude_union
from bench.splits.training import Pairs

__all__ = ["Clicks", "Temporal"]


class Clicks(BaseModel):
    """What counts as a click; one of the two is given.

    Attributes
    ----------
    at_least : float or None
        Every event is a labelled pair: a click if it is rated so high, none otherwise.
    negatives : int or None
        Every event is a click, and beside each so many negatives are declared: items drawn uniformly from those that
        someone had met by then and its user meets neither before nor, as far as the part goes, after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: float | None = None
    negatives: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_of_them(self) -> Clicks:
        if (self.at_least is None) == (self.negatives is None):
            raise ValueError("clicks need at_least (data with ratings) or negatives (data without), and not both")
        return self

    def describe(self) -> str:
        """The rule in words."""
        if self.at_least is not None:
            return f"clicks: ratings of {self.at_least:g} or more"
        return f"clicks: every event, with {self.negatives} declared negatives each"


class Temporal(Protocol):
    """The temporal protocol.

    Attributes
    ----------
    validation, test : float or datetime
        Where the windows begin: both as shares of all events (the last ``test`` of them, and the last ``validation``
        before those), or both as moments (ISO; UTC where no zone is given). Events in the very second where a window
        begins belong to it. A validation share of 0, or two equal moments, make no validation window.
    target : str
        Which of a user's events in a window are asked for: the ``"first"``, the ``"last"`` or ``"every"`` one.
    clicks : Clicks or None
        Asks about clicks, too: sequences and rankings then hold clicks only, and labelled pairs hold everything.
        ``None``: the pairs are the ratings, where the data has them.
    """

    name: Literal["temporal"] = "temporal"
    validation: float | datetime = 0.1
    test: float | datetime = 0.2
    target: Literal["first", "last", "every"] = "first"
    clicks: Clicks | None = None

    version: ClassVar[str] = "1"

    @field_validator("validation", "test", mode="before")
    @classmethod
    def _share_or_moment(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, date):
            moment = value if isinstance(value, datetime) else datetime.combine(value, time())
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError("give a share of the events (from 0 to below 1), or the moment where the window begins")
        return float(value)

    @model_validator(mode="after")
    def _in_order(self) -> Temporal:
        if isinstance(self.validation, float) and isinstance(self.test, float):
            if not 0 < self.test < 1 - self.validation:
                raise ValueError("the test needs a share above 0, and something must be left to learn from")
        elif isinstance(self.validation, float) or isinstance(self.test, float):
            raise ValueError("validation and test must be two shares or two moments")
        elif self.validation > self.test:
            raise ValueError("the validation window must begin before the test window")
        return self

    def describe(self) -> str:
        """The protocol in words."""
        if isinstance(self.test, float):
            windows = f"the last {self.test:.0%} of events for the test, {self.validation:.0%} before for validation"
        else:
            windows = (
                f"the test from {self.test:%Y-%m-%d %H:%M:%S}, validation from {self.validation:%Y-%m-%d %H:%M:%S}"
            )
        asked = f"{self.target} event of each user and window"
        return ", ".join(["temporal: " + windows, asked, *([self.clicks.describe()] if self.clicks else [])])

    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Cut at two moments."""
        if dataset.order != "time":
            raise DataError(
                f"{dataset.name}: the temporal protocol needs times, but only the order of events is known: "
                "use leave-one-out or cold-start"
            )
        events = order_events(dataset, seed)
        assert events.time is not None, "timed data has times"
        clicked = self._clicked(dataset.name, events)
        time = events.time[:]
        begins = self._begins(dataset.name, time)
        training = time < begins["valid"]
        if not (training & clicked).any():
            raise DataError(
                f"{dataset.name}: nothing to learn from: no event before {_date(begins['valid'])} is a click"
            )
        window = _Window(self, events, seed, clicked, training, first_met(events))
        held: list[HeldOut] = []
        pairs: list[HeldOutPairs] = []
        parts: dict[Part, tuple[int, int]] = {
            "valid": (begins["valid"], begins["test"]),
            "test": (begins["test"], int(time.max()) + 1),
        }
        for part, (begin, end) in parts.items():
            inside = (time >= begin) & (time < end)
            held += window.rankings(part, inside, end)
            pairs += window.pairs(part, inside, end)
        validation = ~training & (time < begins["test"])
        learned = None if self.clicks is None else window.labelled(np.flatnonzero(training), begins["valid"])
        return Cut(events, training & clicked, validation & clicked, held, pairs, learned)

    def _clicked(self, name: str, events: Events) -> NDArray[np.bool_]:
        """Which events are in sequences and rankings."""
        if self.clicks is None or self.clicks.at_least is None:
            return np.ones(len(events), bool)
        if events.rating is None:
            raise DataError(
                f"{name}: clicks.at_least needs ratings, and the data has none (or not for every event): "
                "declare negatives instead (clicks: {negatives: 4})"
            )
        return events.rating[:] >= self.clicks.at_least

    def _begins(self, name: str, at: NDArray[np.int64]) -> dict[Part, int]:
        """The second in which each window begins."""
        first, last = int(at.min()), int(at.max())
        if isinstance(self.test, float) and isinstance(self.validation, float):
            ordered = np.sort(at)
            tested = round(self.test * len(at))
            places = {"test": tested, "valid": tested + round(self.validation * len(at))}
            begins = {part: int(ordered[min(len(at) - place, len(at) - 1)]) for part, place in places.items()}
            unwanted = self.validation == 0
        else:
            assert isinstance(self.test, datetime)
            assert isinstance(self.validation, datetime)
            begins = {"test": math.ceil(self.test.timestamp()), "valid": math.ceil(self.validation.timestamp())}
            unwanted = self.validation == self.test
        span = f"the data runs from {_date(first)} to {_date(last)}, UTC"
        if first == last:
            raise DataError(f"{name}: all events carry the same second ({_date(first)}): no moment can part them")
        if begins["valid"] <= first:
            raise DataError(f"{name}: nothing to learn from before {_date(begins['valid'])}; {span}")
        for part, end in (("valid", begins["test"]), ("test", last + 1)):
            if not ((at >= begins[part]) & (at < end)).any() and not (part == "valid" and unwanted):
                word = "validation" if part == "valid" else "test"
                raise DataError(
                    f"{name}: no event falls into the {word} window, which would begin at {_date(begins[part])}; "
                    f"{span}: give other shares or moments"
                )
        return {"valid": begins["valid"], "test": begins["test"]}


@dataclass(frozen=True)
class _Window:
    """Makes the held-out sets of a window.

    Attributes
    ----------
    clicked, training : ndarray of bool, shape (events,)
        What rankings are about, and what lies before the windows.
    first : ndarray of int64, shape (items,)
        When each item was first met.
    """

    protocol: Temporal
    events: Events
    seed: int
    clicked: NDArray[np.bool_]
    training: NDArray[np.bool_]
    first: NDArray[np.int64]

    def rankings(self, part: Part, inside: NDArray[np.bool_], end: int) -> list[HeldOut]:
        """Ranking sets by quadrant and pool."""
        events = self.events
        targets = self._targets(inside & self.clicked)
        history = items_at(events, before(events, targets, self.clicked, strictly=True))
        anything = np.ones(len(events), bool)
        met = (
            Ragged.empty(len(targets))
            if events.repeats
            else exclude_union(items_at(events, before(events, targets, anything, strictly=True)))
        )
        warm_item, known = self._warm(events.item, self.training), self.first < end
        pools = {
            "warm": {"warm": np.flatnonzero(warm_item)},
            "cold": {"cold": np.flatnonzero(known & ~warm_item), "all": np.flatnonzero(known)},
        }
        held = []
        warm_user = self._warm(events.user, self.training & self.clicked)
        for quadrant, item_is, unit, rows in _quadrants(
            warm_user[events.user[targets]], warm_item[events.item[targets]]
        ):
            for pool, candidates in pools[item_is].items():
                held.append(
                    HeldOut(
                        part,
                        quadrant,
                        None,
                        pool,
                        unit,
                        events.user[targets[rows]],
                        events.item[targets[rows]],
                        history.take(rows),
                        met.take(rows),
                        candidates.astype(np.int32),
                    )
                )
        return held

    def pairs(self, part: Part, inside: NDArray[np.bool_], end: int) -> list[HeldOutPairs]:
        """Labelled pairs by quadrant; none where the data has neither ratings nor declared clicks."""
        if self.protocol.clicks is None and self.events.rating is None:
            return []
        labelled = self.labelled(np.flatnonzero(inside), end)
        warm_user = self._warm(self.events.user, self.training)[labelled.user]
        warm_item = self._warm(self.events.item, self.training)[labelled.item]
        return [
            HeldOutPairs(part, quadrant, unit, labelled.take(rows))
            for quadrant, _, unit, rows in _quadrants(warm_user, warm_item)
        ]

    def labelled(self, rows: NDArray[np.int64], end: int) -> Pairs:
        """Labelled pairs of the events at ``rows``, of which what happened from ``end`` on must not be known."""
        events, clicks = self.events, self.protocol.clicks
        history = items_at(events, before(events, rows, self.clicked, strictly=True))
        if clicks is not None and clicks.negatives is not None:
            assert events.time is not None, "timed data has times"
            return clicks_with_negatives(events, rows, clicks.negatives, self.seed, events.time[:] < end, history)
        if clicks is not None:
            return event_pairs(events, rows, self.clicked.astype(np.float32), "click", history)
        assert events.rating is not None, "asked for where the data has ratings"
        return event_pairs(events, rows, events.rating, "rating", history)

    def _targets(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        where = np.flatnonzero(mask)
        if self.protocol.target == "every":
            return where
        user = self.events.user[where]
        changes = user[1:] != user[:-1]
        wanted = np.ones(len(where), bool)
        if self.protocol.target == "first":
            wanted[1:] = changes
        else:
            wanted[:-1] = changes
        return where[wanted]

    def _warm(self, codes: NDArray[np.int32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which users, or items, have an event under ``mask``."""
        size = len(self.events.users) if codes is self.events.user else len(self.events.items)
        return np.bincount(codes[mask], minlength=size) > 0


def _quadrants(
    warm_user: NDArray[np.bool_], warm_item: NDArray[np.bool_]
) -> list[tuple[str, str, Unit, NDArray[np.int64]]]:
    """Name, kind of item, unit of inference and rows of each quadrant."""
    items: list[tuple[str, NDArray[np.bool_], Unit]] = [
        ("warm", warm_item, "user"),
        ("cold", ~warm_item, "user x item"),
    ]
    users = [("warm", warm_user), ("cold", ~warm_user)]
    return [
        (f"{user}-{item}", item, unit, np.flatnonzero(of_user & of_item))
        for item, of_item, unit in items
        for user, of_user in users
    ]


def _date(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"
