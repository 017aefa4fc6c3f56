"""From stored counts to what the statistics take: values per request, and units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.metrics import parse
from bench.stats import Units

__all__ = ["coverage", "unit_mean", "units_of", "values_of"]


def units_of(kind: str, measurements: pl.DataFrame) -> Units:
    """The unit of inference of a request set; users and items are numbered in the order of their ids."""
    user, item = (
        np.unique(measurements[column].to_numpy().astype(str), return_inverse=True)[1]
        for column in ("user_id", "item_id")
    )
    return Units.of(kind, user, item)


def values_of(metric: str, seeds: Sequence[pl.DataFrame], *, expected: bool = False) -> NDArray[np.float64]:
    """A metric of every request under every seed, shape (seeds, requests)."""
    measure = parse(metric)
    return np.stack([measure.values(frame, expected=expected) for frame in seeds])


def unit_mean(values: NDArray[np.float64], units: Units) -> float:
    """The mean as tables print it: within units first where units say so, then over units and seeds."""
    return float(units.to_cells(values).mean())


def coverage(seeds: Sequence[pl.DataFrame]) -> float:
    """Share of requests answered, over all seeds."""
    return float(np.mean([frame["served"].to_numpy().mean() for frame in seeds]))
