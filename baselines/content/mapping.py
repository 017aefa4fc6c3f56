"""A ridge regression from item text to item factors; imports scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

__all__ = ["Mapping", "learn_mapping"]

Floats = NDArray[np.float64]

_SET_ASIDE = 5
"""One item in so many is set aside to see how much shorter mapped factors are than trained ones."""


@dataclass(frozen=True, eq=False)
class Mapping:
    """A linear map from TF-IDF rows to factors.

    Attributes
    ----------
    weight : ndarray of float64, shape (words, factors)
    intercept : ndarray of float64, shape (factors,)
    """

    weight: Floats
    intercept: Floats

    def __call__(self, rows: csr_array) -> Floats:
        """Factors of items, shape (items, factors)."""
        return rows @ self.weight + self.intercept


def learn_mapping(rows: csr_array, factors: Floats, *, ridge: float, rng: np.random.Generator) -> Mapping:
    r"""Fit the map and stretch it to the length of trained factors.

    A regression shrinks what it cannot explain, so that mapped factors are shorter than trained ones, and cold items
    would all rank below the warm ones. Weight and intercept are therefore multiplied by

    .. math:: \sqrt{\sum_{i \in H} \lVert v_i \rVert^2 \Big/ \sum_{i \in H} \lVert \hat v_i \rVert^2} ,

    with :math:`H` a fifth of the items and :math:`\hat v` what a map fitted on the other items makes of their text. The
    order among cold items does not depend on it.

    Parameters
    ----------
    rows : csr_array of float32, shape (items, words)
        None of them empty.
    factors : ndarray of float64, shape (items, factors)
    ridge : float
        Penalty on the squared weights; the intercept is free.
    """
    aside = rng.permutation(len(factors)) < len(factors) // _SET_ASIDE
    stretch = 1.0
    if aside.any():
        told = _fit(rows[~aside], factors[~aside], ridge)(rows[aside])
        stretch = float(np.sqrt(np.square(factors[aside]).sum() / np.square(told).sum()))
    found = _fit(rows, factors, ridge)
    return Mapping(found.weight * stretch, found.intercept * stretch)


def _fit(rows: csr_array, factors: Floats, ridge: float) -> Mapping:
    """Ridge regression by conjugate gradients."""
    regression = Ridge(alpha=ridge, solver="sparse_cg", tol=1e-4).fit(rows, factors)
    return Mapping(np.ascontiguousarray(regression.coef_.T), np.asarray(regression.intercept_, np.float64))
