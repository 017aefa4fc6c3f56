"""Corpus BLEU (Papineni et al. 2002), and values of rows whose mean it is.

With, over all rows, m_n matched and t_n written n-grams (n = 1 to N), c written and r actual tokens,

    BLEU = 100 exp(min(0, 1 - r / c)) (p_1 ... p_N)^(1/N),    p_n = m_n / t_n.

That is a function of sums, not a mean of rows. Tables, intervals and tests take means, so it is given by its
linearisation (the influence function of Hampel 1974): with sums replaced by means over rows, and m_n,i etc. those of
row i,

    value_i = BLEU (1 + 1/N sum_n (m_n,i / m_n - t_n,i / t_n) + [c < r] r / c (c_i / c - r_i / r)).

The brackets have mean 0, so that the mean of the values *is* the corpus metric, and their spread is the metric's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.text.kept import load, once
from bench.metrics.text.written import Written

__all__ = ["BLEUS", "ORIGINAL_BLEUS", "ngrams", "tokeniser"]

Floats = NDArray[np.float64]

ORDER = 4


def _bleu(order: int, written: Written) -> Floats:
    """BLEU as sacrebleu has it by default: case-sensitive, its tokens ``13a``, smoothing ``exp``.

    That smoothing touches an order only where not a single n-gram of the corpus matches; such an order is taken as
    varying by its length alone.

    Returns
    -------
    ndarray of float64, shape (requests,)
        In percent; may leave [0, 100] in single rows, the mean never does.
    """
    counted = once("sacrebleu", written, _counted_by_sacrebleu)
    length, actual, matched, total = _of_order(counted, order)
    corpus = _sacrebleu().compute_bleu(
        [int(number) for number in matched.sum(axis=0)],
        [int(number) for number in total.sum(axis=0)],
        int(length.sum()),
        int(actual.sum()),
        smooth_method="exp",
        max_ngram_order=order,
    )
    return _linearised(corpus.score, length, actual, matched, total)


def _original_bleu(order: int, written: Written) -> Floats:
    """BLEU as P5 has it, that of the TF-NMT tutorial: tokens between white space, no smoothing; in percent."""
    length, actual, matched, total = _of_order(once("whitespace bleu", written, _counted), order)
    reached = matched.sum(axis=0)
    if not reached.all():
        return np.zeros(len(length))
    brevity = min(0.0, 1 - actual.sum() / length.sum())
    corpus = 100 * np.exp(brevity + np.log(reached / total.sum(axis=0)).mean())
    return _linearised(float(corpus), length, actual, matched, total)


def ngrams(tokens: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """All runs of ``order`` tokens."""
    return [tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1)]


def tokeniser() -> Callable[[str], list[str]]:
    """What cuts a text into the tokens that sacrebleu calls ``13a``."""
    cut = _sacrebleu().tokenizer
    return lambda text: cut(text.rstrip()).split()


@cache
def _sacrebleu() -> Any:
    """BLEU with the defaults; one for all, since it remembers the tokens of the texts it has seen."""
    # The effective order changes the score of a row, which nobody reads; without it sacrebleu warns about rows.
    return load("sacrebleu.metrics", "BLEU, METEOR and DISTINCT").BLEU(effective_order=True)


def _counted_by_sacrebleu(written: Written) -> Floats:
    """Tokens written and actual, then matches and totals by order; shape (requests, 2 + 2 ORDER)."""
    metric = _sacrebleu()
    scores = (metric.sentence_score(text, [actual]) for actual, text in written.pairs())
    rows = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]
    return np.array(rows, np.float64).reshape(-1, 2 + 2 * ORDER)


def _counted(written: Written) -> Floats:
    """The same for tokens between white space."""
    rows = []
    for actual, text in written.pairs():
        theirs, ours = actual.split(), text.split()
        matched, total = [], []
        for order in range(1, ORDER + 1):
            found = ngrams(ours, order)
            total.append(len(found))
            matched.append(sum((Counter(found) & Counter(ngrams(theirs, order))).values()))
        rows.append([len(ours), len(theirs), *matched, *total])
    return np.array(rows, np.float64).reshape(-1, 2 + 2 * ORDER)


def _of_order(counted: Floats, order: int) -> tuple[Floats, Floats, Floats, Floats]:
    return counted[:, 0], counted[:, 1], counted[:, 2 : 2 + order], counted[:, 2 + ORDER : 2 + ORDER + order]


def _linearised(corpus: float, length: Floats, actual: Floats, matched: Floats, total: Floats) -> Floats:
    """The formula of the module; ``matched`` and ``total`` have shape (requests, N)."""
    if corpus == 0:
        return np.zeros(len(length))
    relative = (_relative(matched) - _relative(total)).mean(axis=1)
    if length.sum() < actual.sum():
        relative += actual.sum() / length.sum() * (_relative(length) - _relative(actual))
    return np.asarray(corpus * (1 + relative), np.float64)


def _relative(counts: Floats) -> Floats:
    """Each row's part relative to the mean part, minus 1; 0 where nothing was counted."""
    mean = counts.mean(axis=0)
    return np.where(mean > 0, counts / np.where(mean > 0, mean, 1) - 1, 0.0)


BLEUS = {f"BLEU-{order}": partial(_bleu, order) for order in (1, 2, 4)}
ORIGINAL_BLEUS = {f"P5-BLEU-{order}": partial(_original_bleu, order) for order in (1, 2, 4)}
