"""Statistics: intervals, paired tests, corrections, effect sizes and power, over the right unit of inference."""

from bench.stats.bootstrap import Interval, intervals
from bench.stats.compare import Comparison, compare_all
from bench.stats.correction import Correction, correct
from bench.stats.randomisation import randomisation_p
from bench.stats.spread import Spread, spread
from bench.stats.units import Units

__all__ = [
    "Comparison",
    "Correction",
    "Interval",
    "Spread",
    "Units",
    "compare_all",
    "correct",
    "intervals",
    "randomisation_p",
    "spread",
]
