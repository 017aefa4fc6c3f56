"""Corrections for the number of comparisons in one table."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from bench.errors import nearest
from bench.stats.units import Floats

__all__ = ["Correction", "correct"]

Correction = Literal["holm", "fdr_bh", "none"]
"""Holm (any wrong claim is an error), Benjamini-Hochberg (a share of wrong claims is allowed), or none."""


def correct(p: ArrayLike, method: Correction = "holm") -> Floats:
    """Correct p-values for their number.

    Parameters
    ----------
    p : array-like of float, shape (comparisons,)
        NaN is not a comparison: it stays NaN and does not count.
    method : str
        ``"holm"``, ``"fdr_bh"`` or ``"none"``.

    Raises
    ------
    UsageError
        When the method is unknown.
    """
    if method not in get_args(Correction):
        raise nearest("correction", method, get_args(Correction))
    corrected = np.array(p, dtype=np.float64)
    known = ~np.isnan(corrected)
    if method != "none" and known.any():
        from statsmodels.stats.multitest import multipletests

        corrected[known] = multipletests(corrected[known], method=method)[1]
    return corrected
