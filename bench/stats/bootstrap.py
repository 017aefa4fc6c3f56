"""Bootstrap intervals over the unit of inference.

Replicates draw whole users with replacement, or users and items both (the pigeonhole bootstrap: a request counts as
often as its user was drawn times as often as its item was; Owen 2007). All columns share the replicates, so differences
of columns are paired. Where a model has several training seeds they are drawn too, as a second level.

The interval is the *expanded percentile* interval (after Hesterberg 2015, "What teachers should know about the
bootstrap"): quantiles of the replicates give its shape, and their distance from the centre is scaled by
t / z * (standard error) / (spread of the replicates), with the standard error and degrees of freedom of
:mod:`bench.stats.spread`. Plain percentiles are wrong here on both sides: they are too narrow where a few dozen unequal
clusters carry the result, and for crossed users and items the pigeonhole bootstrap counts the noise of single
requests three times, which where noise rules makes a "95%" interval cover 99.9%. Like a plain percentile interval it
never leaves the range of the values of the cells.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.stats.spread import Spread, combine, spread
from bench.stats.units import Floats, Units

__all__ = ["Interval", "Replicates", "intervals", "resample"]

_CHUNK_BYTES = 1 << 25


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes
    ----------
    mean, low, high : float
        In units of the metric; ``low`` and ``high`` are NaN when there is a single user (or item).
    standard_error : float
        Of the mean: units, and seeds where there are several.
    seed_spread : float
        Standard deviation of the means of the seeds; NaN with one seed.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    seed_spread: float


def intervals(
    values: Mapping[str, Any], units: Units, *, replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of several means in one pass (any number of models and metrics of the same requests).

    Parameters
    ----------
    values : mapping of str to array-like of float, shape (requests,) or (seeds, requests)
    units : Units
    replicates : int
    seed : int
        The same seed, units and values give the same intervals, whatever else is in ``values``.
    level : float

    Raises
    ------
    DataError
        When a shape does not fit or a value is not finite.
    """
    drawn = Replicates.draw(units.all_to_cells(values), units, replicates=replicates, seed=seed)
    return {name: drawn.interval(name, level) for name in values}


@dataclass(frozen=True, eq=False)
class Replicates:
    """Bootstrap replicates of the mean of every entry, drawn together.

    Attributes
    ----------
    cells : dict of str to ndarray of float64, shape (seeds, cells)
    units : Units
    means : dict of str to ndarray of float64, shape (replicates,)
    """

    cells: dict[str, Floats]
    units: Units
    means: dict[str, Floats]

    @classmethod
    def draw(cls, cells: dict[str, Floats], units: Units, *, replicates: int, seed: int) -> Replicates:
        """Draw ``replicates`` resamples of the units and, per entry, of its seeds."""
        if not cells:
            return cls({}, units, {})
        by_seed = resample(np.concatenate(list(cells.values())), units, replicates=replicates, seed=seed)
        parts = np.split(by_seed, np.cumsum([len(array) for array in cells.values()])[:-1], axis=1)
        means = {name: _draw_seeds(part, name, seed) for name, part in zip(cells, parts, strict=True)}
        return cls(cells, units, means)

    def interval(self, name: str, level: float) -> Interval:
        """The interval of one entry's mean."""
        cells = self.cells[name]
        error = combine(spread(cells.mean(axis=0)[None], self.units), _seed_error(cells))
        low, high = _expand(self.means[name], cells.mean(), error, level)
        # Metrics have bounds: no interval may claim more than the best cell, or less than the worst.
        low, high = np.clip([low, high], cells.min(), cells.max())
        seed_spread = float(cells.mean(axis=1).std(ddof=1)) if len(cells) > 1 else np.nan
        return Interval(float(cells.mean()), float(low), float(high), float(error.standard_error[0]), seed_spread)

    def difference(self, name: str, reference: str, level: float) -> Interval:
        """The interval of the mean of ``name`` minus that of ``reference``, paired."""
        one, other = self.cells[name], self.cells[reference]
        apart = one.mean(axis=0) - other.mean(axis=0)
        error = combine(spread(apart[None], self.units), _seed_error(one), _seed_error(other))
        low, high = _expand(self.means[name] - self.means[reference], apart.mean(), error, level)
        return Interval(float(apart.mean()), float(low), float(high), float(error.standard_error[0]), np.nan)


def resample(cells: Floats, units: Units, *, replicates: int, seed: int) -> Floats:
    """Bootstrap the mean of each column over the clusters of every factor.

    Parameters
    ----------
    cells : ndarray of float64, shape (columns, cells)
    units : Units
    replicates, seed : int

    Returns
    -------
    ndarray of float64, shape (replicates, columns)
        The mean of the cells drawn, each as often as the product of its clusters' counts. A draw in which no user
        met any item (possible only with very few of both) gives the mean of all cells.
    """
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(units.factors))]
    widest = max(units.cells, *(len(factor.size) for factor in units.factors))
    rows = max(1, _CHUNK_BYTES // (8 * widest))
    columns = np.vstack([cells, np.ones(units.cells)])
    single = units.factors[0] if len(units.factors) == 1 else None
    # One factor: its clusters' totals say all, and there are fewer of them than cells.
    columns = (columns if single is None else single.totals(columns)).T.copy()
    out = np.empty((replicates, len(cells)))
    for start in range(0, replicates, rows):
        stop = min(start + rows, replicates)
        weights = np.ones(1)
        for stream, factor in zip(streams, units.factors, strict=True):
            counts = _draw_counts(stream, stop - start, len(factor.size))
            spread_out = single is None and not factor.is_trivial
            weights = weights * (counts[:, factor.code] if spread_out else counts)
        totals = weights @ columns
        drawn = totals[:, -1:]
        out[start:stop] = np.where(drawn > 0, totals[:, :-1] / np.maximum(drawn, 1), cells.mean(axis=1))
    return out


def _draw_counts(rng: np.random.Generator, rows: int, clusters: int) -> Floats:
    """How often each cluster is drawn, shape (rows, clusters)."""
    drawn = rng.integers(0, clusters, (rows, clusters))
    drawn += clusters * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def _draw_seeds(by_seed: Floats, name: str, seed: int) -> Floats:
    """Average replicates of shape (replicates, seeds) over seeds drawn with replacement, shape (replicates,).

    Deviations are widened by sqrt(n / (n - 1)), n seeds, so that two or three of them are not taken for all there are.
    The stream depends on the name, so that an entry's interval does not depend on its company.
    """
    replicates, seeds = by_seed.shape
    if seeds == 1:
        return by_seed[:, 0]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    excess = _draw_counts(rng, replicates, seeds) - 1
    widened = np.sqrt(seeds / (seeds - 1)) * (by_seed * excess).mean(axis=1)
    return np.asarray(by_seed.mean(axis=1) + widened)


def _seed_error(cells: Floats) -> Spread:
    """Error variance of the mean over training seeds; ``cells`` has shape (seeds, cells)."""
    seeds = len(cells)
    if seeds == 1:
        return Spread(np.zeros(1), np.full(1, np.inf))
    return Spread(np.atleast_1d(cells.mean(axis=1).var(ddof=1) / seeds), np.full(1, seeds - 1.0))


def _expand(drawn: Floats, estimate: float, error: Spread, level: float) -> NDArray[np.float64]:
    """The expanded percentile interval around ``estimate``, shape (2,)."""
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    centre, deviation = drawn.mean(), drawn.std()
    if not error.variance[0] > 0:
        return np.full(2, estimate if error.variance[0] == 0 else np.nan)
    if deviation == 0:
        return np.full(2, estimate)
    stretch = special.stdtrit(error.df[0], tails[1]) / special.ndtri(tails[1]) * error.standard_error[0] / deviation
    return np.asarray(estimate + stretch * (np.quantile(drawn, tails) - centre))
