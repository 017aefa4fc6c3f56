"""Standard errors that know about clusters, with their degrees of freedom.

For a mean over cells, the error variance by one factor is the sum of squared cluster totals of the residuals, over the
squared number of cells. When users and items both matter it is

    V = V_user + V_item - V_cell,

by inclusion and exclusion: the noise of single cells stands in both of the first two (Cameron, Gelbach and Miller
2011, "Robust inference with multiway clustering"). It is never taken below V_cell.

Cluster totals are measured from an estimated mean, which makes them too small, the more so the more unequal the
clusters; and a few large clusters carry most of the sum, so it has fewer degrees of freedom than there are clusters.
Both are repaired by Satterthwaite's moments of the quadratic form (Bell and McCaffrey 2002), under a working model in
which a cluster total varies by a cluster effect (variance in proportion to size squared) and by cell noise (in
proportion to size), mixed as the data say. With clusters of equal size this is the textbook n / (n - 1), with n - 1
degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.stats.units import Factor, Floats, Units

__all__ = ["Spread", "combine", "spread"]


@dataclass(frozen=True, eq=False)
class Spread:
    """Error variances of means, with their degrees of freedom; both of shape (columns,).

    NaN where nothing can be said (a factor with a single cluster); infinite degrees of freedom where the variance is 0.
    """

    variance: Floats
    df: Floats

    @property
    def standard_error(self) -> Floats:
        """Square root of the variance, shape (columns,)."""
        return np.sqrt(self.variance)


def spread(cells: Floats, units: Units) -> Spread:
    """The error variance of each column's mean.

    Parameters
    ----------
    cells : ndarray of float64, shape (columns, cells)
        As made by ``Units.to_cells``; one column of results a row.
    units : Units
    """
    count = units.cells
    if any(len(factor.size) < 2 for factor in units.factors):
        unknown = np.full(len(cells), np.nan)
        return Spread(unknown, unknown)
    residuals = cells - cells.mean(axis=1, keepdims=True)
    cell_variance = (residuals**2).sum(axis=1) / (count * (count - 1))
    parts = [_by_factor(residuals, factor, cell_variance) for factor in units.factors]
    if len(parts) == 1:
        return parts[0]
    total = np.maximum(sum(part.variance for part in parts) - cell_variance, cell_variance)
    effects = [Spread(np.maximum(part.variance - cell_variance, 0), part.df) for part in parts]
    cell = Spread(cell_variance, np.full(len(cells), count - 1.0))
    return Spread(total, _satterthwaite(total, [*effects, cell]))


def combine(*parts: Spread) -> Spread:
    """The spread of a sum of independent errors (cells and training seeds, say)."""
    total = np.sum([part.variance for part in parts], axis=0)
    return Spread(total, _satterthwaite(total, parts))


def _satterthwaite(total: Floats, parts: list[Spread] | tuple[Spread, ...]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        df: Floats = total**2 / np.sum([part.variance**2 / part.df for part in parts], axis=0)
    return np.where(total > 0, np.maximum(df, 1), np.where(total == 0, np.inf, np.nan))


def _by_factor(residuals: Floats, factor: Factor, cell_variance: Floats) -> Spread:
    """The variance by one factor; ``residuals`` has shape (columns, cells)."""
    count = residuals.shape[1]
    share = factor.size / count
    squares = (share**2).sum()
    raw = ((factor.totals(residuals) / count) ** 2).sum(axis=1)
    # How much of a total's variance is the cluster's own effect; undecidable, and of no matter, if all sizes are 1.
    effect = np.zeros(len(raw))
    if len(factor.size) < count:
        np.divide((raw - cell_variance) * squares, raw * (squares - 1 / count), out=effect, where=raw > 0)
    effect = np.clip(effect, 0, 1)[:, None]
    working = effect * share**2 / squares + (1 - effect) * share  # of cluster totals, sums to 1: (columns, clusters)
    # Residual totals have covariance K = (I - share 1') diag(working) (I - 1 share'): its trace and squared norm.
    cross, norm = working @ share, (working**2).sum(axis=1)
    trace = 1 - 2 * cross + squares
    outer = squares**2 + 2 * squares * norm + 2 * cross**2 - 4 * squares * cross
    diagonal = share**2 - 2 * share * working
    frobenius = outer + ((working + diagonal) ** 2 - diagonal**2).sum(axis=1)
    return Spread(raw / trace, np.where(raw > 0, trace**2 / frobenius, np.inf))
