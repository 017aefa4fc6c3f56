"""Popularity: every user is offered what was consumed most often."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from baselines.lookup import positions, take_columns
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate

__all__ = ["Popularity"]


class Popularity(Recommender):
    """Score an item by the number of its training interactions, the same for every user.

    Counted once per interaction of the training part. (RecBole's ``Pop`` counts once per batch, sampled negatives
    included, so that its ranking changes with the batch size; it is not used for that reason.) An item without a
    training interaction is unknown (NaN), not unpopular (0).
    """

    capabilities = Capabilities(cold_users="natively")
    version = "1"
    side = "floor"
    libraries = ("numpy",)

    _item: NDArray[np.int32]
    """Items with at least one training interaction, strictly increasing."""
    _count: NDArray[np.int64]

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Count."""
        self._item, self._count = np.unique(training.sequences.values, return_counts=True)
        return FitReport(parameters_trained=len(self._item), parameters_total=len(self._item))

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Counts, one identical row a request; NaN for items never seen in training."""
        row = take_columns(self._count, positions(self._item, requests.catalogue.items))
        return np.tile(row, (len(requests), 1))

    def save(self, folder: Path) -> None:
        """Write ``popularity.npz``."""
        np.savez(folder / "popularity.npz", item=self._item, count=self._count)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``popularity.npz``."""
        model = cls(settings, device=device)
        with np.load(folder / "popularity.npz", allow_pickle=False) as stored:
            model._item, model._count = stored["item"], stored["count"]
        return model
