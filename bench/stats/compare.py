"""A table's comparisons: every model with its interval, and against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from bench.errors import nearest
from bench.stats.bootstrap import Replicates
from bench.stats.correction import Correction, correct
from bench.stats.randomisation import randomisation_p
from bench.stats.spread import Spread, spread
from bench.stats.units import Floats, Units

__all__ = ["Comparison", "compare_all"]

_TIE = 1e-12
"""Differences of metrics up to this much are rounding, not wins."""


@dataclass(frozen=True)
class Comparison:
    """One row of a table. Everything is in units of the metric unless said otherwise; NaN means "does not apply".

    Attributes
    ----------
    model : str
    mean, low, high : float
        The model's mean (over its seeds too) with its interval, which covers units and seeds.
    seed_spread : float
        Standard deviation of the means of the seeds; NaN with one seed.
    seeds : int
    units : str
        What was sampled, such as ``"943 users"`` or ``"812 users x 84 items"``.
    difference, diff_low, diff_high : float
        Mean of the model minus that of the reference, with its paired interval (units and seeds); 0 for the reference.
    p, p_corrected : float
        Paired randomisation test, as it is and corrected for the comparisons of the table. It asks about these trained
        models (each averaged over its seeds), the interval also about training them anew.
    p_t : float
        Paired t test over units; for users x items with the two-way standard error.
    p_wilcoxon : float
        Wilcoxon's signed ranks over units; for users x items over users' means and over items' means, the larger p.
        It asks about symmetry around 0 rather than about the mean, and knows no two-way form: read it as a check only.
    effect : float
        d_z: mean difference in standard deviations of the units' differences (of the requests', for users x items).
        Signed like ``difference``; infinite if all differ by the same.
    win, tie, loss : int
        Units (requests, for users x items) where the model is better than, as good as, and worse than the reference.
    mde : float
        The smallest true difference that a two-sided test at 1 - ``level``, uncorrected, would have found with 80%
        power, given the spread seen; NaN where there is no spread.
    better : bool or None
        Whether the difference speaks for the model; ``None`` where there is none.
    """

    model: str
    mean: float
    low: float
    high: float
    seed_spread: float
    seeds: int
    units: str
    difference: float
    diff_low: float
    diff_high: float
    p: float
    p_corrected: float
    p_t: float
    p_wilcoxon: float
    effect: float
    win: int
    tie: int
    loss: int
    mde: float
    better: bool | None


def compare_all(
    values: Mapping[str, Any],
    units: Units,
    *,
    reference: str,
    higher_is_better: bool = True,
    correction: Correction = "holm",
    replicates: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Comparison]:
    """Compare every model with the reference, on the same units.

    Parameters
    ----------
    values : mapping of str to array-like of float, shape (seeds, requests) or (requests,)
        Per model the metric of every request; models may have different numbers of seeds. An unanswered request
        carries the value of a miss.
    units : Units
    reference : str
        The model the others are tested against.
    higher_is_better : bool
        What counts as a win.
    correction : str
        ``"holm"``, ``"fdr_bh"`` or ``"none"``, over all models but the reference.
    replicates, permutations : int
        Bootstrap replicates and randomisation draws.
    seed : int
        Of the resampling. A row depends on it, on the model's and the reference's values and on the units;
        ``p_corrected`` alone depends on the other rows.
    level : float
        Of the intervals.

    Returns
    -------
    list of Comparison
        One a model, in the order of ``values``.

    Raises
    ------
    UsageError
        Unknown reference or correction.
    DataError
        Shapes that do not fit, or values that are not finite.
    """
    if reference not in values:
        raise nearest("reference model", reference, values)
    drawn = Replicates.draw(units.all_to_cells(values), units, replicates=replicates, seed=seed)
    averaged = np.stack([cells.mean(axis=0) for cells in drawn.cells.values()])
    differences = averaged - drawn.cells[reference].mean(axis=0)
    differences[np.abs(differences) <= _TIE] = 0.0
    error = spread(differences, units)
    tests = {
        "p": randomisation_p(differences, units, permutations=permutations, seed=seed),
        "p_t": _t_p(differences, error),
        "p_wilcoxon": _wilcoxon_p(differences, units),
        "mde": _detectable(error, 1 - level),
    }
    itself = list(values).index(reference)
    for column in tests.values():
        column[itself] = np.nan
    tests["p_corrected"] = correct(tests["p"], correction)
    tests["effect"] = _effect(differences)
    rows = []
    for place, (name, cells) in enumerate(drawn.cells.items()):
        own, apart = drawn.interval(name, level), drawn.difference(name, reference, level)
        gain = differences[place] if higher_is_better else -differences[place]
        rows.append(
            Comparison(
                model=name,
                mean=own.mean,
                low=own.low,
                high=own.high,
                seed_spread=own.seed_spread,
                seeds=len(cells),
                units=str(units),
                difference=apart.mean,
                diff_low=apart.low,
                diff_high=apart.high,
                win=int((gain > 0).sum()),
                tie=int((gain == 0).sum()),
                loss=int((gain < 0).sum()),
                better=bool(gain.mean() > 0) if gain.any() else None,
                **{test: float(column[place]) for test, column in tests.items()},
            )
        )
    return rows


def _t_p(differences: Floats, error: Spread) -> Floats:
    """Two-sided p of the paired t test, shape (columns,); 1 where nothing differs."""
    mean = differences.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / error.standard_error
    p: Floats = np.where(mean == 0, 1.0, 2 * special.stdtr(error.df, -t))
    return np.where(np.isinf(t), 0.0, p)


def _wilcoxon_p(differences: Floats, units: Units) -> Floats:
    """Two-sided p of Wilcoxon's signed ranks over the clusters, the largest over the factors, shape (columns,)."""
    from scipy import stats

    p = np.ones((len(units.factors), len(differences)))
    for row, factor in zip(p, units.factors, strict=True):
        for column, means in enumerate(factor.means(differences)):
            if means.any():
                row[column] = stats.wilcoxon(means).pvalue
    largest: Floats = p.max(axis=0)
    return largest


def _effect(differences: Floats) -> Floats:
    """d_z, shape (columns,)."""
    mean = differences.mean(axis=1)
    if differences.shape[1] < 2:
        return np.full(len(mean), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean / differences.std(axis=1, ddof=1))


def _detectable(error: Spread, alpha: float, power: float = 0.8) -> Floats:
    """The true difference found with probability ``power`` at level ``alpha``, shape (columns,)."""
    quantiles = special.stdtrit(error.df, 1 - alpha / 2) + special.stdtrit(error.df, power)
    return np.where(error.variance > 0, quantiles * error.standard_error, np.nan)
