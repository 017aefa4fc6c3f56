"""The only place where metrics are computed: counts of candidates above the answer, and what follows from them."""

from bench.metrics.counting import DEPTH, Counts, count_lists, count_scores
from bench.metrics.ranking import Metric, parse

__all__ = ["DEPTH", "Counts", "Metric", "count_lists", "count_scores", "parse"]
