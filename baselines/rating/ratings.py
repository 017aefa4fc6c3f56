"""The ratings a model learns from, and when a training loop asks how good it has become."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.lookup import positions
from bench.errors import MissingInputError, ModelError
from bench.models import Budget, Training

__all__ = ["Ratings", "due", "must_end"]


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


def must_end(budget: Budget) -> None:
    """Refuse a budget under which training would go on for ever.

    Raises
    ------
    ModelError
    """
    if budget.max_steps is None and budget.max_epochs is None and budget.patience == 0:
        raise ModelError("the budget never ends: give max_steps, max_epochs or a patience above 0")


def due(budget: Budget, step: int, epoch: float) -> bool:
    """Whether to evaluate now: as the budget says, each epoch if it says nothing, and always at its end."""
    if step == budget.max_steps or (budget.eval_every_steps is not None and step % budget.eval_every_steps == 0):
        return True
    if not float(epoch).is_integer():
        return False
    every = budget.eval_every_epochs or (1 if budget.eval_every_steps is None else None)
    return epoch == budget.max_epochs or (every is not None and epoch % every == 0)
