"""A split together with the cut it was made of: what an export needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data import Dataset
from bench.data.reviews import Reviews
from bench.splits.events import Events, order_events
from bench.splits.protocol import Protocol
from bench.splits.split import Cut, HeldOut, HeldOutPairs, Split

__all__ = ["Made", "name_of", "slug_of", "texts_of"]


@dataclass(frozen=True, eq=False)
class Made:
    """A split, how it was made, and the cut of the data's events behind it.

    Attributes
    ----------
    seed : int
        The split seed.
    """

    dataset: Dataset
    protocol: Protocol
    seed: int
    cut: Cut
    split: Split

    @property
    def user_ids(self) -> pl.Series:
        """The id of every user code."""
        return self.split.users["user_id"]

    @property
    def item_ids(self) -> pl.Series:
        """The id of every item code."""
        return self.split.items["item_id"]

    @property
    def name(self) -> str:
        """Of files in which a split stands for a data set: the data set's, and the start of the split's identity."""
        return re.sub(r"[^A-Za-z0-9-]+", "-", f"{self.split.dataset}-{self.split.identity[:8]}")

    def events_of(self, held: HeldOut) -> NDArray[np.int64]:
        """Positions of held-out events among the cut's, shape (events,).

        Where a user met an item more than once, the first such event that the part holds out.
        """
        cut = self.cut
        own = cut.validation if held.part == "valid" else ~cut.training & ~cut.validation
        width = len(cut.events.items)
        keys = cut.events.user.astype(np.int64) * width + cut.events.item
        order = np.lexsort((~own, keys))
        wanted = held.user.astype(np.int64) * width + held.item
        found = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
        assert np.array_equal(keys[found], wanted), "what is held out are events"
        return found


def texts_of(dataset: Dataset, seed: int, events: Events) -> Reviews | None:
    """Reviews of ``events``; ``None`` where there are none, or ``seed`` puts the data set's in another order."""
    if dataset.reviews is None or len(events) != dataset.interactions.height:
        return None
    ordered = order_events(dataset, seed)
    same = np.array_equal(ordered.user, events.user) and np.array_equal(ordered.item, events.item)
    return ordered.reviews if same else None


def name_of(held: HeldOut | HeldOutPairs) -> str:
    """A readable name of a set: ``test/cold-warm/k=3/warm``; for pairs the part, the quadrant and their kind."""
    if isinstance(held, HeldOutPairs):
        return f"{held.part}/{held.quadrant}/{held.pairs.kind} pairs"
    shots = "" if held.shots is None else f"/k={held.shots}"
    return f"{held.part}/{held.quadrant}{shots}/{held.pool}"


def slug_of(held: HeldOut, *, pool: bool = True) -> str:
    """The same as a part of a file's name, without the part: ``cold-warm-k3-warm``."""
    words = [held.quadrant, "" if held.shots is None else f"k{held.shots}", held.pool if pool else ""]
    return re.sub(r"[^A-Za-z0-9-]+", "-", "-".join(word for word in words if word))
