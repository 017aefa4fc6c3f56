"""All standard text metrics of one model against a single pass of the packages that they are made of."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest

from bench.metrics import Written
from bench.metrics.text import TEXT_METRICS

sacrebleu = pytest.importorskip("sacrebleu")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")

ROWS, WORDS = 20_000, 15


@pytest.mark.perf
def test_all_metrics_cost_a_few_passes() -> None:
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, 3001)
    words = np.array([f"word{number}" for number in range(3000)])
    drawn = rng.choice(words, (2, ROWS, WORDS), p=chance / chance.sum())
    actual, texts = ([" ".join(row) for row in block] for block in drawn)

    start = time.perf_counter()
    bleu = sacrebleu.corpus_bleu(texts, [actual]).score
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for one, other in zip(actual, texts, strict=True):
        scorer.score(one, other)
    pass_s = time.perf_counter() - start

    standard = [metric for metric in TEXT_METRICS if not metric.name.startswith("P5-") and metric.name != "METEOR"]
    frame = pl.DataFrame(Written(pl.Series(actual), pl.Series(texts), pl.Series(rng.choice(words, ROWS))).columns())
    start = time.perf_counter()
    found = {metric.name: metric.values(frame).mean() for metric in standard}
    all_s = time.perf_counter() - start
    assert found["BLEU-4"] == pytest.approx(bleu, abs=1e-9)
    print(f"{len(standard)} metrics of {ROWS} texts take {all_s:.1f} s; BLEU and ROUGE by themselves {pass_s:.1f} s")
    assert all_s < 4 * pass_s
