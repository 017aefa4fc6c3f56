"""Rank metrics as values: ``bench.metrics.parse("NDCG@10")`` gives one; per request first, mean second.

All follow from the number of candidates above and tied with the one relevant item (Krichene & Rendle 2020 call it the
rank of the item). Ties count against the model: the rank is ``above + tied + 1``. ``expected=True`` gives the mean over
all orders of the tied candidates instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["RANK_METRICS", "RankMetric"]


def _hit(rank: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.ones(len(rank))


def _gain(rank: NDArray[np.int64]) -> NDArray[np.float64]:
    # One relevant item: the ideal DCG is 1 (Jarvelin & Kekalainen 2002, base 2).
    return np.asarray(1.0 / np.log2(rank + 1.0), np.float64)


def _reciprocal(rank: NDArray[np.int64]) -> NDArray[np.float64]:
    return 1.0 / rank


_VALUE_AT = {"HR": _hit, "NDCG": _gain, "MRR": _reciprocal}

RANK_METRICS = tuple(_VALUE_AT)
"""Names that take a cut-off."""


@dataclass(frozen=True)
class RankMetric:
    """A rank metric with its cut-off.

    Attributes
    ----------
    name : str
        ``"HR"`` (hit rate), ``"NDCG"`` or ``"MRR"``.
    k : int
        Ranks beyond ``k`` count 0.
    tasks : tuple of str
        What it measures.
    higher_is_better : bool
    descriptive : bool
        Whether it has no interval.
    """

    name: str
    k: int
    tasks: tuple[str, ...] = ("sequential", "direct")
    higher_is_better: bool = True
    descriptive: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"

    def defined(self, measurements: pl.DataFrame) -> bool:
        """Whether the metric exists for these requests: always."""
        return True

    def values(self, measurements: pl.DataFrame, *, expected: bool = False) -> NDArray[np.float64]:
        """Value of each request of a stored prediction; see :meth:`per_request`."""
        above, tied, served = (measurements[column].to_numpy() for column in ("above", "tied", "served"))
        return self.per_request(above, tied, served, expected=expected)

    def per_request(
        self,
        above: NDArray[np.integer[Any]],
        tied: NDArray[np.integer[Any]],
        served: NDArray[np.bool_],
        *,
        expected: bool = False,
    ) -> NDArray[np.float64]:
        """Value of each request; an unserved request is a miss.

        Parameters
        ----------
        above, tied : ndarray of int, shape (requests,)
            Candidates scored above, and the same as, the relevant item (itself not counted).
        served : ndarray of bool, shape (requests,)
        expected : bool
            Average over the orders of tied candidates instead of taking the worst.

        Returns
        -------
        ndarray of float64, shape (requests,), in [0, 1]
        """
        ranks = np.arange(1, self.k + 1)
        # gains[r] is the value at rank r; cumulated, a run of tied ranks is a difference of two entries.
        gains = np.zeros(self.k + 2)
        gains[1:-1] = _VALUE_AT[self.name](ranks)
        best = np.minimum(np.asarray(above, np.int64) + 1, self.k + 1)
        worst_raw = np.asarray(above, np.int64) + np.asarray(tied, np.int64) + 1
        worst = np.minimum(worst_raw, self.k + 1)
        if expected:
            total = np.cumsum(gains)
            value = (total[worst] - total[best - 1]) / (np.asarray(tied, np.int64) + 1)
        else:
            value = gains[worst]
        return np.where(served, value, 0.0)
