"""The only place where metrics are computed: from counts of candidates, labels and predictions, or texts."""

from bench.metrics.counting import DEPTH, Counts, count_lists, count_scores
from bench.metrics.names import Metric, parse
from bench.metrics.pairs import PairMetric, Rated
from bench.metrics.ranking import RankMetric
from bench.metrics.text import TEXT_LIBRARIES, TextMetric, Written

__all__ = [
    "DEPTH",
    "TEXT_LIBRARIES",
    "Counts",
    "Metric",
    "PairMetric",
    "RankMetric",
    "Rated",
    "TextMetric",
    "Written",
    "count_lists",
    "count_scores",
    "parse",
]
