"""Text metrics by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.metrics.text.standard import rouge
from bench.metrics.text.written import Written

__all__ = ["TEXT_METRICS", "TextMetric"]

Floats = NDArray[np.float64]

EXPLANATIONS = ("explanation", "feature-explanation", "rated-explanation")
WRITING = (*EXPLANATIONS, "headline")


@dataclass(frozen=True)
class TextMetric:
    """A metric of written texts.

    Attributes
    ----------
    name : str
        ``"BLEU-4"``, ``"ROUGE-L"``, say.
    tasks : tuple of str
        What it measures.
    higher_is_better : bool
    descriptive : bool
        A number of the whole set of texts that is no sum over its rows: tables show it without an interval, and
        nothing is tested by it.
    k : int
        No list is looked at.
    """

    name: str
    tasks: tuple[str, ...] = WRITING
    higher_is_better: bool = True
    descriptive: bool = False
    k: int = 0

    def __str__(self) -> str:
        return self.name

    def defined(self, measurements: pl.DataFrame) -> bool:
        """Whether the metric exists for these requests."""
        return measurements.height > 0

    def values(self, measurements: pl.DataFrame, *, expected: bool = False) -> Floats:
        """Value of each request of a stored prediction; ``expected`` changes nothing here."""
        return self.per_request(Written.of(measurements))

    def per_request(self, written: Written) -> Floats:
        """Values whose mean is the metric, shape (requests,)."""
        return _VALUES[self.name](written)


_VALUES: dict[str, Callable[[Written], Floats]] = {
    "ROUGE-1": partial(rouge, "rouge1"),
    "ROUGE-2": partial(rouge, "rouge2"),
    "ROUGE-L": partial(rouge, "rougeL"),
}

TEXT_METRICS = tuple(TextMetric(name) for name in _VALUES)
