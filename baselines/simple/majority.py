"""The majority star: the one answer that is right most often when nothing is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingInputError
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate

__all__ = ["Majority"]


class Majority(Recommender):
    """Answer with the star that training reviews give most often, the smaller of equally frequent ones.

    What greedy decoding of a language model tends to: it wins mean absolute errors against means, and loses squared
    ones.
    """

    capabilities = Capabilities(
        tasks=frozenset({"rating", "preference"}), cold_users="the same star", cold_items="the same star"
    )
    version = "1"
    side = "floor"
    libraries = ("numpy",)

    _star: float

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Majority star"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Count stars.

        Raises
        ------
        MissingInputError
            When training has none.
        """
        pairs = training.pairs
        stars = pairs.label if pairs is not None and pairs.kind == "rating" else training.rating
        if stars is None or not len(stars):
            raise MissingInputError(
                "the majority star needs stars, and no training event has any: choose a dataset with ratings"
            )
        values, counts = np.unique(stars, return_counts=True)
        self._star = float(values[counts.argmax()])
        return FitReport(parameters_trained=1, parameters_total=1)

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """The same star for every request."""
        return np.full(len(requests), self._star, np.float32)

    def save(self, folder: Path) -> None:
        """Write ``star.json``."""
        (folder / "star.json").write_text(json.dumps(self._star), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``star.json``."""
        model = cls(settings, device=device)
        model._star = float(json.loads((folder / "star.json").read_text(encoding="utf-8")))
        return model
