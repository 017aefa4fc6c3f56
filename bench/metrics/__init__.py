"""The only place where metrics are computed: from counts of candidates, or from labels and predictions."""

from bench.metrics.counting import DEPTH, Counts, count_lists, count_scores
from bench.metrics.names import Metric, parse
from bench.metrics.pairs import PairMetric, Rated
from bench.metrics.ranking import RankMetric

__all__ = [
    "DEPTH",
    "Counts",
    "Metric",
    "PairMetric",
    "RankMetric",
    "Rated",
    "count_lists",
    "count_scores",
    "parse",
]
