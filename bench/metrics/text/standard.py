"""Text metrics as kept packages compute them."""

from __future__ import annotations

import numpy as np

from bench.metrics.text.packages import load
from bench.metrics.text.written import Written

__all__ = ["rouge"]


def rouge(kind: str, written: Written) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """F1 of every row by rouge-score, in percent; its own tokens (lower case, ``[a-z0-9]+``), no stemmer."""
    scorer = load("rouge_score.rouge_scorer", "ROUGE").RougeScorer([kind], use_stemmer=False)
    pairs = zip(written.actual, written.texts, strict=True)
    return 100 * np.array([scorer.score(actual, text)[kind].fmeasure for actual, text in pairs], np.float64)
