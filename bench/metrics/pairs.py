"""Metrics of labelled pairs: errors of ratings, and how well scores tell clicks from none.

Tables, intervals and tests take means of values per request. The mean absolute error is such a mean; the others are
not, so they are given by their linearisation: values whose mean over the requests *is* the metric, and whose spread is
the metric's (the influence function of Hampel 1974; for the area under the curve these are the placements of DeLong,
DeLong and Clarke-Pearson 1988, which clustered as by Obuchowski 1997 allow for users with several requests).

A pair that was not served counts as the worst answer there is: the end of the scale farther from the label, and for
clicks the wrong end of all others. The original P5 drops such pairs with their labels, and so do ``P5-RMSE`` and
``P5-MAE``, for reproductions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.errors import DataError

__all__ = ["PAIR_METRICS", "PairMetric", "Rated"]

Floats = NDArray[np.float64]

CLIP = 1e-7
"""Predicted probabilities are kept this far from 0 and 1, so that one certain mistake costs 16 nats and not all."""


@dataclass(frozen=True, eq=False)
class Rated:
    """What the scorer keeps of a block of labelled pairs.

    Attributes
    ----------
    label, predicted : ndarray of float32, shape (requests,)
        ``predicted`` is NaN where nothing was said.
    """

    label: NDArray[np.float32]
    predicted: NDArray[np.float32]

    @property
    def served(self) -> NDArray[np.bool_]:
        """Whether the model said anything, shape (requests,)."""
        return ~np.isnan(self.predicted)

    def columns(self) -> dict[str, NDArray[Any]]:
        """What a store keeps of each request."""
        return {"actual": self.label, "predicted": self.predicted, "served": self.served}

    @classmethod
    def concatenate(cls, blocks: Iterable[Rated]) -> Self:
        """Join blocks of consecutive requests."""
        parts = list(blocks)
        return cls(np.concatenate([part.label for part in parts]), np.concatenate([part.predicted for part in parts]))


@dataclass(frozen=True)
class PairMetric:
    """A metric of labelled pairs.

    Attributes
    ----------
    name : str
        ``"RMSE"``, ``"MAE"``, ``"AUC"``, ``"LogLoss"``, or ``"P5-RMSE"`` and ``"P5-MAE"`` (answered pairs alone).
    tasks : tuple of str
        What it measures.
    higher_is_better : bool
    k : int
        No list is looked at.
    descriptive : bool
        Whether it has no interval.
    """

    name: str
    tasks: tuple[str, ...]
    higher_is_better: bool
    k: int = 0
    descriptive: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name

    def defined(self, measurements: pl.DataFrame) -> bool:
        """Whether the metric exists for these requests: an area under the curve needs clicks and non-clicks."""
        return self.name != "AUC" or measurements["actual"].n_unique() == 2

    def values(self, measurements: pl.DataFrame, *, expected: bool = False) -> Floats:
        """Value of each request of a stored prediction; ``expected`` changes nothing here."""
        label, predicted, served = (measurements[column].to_numpy() for column in ("actual", "predicted", "served"))
        return self.per_request(label, predicted, served)

    def per_request(
        self,
        label: NDArray[np.floating[Any]],
        predicted: NDArray[np.floating[Any]],
        served: NDArray[np.bool_],
    ) -> Floats:
        """Values whose mean is the metric.

        Parameters
        ----------
        label : ndarray of float, shape (requests,)
            Stars, or 1 for a click and 0 for none.
        predicted : ndarray of float, shape (requests,)
            Expected stars, or the probability of a click; anything where not served.
        served : ndarray of bool, shape (requests,)

        Returns
        -------
        ndarray of float64, shape (requests,)

        Raises
        ------
        DataError
            When the metric does not exist: clicks alone, or none at all, for the area under the curve.
        """
        return _VALUES[self.name](label.astype(np.float64), predicted.astype(np.float64), served)


def _errors(label: Floats, predicted: Floats, served: NDArray[np.bool_]) -> Floats:
    """Absolute errors; ratings are clipped to the scale, which is that of the labels."""
    low, high = label.min(), label.max()
    worst = np.maximum(label - low, high - label)
    return np.where(served, np.abs(np.clip(predicted, low, high) - label), worst)


def _root_mean_square(label: Floats, predicted: Floats, served: NDArray[np.bool_]) -> Floats:
    squares = _errors(label, predicted, served) ** 2
    root = float(np.sqrt(squares.mean()))
    return root + (squares - squares.mean()) / (2 * root) if root > 0 else squares


def _answered_error(label: Floats, predicted: Floats, served: NDArray[np.bool_]) -> Floats:
    """Absolute errors over the answered pairs alone, as values over all whose mean is theirs."""
    return _over_answered(_errors(label, predicted, served), served)


def _answered_root_mean_square(label: Floats, predicted: Floats, served: NDArray[np.bool_]) -> Floats:
    squares = _over_answered(_errors(label, predicted, served) ** 2, served)
    root = float(np.sqrt(squares.mean()))
    return root + (squares - squares.mean()) / (2 * root) if root > 0 else squares


def _over_answered(values: Floats, served: NDArray[np.bool_]) -> Floats:
    """Linearisation of the ratio of two means, of ``values`` where served and of ``served``."""
    mean = float(values[served].mean())
    return mean + np.where(served, values - mean, 0.0) / float(served.mean())


def _log_loss(label: Floats, predicted: Floats, served: NDArray[np.bool_]) -> Floats:
    """Negative log-likelihood in nats."""
    of_label = np.where(label > 0, predicted, 1 - predicted)
    loss: Floats = -np.log(np.clip(np.where(served, of_label, 0.0), CLIP, 1 - CLIP))
    return loss


def _area_under_curve(label: Floats, predicted: Floats, served: NDArray[np.bool_]) -> Floats:
    """Mann and Whitney's probability that a click scores above a non-click; a tie counts half."""
    clicked = label > 0
    clicks, others = int(clicked.sum()), int((~clicked).sum())
    if not clicks or not others:
        raise DataError("AUC needs clicks and non-clicks, and there are only " + ("clicks" if clicks else "non-clicks"))
    score = np.where(served, predicted, np.where(clicked, -np.inf, np.inf))
    placement = np.empty(len(label))
    for own in (True, False):
        mine, theirs = score[clicked == own], np.sort(score[clicked != own])
        below = (np.searchsorted(theirs, mine, "left") + np.searchsorted(theirs, mine, "right")) / (2 * len(theirs))
        placement[clicked == own] = below if own else 1 - below
    area = float(placement[clicked].mean())
    return area + (placement - area) * np.where(clicked, len(label) / clicks, len(label) / others)


_VALUES: dict[str, Callable[[Floats, Floats, NDArray[np.bool_]], Floats]] = {
    "RMSE": _root_mean_square,
    "MAE": _errors,
    "P5-RMSE": _answered_root_mean_square,
    "P5-MAE": _answered_error,
    "AUC": _area_under_curve,
    "LogLoss": _log_loss,
}

PAIR_METRICS = (
    PairMetric("RMSE", ("rating", "preference"), higher_is_better=False),
    PairMetric("MAE", ("rating", "preference"), higher_is_better=False),
    PairMetric("P5-RMSE", ("rating", "preference"), higher_is_better=False),
    PairMetric("P5-MAE", ("rating", "preference"), higher_is_better=False),
    PairMetric("AUC", ("click",), higher_is_better=True),
    PairMetric("LogLoss", ("click",), higher_is_better=False),
)
