r"""Implicit alternating least squares, each half-step solved exactly.

The factors :math:`u, v` of users and items minimise

.. math:: \sum_{(u, i) \in S} (1 - u^\top v)^2 + \alpha \sum_{u, i} (u^\top v)^2
          + \lambda \Big( \sum_u n_u \lVert u \rVert^2 + \sum_i n_i \lVert v \rVert^2 \Big),
          \qquad n_u = |S_u| + \alpha |I|, \quad n_i = |S_i| + \alpha |U|.

Sources: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008; the
regularisation by frequency of Rendle, Krichene, Zhang and Koren, "Revisiting the performance of iALS on item
recommendation benchmarks", RecSys 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged

__all__ = ["half_step", "objective", "transposed"]

Floats = NDArray[np.float64]

_BLOCK_CELLS = 8_000_000
"""Entries of the normal equations set up at once (64 MB)."""


def half_step(
    met: Ragged,
    fixed: Floats,
    *,
    unobserved: float,
    ridge: float,
    weight: NDArray[np.floating] | None = None,
    catalogue: Floats | None = None,
) -> Floats:
    """Solve one side's factors exactly, the other side's fixed.

    Parameters
    ----------
    met : Ragged
        Per row of the result the rows of ``fixed`` it was seen with; one that occurs twice counts twice.
    fixed : ndarray of float64, shape (others, factors)
    unobserved, ridge : float
        The module's alpha (not negative) and lambda (positive).
    weight : ndarray of float, shape (len(met.values),), optional
        How much each observation counts, 1 by default; those of a row add up to its :math:`n`.
    catalogue : ndarray of float64, shape (any, factors), optional
        What the unobserved part of the sum runs over, where that is not ``fixed`` itself.

    Returns
    -------
    ndarray of float64, shape (len(met), factors)
        Zeros for an empty row.
    """
    catalogue = fixed if catalogue is None else catalogue
    others, factors = catalogue.shape
    weight = np.ones(len(met.values)) if weight is None else weight.astype(np.float64)
    # In the eigenvectors of the Gram matrix what all rows share is diagonal.
    eigenvalue, basis = np.linalg.eigh(catalogue.T @ catalogue)
    turned = fixed @ basis
    solved = np.zeros((len(met), factors))
    # Rows of one length at a time: their observations are a dense block, and their equations one batch.
    for length in np.unique(met.lengths[met.lengths > 0]):
        alike = np.flatnonzero(met.lengths == length)
        size = max(1, _BLOCK_CELLS // (factors * max(factors, int(length))))
        for start in range(0, len(alike), size):
            rows = alike[start : start + size]
            place = met.offsets[rows][:, None] + np.arange(length)
            root = np.sqrt(weight[place])
            penalty = ridge * (weight[place].sum(axis=1) + unobserved * others)
            diagonal = unobserved * eigenvalue + penalty[:, None]
            solved[rows] = _solve(turned[met.values[place]] * root[..., None], root, diagonal)
    return solved @ basis.T


def _solve(seen: Floats, wanted: Floats, diagonal: Floats) -> Floats:
    """Minimise ``|wanted - seen x|^2 + x' diagonal x`` for every row of a batch, shape (rows, factors).

    Parameters
    ----------
    seen : ndarray, shape (rows, observations, factors)
    wanted : ndarray, shape (rows, observations)
    diagonal : ndarray, shape (rows, factors)
    """
    _, observations, factors = seen.shape
    if observations < factors:  # the same solution by a smaller system (Woodbury's identity)
        scaled = (seen / diagonal[:, None, :]).transpose(0, 2, 1)
        dual = np.linalg.solve(seen @ scaled + np.eye(observations), wanted[..., None])
        return (scaled @ dual)[..., 0]
    turned = seen.transpose(0, 2, 1)
    left = turned @ seen + diagonal[:, None, :] * np.eye(factors)
    return np.linalg.solve(left, turned @ wanted[..., None])[..., 0]


def objective(met: Ragged, user: Floats, item: Floats, *, unobserved: float, ridge: float) -> float:
    """What a half-step lowers, never raises: the sum in the module's description."""
    observed = np.einsum("ef,ef->e", user[met.row_of], item[met.values])
    everywhere = np.einsum("fg,fg->", user.T @ user, item.T @ item)
    users, items = len(user), len(item)
    of_user = met.lengths + unobserved * items
    of_item = np.bincount(met.values, minlength=items) + unobserved * users
    lengths = of_user @ np.square(user).sum(axis=1) + of_item @ np.square(item).sum(axis=1)
    return float(np.square(1 - observed).sum() + unobserved * everywhere + ridge * lengths)


def transposed(met: Ragged, items: int) -> Ragged:
    """Per item the users that met it, from per user the items met."""
    order = np.argsort(met.values, kind="stable")
    return Ragged.from_lengths(np.bincount(met.values, minlength=items), met.row_of[order])
