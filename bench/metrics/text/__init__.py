"""Metrics of written texts: explanations and headlines."""

from bench.metrics.text.metrics import TEXT_LIBRARIES, TEXT_METRICS, TextMetric
from bench.metrics.text.written import Written

__all__ = ["TEXT_LIBRARIES", "TEXT_METRICS", "TextMetric", "Written"]
