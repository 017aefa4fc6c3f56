"""Chance: what a model that knows nothing reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bench.data.hashing import mix64
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)

__all__ = ["Chance"]

_ITEMS_A_BLOCK = 4096


class Chance(Recommender):
    """Draw a score for every (seed, user, shown history, item) from a hash instead of a stream of random numbers.

    The order of the requests, their batching and the other candidates therefore change nothing. Scores are uniform
    on [0, 1) with 24 bits, as many as float32 can tell apart.
    """

    capabilities = Capabilities(cold_users="natively", cold_items="natively")
    version = "1"
    side = "floor"
    libraries = ("numpy",)

    _seed: int

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Remember the seed."""
        self._seed = seed
        return FitReport()

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Independent uniform scores, shape (requests, candidates)."""
        row = mix64(self._seed, requests.user)
        if requests.history is not None:
            row = mix64(row, _digest(requests.history))
        column = mix64(requests.catalogue.items)
        scores = np.empty((len(row), len(column)), np.float32)
        for start in range(0, len(column), _ITEMS_A_BLOCK):
            block = slice(start, start + _ITEMS_A_BLOCK)
            bits = mix64(row[:, None] ^ column[None, block]) >> np.uint64(40)
            scores[:, block] = bits.astype(np.float32) * np.float32(2.0**-24)
        return scores

    def save(self, folder: Path) -> None:
        """Write ``seed.txt``."""
        (folder / "seed.txt").write_text(str(self._seed), encoding="ascii")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``seed.txt``."""
        model = cls(settings, device=device)
        model._seed = int((folder / "seed.txt").read_text(encoding="ascii"))
        return model


def _digest(history: Ragged) -> NDArray[np.uint64]:
    """Hash the shown items of each row (their order left aside), shape (rows,)."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mix64(history.values), dtype=np.uint64)])
    return sums[history.offsets[1:]] - sums[history.offsets[:-1]]
