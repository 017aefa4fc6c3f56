"""P5's own split, for reproduction: reviews drawn at random, beside leave-one-out over the same events.

The ratings are split at random, 80/10/10, at least one row of every user and item to learn from; the rankings are
leave-one-out over *all* events. So most ranking test pairs are rating rows to learn from: a model of all families has
read the answers. The computed overlap stands in the split's notes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.data import Dataset
from bench.data.hashing import mix64
from bench.errors import DataError
from bench.splits.events import Events, order_events
from bench.splits.history import before, items_at
from bench.splits.leave_one_out import last_two, ranking_sets
from bench.splits.pairs import event_pairs
from bench.splits.protocol import Protocol
from bench.splits.split import Cut, HeldOutPairs, Part
from bench.splits.training import Pairs

__all__ = ["RandomReviews"]

_SALT = 5


class RandomReviews(Protocol):
    """Random reviews for ratings, leave-one-out for rankings, as P5 combined them.

    Attributes
    ----------
    sampled : int or None
        As for leave-one-out (P5: 99).
    """

    name: Literal["random-reviews"] = "random-reviews"
    sampled: int | None = Field(None, ge=1)

    version: ClassVar[str] = "1"

    def describe(self) -> str:
        """The protocol in words."""
        return "random reviews 80/10/10 beside leave-one-out (P5's own, leaking)"

    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Cut twice: at random for the ratings, the last two events of each user for the rankings."""
        events = order_events(dataset, seed)
        if events.rating is None:
            raise DataError(
                f"{dataset.name}: random-reviews splits ratings, and the data has none (or not for every event): "
                "use a card whose source has them, or leave-one-out"
            )
        two = last_two(events, np.ones(len(events), bool))
        held, notes = ranking_sets(events, two, self.sampled, seed)
        parts = draw_parts(events, seed)
        learned = parts["train"]

        def pairs(mask: NDArray[np.bool_]) -> Pairs:
            assert events.rating is not None, "checked above"
            rows = np.flatnonzero(mask)
            return event_pairs(events, rows, events.rating, "rating", items_at(events, before(events, rows, learned)))

        rated: tuple[Part, ...] = ("valid", "test")
        overlap = int((two.last & learned).sum()) / max(int(two.last.sum()), 1)
        warning = (
            f"LEAKS into the sequential and direct families: {overlap:.1%} of their test pairs are training rows of "
            "the rating family (P5's own split, for reproduction only)"
        )
        return Cut(
            # The sequences carry neither stars nor texts: those of the held-out reviews would be among them.
            replace(events, rating=None, reviews=None),
            two.training,
            two.validation,
            held,
            [HeldOutPairs(part, "warm-warm", "user", pairs(parts[part])) for part in rated],
            pairs(learned),
            (warning, *notes),
        )


def draw_parts(events: Events, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Draw the random parts.

    Every event has a hash of (seed, user, item, how often the two had met before). Of every user and of every item the
    event with the smallest hash is learned from; the smallest hashes fill the training up to 80% of all events; the
    rest is halved in order of the hash, the odd one for the test.

    Returns
    -------
    dict
        ``"train"``, ``"valid"``, ``"test"`` -> ndarray of bool, shape (events,); disjoint, together everything.
    """
    rows = np.arange(len(events))
    by_pair = np.lexsort((rows, events.item, events.user))
    user, item = events.user[by_pair], events.item[by_pair]
    new = np.append(True, (user[1:] != user[:-1]) | (item[1:] != item[:-1]))
    meeting = np.empty(len(events), np.int64)
    meeting[by_pair] = rows - np.maximum.accumulate(np.where(new, rows, 0))
    hashes = mix64(seed, _SALT, events.user_hash[events.user], events.item_hash[events.item], meeting)

    forced = np.zeros(len(events), bool)
    for codes in (events.user, events.item):
        order = np.lexsort((hashes, codes))
        forced[order[np.unique(codes[order], return_index=True)[1]]] = True
    order = np.lexsort((hashes, ~forced))
    training = max(round(0.8 * len(events)), int(forced.sum()))
    validation = (len(events) - training) // 2
    part = np.empty(len(events), np.int8)
    part[order] = np.repeat([0, 1, 2], [training, validation, len(events) - training - validation])
    return {name: part == code for code, name in enumerate(("train", "valid", "test"))}
