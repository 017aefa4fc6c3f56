"""How much the texts differ from one another: numbers of all texts together."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.metrics.text.bleu import ngrams, tokeniser
from bench.metrics.text.kept import once
from bench.metrics.text.written import Written

__all__ = ["VARIETIES"]

Floats = NDArray[np.float64]


def _distinct(order: int, written: Written) -> Floats:
    """Distinct n-grams among all n-grams written (Li et al. 2016), 0 to 1; tokens are BLEU's, case-sensitive."""
    return np.full(len(written.texts), once("distinct", written, _both_distinct)[order - 1])


def _both_distinct(written: Written) -> Floats:
    split = tokeniser()
    tokens = [split(text) for text in written.texts]
    found = [[ngram for row in tokens for ngram in ngrams(row, order)] for order in (1, 2)]
    return np.array([len(set(one)) / max(len(one), 1) for one in found])


def _unique(written: Written, *, empty_counts: bool) -> Floats:
    """Distinct texts among all rows, 0 to 1; texts that differ in white space are the same."""
    found = {" ".join(text.split()) for text in written.texts}
    return np.full(len(written.texts), len(found if empty_counts else found - {""}) / max(len(written.texts), 1))


VARIETIES = {
    "DISTINCT-1": partial(_distinct, 1),
    "DISTINCT-2": partial(_distinct, 2),
    "USR": partial(_unique, empty_counts=False),
    "P5-USR": partial(_unique, empty_counts=True),
}
