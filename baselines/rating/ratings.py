"""The ratings a model learns from, and when a training loop asks how good it has become."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.lookup import positions
from bench.errors import MissingInputError
from bench.models import Training

__all__ = ["Ratings"]


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who gave what how many stars.

    Attributes
    ----------
    users, items : ndarray of int32
        The codes that occur, strictly increasing.
    user, item : ndarray of int64, shape (ratings,)
        Positions in ``users`` and ``items``.
    stars : ndarray of float64, shape (ratings,)
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    stars: NDArray[np.float64]

    @classmethod
    def of(cls, training: Training) -> Ratings:
        """Take the rated pairs where the protocol made some, and the stars of the events otherwise.

        Raises
        ------
        MissingInputError
            When nothing in training is rated.
        """
        pairs = training.pairs
        if pairs is not None and pairs.kind == "rating":
            user, item, stars = pairs.user, pairs.item, pairs.label
        elif training.rating is not None:
            user, item = training.user[training.sequences.row_of], training.sequences.values
            stars = training.rating
        else:
            raise MissingInputError(
                "a model of ratings needs some, and no training event carries one: choose a dataset with ratings"
            )
        users, items = np.unique(user), np.unique(item)
        return cls(users, items, positions(users, user), positions(items, item), stars.astype(np.float64))

    def __len__(self) -> int:
        return len(self.stars)

    @property
    def range(self) -> tuple[float, float]:
        """Fewest and most stars given."""
        return float(self.stars.min()), float(self.stars.max())
