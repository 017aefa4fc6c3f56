"""Metrics by name."""

from __future__ import annotations

import re

from bench.errors import nearest
from bench.metrics.pairs import PAIR_METRICS, PairMetric
from bench.metrics.ranking import RANK_METRICS, RankMetric
from bench.metrics.text import TEXT_METRICS, TextMetric

__all__ = ["Metric", "parse"]

Metric = RankMetric | PairMetric | TextMetric
"""A value that knows its name, which tasks it measures, and whether higher is better."""


def parse(text: str) -> Metric:
    """Read ``"NDCG@10"``, ``"RMSE"`` or ``"BLEU-4"``; capitals do not matter.

    Raises
    ------
    UsageError
        For an unknown name or a cut-off that is not a positive number.
    """
    wanted = text.strip()
    named: tuple[PairMetric | TextMetric, ...] = (*PAIR_METRICS, *TEXT_METRICS)
    for metric in named:
        if metric.name.upper() == wanted.upper():
            return metric
    match = re.fullmatch(r"([A-Za-z]+)@([1-9]\d*)", wanted)
    if match is None or match[1].upper() not in RANK_METRICS:
        raise nearest("metric", text, [*(f"{name}@10" for name in RANK_METRICS), *map(str, named)])
    return RankMetric(match[1].upper(), int(match[2]))
