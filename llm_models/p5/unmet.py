"""Training items that a user has not met in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged, Training
from llm_models.indexing import IdIndex

__all__ = ["Unmet"]


class Unmet:
    """Draws training items that are not among a user's training items.

    A held-out item is as likely as any other: nothing is to be learned from what never comes.

    Parameters
    ----------
    training : Training
    items : IdIndex
        Holds the training items, and perhaps others, which are never drawn.
    """

    def __init__(self, training: Training, items: IdIndex) -> None:
        self.position = items.rows(training.item).astype(np.int32)
        own = training.sequences
        self.met = Ragged(own.offsets, np.searchsorted(training.item, own.values).astype(np.int32)).distinct()
        # The n-th item not met is n + (met items before it), and those are as many as there are gaps up to n.
        within = np.arange(len(self.met.values)) - np.repeat(self.met.offsets[:-1], self.met.lengths)
        self.gaps = (self.met.values - within).astype(np.int32)

    def left(self, row: int) -> int:
        """How many items the user at ``row`` of the training data has not met."""
        start, stop = self.met.offsets[row : row + 2].tolist()
        return len(self.position) - (stop - start)

    def nth(self, row: int, n: NDArray[np.int64]) -> NDArray[np.int32]:
        """Positions of the ``n``-th items not met, from 0, in order of code."""
        start, stop = self.met.offsets[row : row + 2].tolist()
        return self.position[n + np.searchsorted(self.gaps[start:stop], n, side="right")]

    def one(self, row: int, u: float) -> int:
        """Position of the item at ``u`` in [0, 1) of all those not met; -1 where all are."""
        left = self.left(row)
        return int(self.nth(row, np.array([int(u * left)]))[0]) if left else -1

    def some(self, row: int, number: int, generator: np.random.Generator) -> NDArray[np.int32]:
        """Positions of so many different items, or of all where there are fewer, in random order."""
        left = self.left(row)
        return self.nth(row, generator.choice(left, min(number, left), replace=False))
