"""The fingerprint of a leaking numbering: hits that all stand at rank 1.

Next items that follow from their numbers are found at once or not at all, so NDCG@5 / HR@5 comes near 1; rankers that
have to guess stand near .65 (PROTOCOLS C1 has both). It is a reason to look, not a proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from bench.metrics import parse

__all__ = ["HIT_RATE", "RATIO", "Fingerprint", "fingerprint"]

RATIO, HIT_RATE = 0.7, 0.06
"""Above both, a model that reads ids as text is to be looked at (the bands for Amazon Beauty, leave-one-out)."""


@dataclass(frozen=True)
class Fingerprint:
    """Means over the requests of one set.

    Attributes
    ----------
    hit_rate : float
        HR@5.
    ndcg : float
        NDCG@5.
    """

    hit_rate: float
    ndcg: float

    @property
    def ratio(self) -> float | None:
        """NDCG@5 / HR@5: 1 when every hit is at rank 1, .39 when every hit is at rank 5; ``None`` without a hit."""
        return self.ndcg / self.hit_rate if self.hit_rate > 0 else None

    @property
    def flagged(self) -> bool:
        """Whether the leak check is due, if ids are text to the model."""
        return self.ratio is not None and self.ratio > RATIO and self.hit_rate > HIT_RATE


def fingerprint(measurements: pl.DataFrame) -> Fingerprint:
    """Take the fingerprint of a stored prediction.

    Parameters
    ----------
    measurements : polars.DataFrame
        A row a request: ``above``, ``tied``, ``served`` (see ``bench.metrics.Counts``).
    """
    return Fingerprint(*(float(parse(metric).values(measurements).mean()) for metric in ("HR@5", "NDCG@5")))
