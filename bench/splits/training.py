"""What a model may learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.ragged import Ragged

__all__ = ["Training"]


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
    """

    user: NDArray[np.int32]
    sequences: Ragged
    time: NDArray[np.int64] | None
    rating: NDArray[np.float32] | None
    items: pl.DataFrame

    @property
    def item(self) -> NDArray[np.int32]:
        """Codes of the training items, strictly increasing, shape (items,)."""
        return self.items["item"].to_numpy()

    @property
    def has_text(self) -> bool:
        """Whether at least one training item has a title."""
        return "title" in self.items.columns and self.items["title"].null_count() < len(self.items)
