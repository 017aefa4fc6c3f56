"""Alternating least squares for biased matrix factorisation: half of the parameters at a time, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged

__all__ = ["Side", "group", "objective", "solve"]

BLOCK = 2**22
"""Entries of the normal equations that are held at a time."""


@dataclass(eq=False)
class Side:
    """What is known of all users, or of all items.

    Attributes
    ----------
    bias : ndarray of float64, shape (codes,)
    factors : ndarray of float64, shape (codes, rank)
    """

    bias: NDArray[np.float64]
    factors: NDArray[np.float64]


def group(rows: NDArray[np.int64], count: int) -> Ragged:
    """Which ratings belong to each of ``count`` rows: row r holds the numbers of the ratings of row r."""
    return Ragged.from_lengths(np.bincount(rows, minlength=count), np.argsort(rows, kind="stable"))


def solve(
    ratings: Ragged,
    other: NDArray[np.int64],
    stars: NDArray[np.float64],
    known: Side,
    *,
    ridge: float,
    bias_ridge: float,
) -> Side:
    r"""Minimise the penalised squared error over one side while the other stands still.

    For each row on its own, with the ratings :math:`r_j` of things with bias :math:`b_j` and factors :math:`q_j`,

    .. math:: \min_{b, p} \sum_j (r_j - b_j - b - p^\top q_j)^2 + \beta b^2 + \lambda \lVert p \rVert^2.

    Parameters
    ----------
    ratings : Ragged
        Row r holds the numbers of the ratings of row r; a row without any gets zeros.
    other : ndarray of int64, shape (ratings,)
        The other party of each rating, a row of ``known``.
    stars : ndarray of float64, shape (ratings,)
        What was given, less the mean of all.
    known : Side
    ridge, bias_ridge : float
        :math:`\lambda` and :math:`\beta`.
    """
    features = np.hstack([np.ones((len(known.bias), 1)), known.factors])
    size = features.shape[1]
    penalty = np.diag([bias_ridge] + [ridge] * (size - 1))
    out = np.empty((len(ratings), size))
    step = max(1, BLOCK // size**2)
    for first in range(0, len(ratings), step):
        rows = range(first, min(first + step, len(ratings)))
        left = np.empty((len(rows), size, size))
        right = np.empty((len(rows), size))
        for place, row in enumerate(rows):
            chosen = ratings[row]
            parties = other[chosen]
            design = features[parties]
            left[place] = design.T @ design + penalty
            right[place] = design.T @ (stars[chosen] - known.bias[parties])
        out[rows.start : rows.stop] = np.linalg.solve(left, right[..., None])[..., 0]
    return Side(out[:, 0].copy(), out[:, 1:].copy())


def objective(
    users: Side,
    items: Side,
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    stars: NDArray[np.float64],
    *,
    ridge: float,
    bias_ridge: float,
) -> float:
    """What both halves minimise: the sum of squared errors plus the penalties of both sides."""
    rest = stars - users.bias[user] - items.bias[item] - np.sum(users.factors[user] * items.factors[item], axis=1)
    penalty = sum(bias_ridge * np.sum(side.bias**2) + ridge * np.sum(side.factors**2) for side in (users, items))
    return float(rest @ rest + penalty)
