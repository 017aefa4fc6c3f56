"""What a model may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from bench.data.reviews import Reviews

__all__ = ["Pairs", "Training"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Labelled user-item pairs, one row each.

    Attributes
    ----------
    user, item : ndarray of int32, shape (pairs,)
    label : ndarray of float32, shape (pairs,)
        Stars (``kind`` "rating"), or 1 for a click and 0 for none (``kind`` "click").
    history : Ragged
        Items the user had met (for clicks: clicked) strictly before the pair, oldest first.
    time : ndarray of int64, shape (pairs,), or None
        Unix seconds; a declared negative carries the time of the click it was drawn for.
    kind : str
        ``"rating"`` or ``"click"``.
    reviews : Reviews or None
        The texts that came with the pairs; never for declared negatives.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    label: NDArray[np.float32]
    history: Ragged
    time: NDArray[np.int64] | None
    kind: Literal["rating", "click"]
    reviews: Reviews | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.integer]) -> Pairs:
        """Select pairs by position."""
        return Pairs(
            self.user[rows],
            self.item[rows],
            self.label[rows],
            self.history.take(rows),
            None if self.time is None else self.time[rows],
            self.kind,
            None if self.reviews is None else self.reviews.take(rows),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Pairs]) -> Pairs:
        """Join pairs of one kind; texts are kept when all parts have them."""
        times = [part.time for part in parts if part.time is not None]
        texts = [part.reviews for part in parts if part.reviews is not None]
        return cls(
            np.concatenate([part.user for part in parts]),
            np.concatenate([part.item for part in parts]),
            np.concatenate([part.label for part in parts]),
            Ragged.from_lengths(
                np.concatenate([part.history.lengths for part in parts]),
                np.concatenate([part.history.values for part in parts]),
            ),
            np.concatenate(times) if len(times) == len(parts) else None,
            parts[0].kind,
            Reviews.concatenate(texts) if len(texts) == len(parts) else None,
        )


@dataclass(frozen=True, eq=False)
class Training:
    """Everything a model may learn from; holds nothing of a held-out event or of a cold item, its text included.

    Attributes
    ----------
    user : ndarray of int32, shape (users,)
        Codes of the training users, strictly increasing; row ``r`` of the ragged fields belongs to ``user[r]``.
    sequences : Ragged
        Each user's training items in time order, oldest first.
    time : ndarray of int64, shape (interactions,), or None
        Unix seconds of ``sequences.values``; ``None`` when the data has an order but no times.
    rating : ndarray of float32, shape (interactions,), or None
        Stars of ``sequences.values``, where the data has them.
    items : polars.DataFrame
        The training items, ordered by code, columns as in ``Catalogue.text``.
    reviews : Reviews or None
        The texts that came with ``sequences.values``, where the data has them.
    pairs : Pairs or None
        Labelled pairs to learn from, where the protocol makes them (clicks with declared negatives; the ratings of
        P5's own split); ``None``: the events themselves with their ``rating``.
    leak : Ragged or None
        Each user's events in time order, *held-out ones included*, row by row as ``sequences``: what P5's own numbering
        of items was made from. Only where a suite asks for it (``allow_leaky_index: true``), else ``None``.
    """

    user: NDArray[np.int32]
    sequences: Ragged
    time: NDArray[np.int64] | None
    rating: NDArray[np.float32] | None
    items: pl.DataFrame
    reviews: Reviews | None = None
    pairs: Pairs | None = None
    leak: Ragged | None = None

    @property
    def item(self) -> NDArray[np.int32]:
        """Codes of the training items, strictly increasing, shape (items,)."""
        return self.items["item"].to_numpy()

    @property
    def has_text(self) -> bool:
        """Whether at least one training item has a title."""
        return "title" in self.items.columns and self.items["title"].null_count() < len(self.items)
