"""Counts, smoothed means and bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bands", "Floats", "Ledger", "Places", "banded", "cuts_at", "positions", "smooth", "steps"]

Bands = NDArray[np.int8]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_PRIOR = 5.0


@dataclass(frozen=True, eq=False)
class Ledger:
    """Counts and sums of labels by group, up to any limit.

    Attributes
    ----------
    key : ndarray of int64, shape (entries,)
        ``group * span + rank``, increasing.
    total : ndarray of float64, shape (entries + 1,)
        Running sum of labels.
    span : int
    """

    key: Places
    total: Floats
    span: int

    @classmethod
    def of(cls, group: Places, rank: Places, label: NDArray[np.float32], end: int) -> Self:
        """Enter labels of groups (from 0) at ranks from 0 to below ``end``."""
        key = group * (end + 1) + rank
        order = np.argsort(key, kind="stable")
        return cls(key[order], np.append(0.0, np.cumsum(label[order], dtype=np.float64)), end + 1)

    def until(self, group: Places, limit: Places) -> tuple[Places, Floats]:
        """How many entries of each group rank below the limit, and the sum of their labels; none for group -1."""
        first = np.searchsorted(self.key, group * self.span)
        last = np.where(group >= 0, np.searchsorted(self.key, group * self.span + limit), first)
        return last - first, self.total[last] - self.total[first]


def positions(codes: NDArray[np.integer], wanted: NDArray[np.integer]) -> Places:
    """Positions in increasing codes; -1 where a code is not there."""
    if not len(codes):
        return np.full(len(wanted), -1)
    place = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
    return np.where(codes[place] == wanted, place, -1)


def steps(count: NDArray[np.integer], begins: tuple[int, ...]) -> Bands:
    """Band of a count: how many of ``begins`` (increasing) it reaches."""
    return np.searchsorted(begins, count, side="right").astype(np.int8)


def smooth(total: Floats, count: Places, mean: Floats | float) -> Floats:
    """Means drawn towards ``mean`` as by five more labels."""
    return (total + _PRIOR * mean) / (count + _PRIOR)


def cuts_at(values: Floats, weights: Places, shares: tuple[float, ...]) -> Floats:
    """Weighted quantiles, shape (shares,); NaN where they would tell nothing apart."""
    values, weights = values[weights > 0], weights[weights > 0]
    if not len(values) or values.min() == values.max():
        return np.full(len(shares), np.nan)
    order = np.argsort(values, kind="stable")
    running = np.cumsum(weights[order])
    return values[order][np.searchsorted(running, np.array(shares) * running[-1])]


def banded(values: Floats, count: Places, cuts: Floats) -> Bands:
    """Bands by thresholds, shape (bands - 1,) or (rows, bands - 1); -1 without evidence.

    A value that several thresholds equal stands in the middle of their bands.
    """
    value = values[:, None]
    band = ((value > cuts).sum(axis=1) + (value >= cuts).sum(axis=1)) // 2
    known = (count > 0) & np.isfinite(cuts).all(axis=-1)
    return np.where(known, band, -1).astype(np.int8)
