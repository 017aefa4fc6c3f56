"""Serving a newcomer from a factor model with the items frozen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged

__all__ = ["ridge_fold_in"]


def ridge_fold_in(shown: Ragged, item: NDArray[np.float32], *, unobserved: float, ridge: float) -> NDArray[np.float32]:
    r"""User vectors that explain the shown items, given the item vectors.

    For shown items :math:`S` and item vectors :math:`v_1 \dots v_n` the vector minimises

    .. math:: \sum_{i \in S} (1 - u^\top v_i)^2 + \alpha \sum_{j=1}^{n} (u^\top v_j)^2
              + \lambda \, \overline{\lVert v \rVert^2} \, \lVert u \rVert^2 ,

    that is, the user's half of a step of implicit alternating least squares: :math:`\alpha` (``unobserved``) says how
    much it counts that the user did not pick the other items, :math:`\lambda` (``ridge``) is taken in units of the mean
    squared length of an item vector, so that it means the same whatever the scale of the trained vectors.

    Source: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, in the form of
    Rendle, Krichene, Zhang and Koren, "Revisiting the performance of iALS on item recommendation benchmarks",
    RecSys 2022.

    Parameters
    ----------
    shown : Ragged
        Rows of ``item`` that each newcomer was seen with; a row that occurs twice counts twice.
    item : ndarray of float32, shape (items, factors)
    unobserved, ridge : float
        Not negative, ``ridge`` positive.

    Returns
    -------
    ndarray of float32, shape (len(shown), factors)
        Zeros for an empty row.
    """
    vectors = item.astype(np.float64)
    factors = vectors.shape[1]
    mean_square = np.square(vectors).sum(axis=1).mean()
    common = unobserved * (vectors.T @ vectors) + ridge * mean_square * np.eye(factors)
    users = np.empty((len(shown), factors))
    for row, items in enumerate(shown):
        own = vectors[items]
        users[row] = np.linalg.solve(common + own.T @ own, own.sum(axis=0))
    return users.astype(np.float32)
