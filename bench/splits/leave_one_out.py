"""Leave-one-out: a user's last event is the test, the one before the validation, the rest is learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.data import Dataset
from bench.data.ragged import Ragged
from bench.splits.draws import sampled_candidates
from bench.splits.events import Events, order_events
from bench.splits.pairs import event_pairs
from bench.splits.protocol import Protocol
from bench.splits.split import Cut, HeldOut, HeldOutPairs, Part

__all__ = ["LastTwo", "LeaveOneOut", "last_two", "ranking_sets"]


@dataclass(frozen=True, eq=False)
class LastTwo:
    """The last two events of each user with at least three, among the events under a mask.

    Attributes
    ----------
    training : ndarray of bool, shape (events,)
        The masked events without the held-out ones.
    validation, last : ndarray of bool, shape (events,)
        The validation events, and the test events.
    parts : dict
        ``"valid"`` and ``"test"`` -> (user, item, history): arrays of shape (users,) and a Ragged with the items
        before the held-out event, oldest first.
    """

    training: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    last: NDArray[np.bool_]
    parts: dict[Part, tuple[NDArray[np.int32], NDArray[np.int32], Ragged]]

    def where(self, part: Part) -> NDArray[np.int64]:
        """Positions of the held-out events of a part, in the order of ``parts``."""
        return np.flatnonzero(self.validation if part == "valid" else self.last)


def last_two(events: Events, mask: NDArray[np.bool_]) -> LastTwo:
    """Hold out the last two of each user's events under ``mask``; users with fewer than three keep all."""
    users, counts = events.by_user(mask)
    item = events.item[mask]
    eligible = counts >= 3
    last = np.cumsum(counts)[eligible] - 1

    def before(steps: int) -> Ragged:
        shown = np.repeat(eligible, counts)
        for step in range(steps):
            shown[last - step] = False
        return Ragged.from_lengths(counts[eligible] - steps, item[shown])

    def held_out(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        chosen, among_all = np.zeros(len(item), bool), np.zeros(len(events), bool)
        chosen[places] = True
        among_all[mask] = chosen
        return among_all

    validated, tested = held_out(last - 1), held_out(last)
    held = users[eligible]
    return LastTwo(
        training=mask & ~validated & ~tested,
        validation=validated,
        last=tested,
        parts={
            "valid": (held, item[last - 1], before(2)),
            "test": (held, item[last], before(1)),
        },
    )


def ranking_sets(events: Events, two: LastTwo, sampled: int | None, seed: int) -> tuple[list[HeldOut], tuple[str, ...]]:
    """Make the ranking sets of both parts, and what must be said of them; unit of inference: the user.

    Parameters
    ----------
    sampled : int or None
        As in ``LeaveOneOut``.
    """
    every_item = np.arange(len(events.items), dtype=np.int32)
    held: list[HeldOut] = []
    short = 0
    masks = _masks(events, two)
    for part, (user, item, history) in two.parts.items():
        full = HeldOut(part, "warm-warm", None, "all", "user", user, item, history, masks[part], every_item)
        held.append(full)
        if sampled is not None:
            drawn = sampled_candidates(events, two.where(part), sampled, seed)
            short += int(np.count_nonzero(drawn.lengths <= sampled))
            held.append(replace(full, pool="sampled", sampled=drawn))
    if not short:
        return held, ()
    return held, (f"{short:,} sampled requests have fewer than {sampled} negatives: their users met nearly every item",)


def _masks(events: Events, two: LastTwo) -> dict[Part, Ragged]:
    """What every user had met before the held-out event, sorted."""
    _, held, before_held = two.parts["valid"]
    if events.repeats:
        # What comes next may be something the user had: then nothing is masked.
        return {part: Ragged.empty(len(held)) for part in two.parts}
    history = two.parts["test"][2]
    met = history.distinct()
    if len(met.values) < len(history.values):
        return {"valid": before_held.distinct(), "test": met}
    # Sorting is the dearest step of all, and the one mask is the other without the validation events.
    before = met.values[met.values != np.repeat(held, met.lengths)]
    return {"valid": Ragged.from_lengths(met.lengths - 1, before), "test": met}


class LeaveOneOut(Protocol):
    """Leave-one-out, ranking the whole catalogue.

    Attributes
    ----------
    sampled : int or None
        When given, a second set ranks the held-out item among so many items drawn uniformly from those the user
        never met (P5's direct family: 99); the draw is part of the split.
    """

    name: Literal["leave-one-out"] = "leave-one-out"
    sampled: int | None = Field(None, ge=1)

    version: ClassVar[str] = "1"

    def describe(self) -> str:
        """The protocol in words."""
        return "leave-one-out" if self.sampled is None else f"leave-one-out, also ranked among {self.sampled} negatives"

    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Hold out the last two events of each user, for rankings and, where the data has them, for ratings."""
        events = order_events(dataset, seed)
        two = last_two(events, np.ones(len(events), bool))
        held, notes = ranking_sets(events, two, self.sampled, seed)
        pairs = []
        if events.rating is not None:
            for part, (_, _, history) in two.parts.items():
                rated = event_pairs(events, two.where(part), events.rating, "rating", history)
                pairs.append(HeldOutPairs(part, "warm-warm", "user", rated))
        return Cut(events, two.training, two.validation, held, pairs, notes=notes)
