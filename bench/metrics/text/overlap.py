"""Overlap of a text with the user's own, row by row: ROUGE (Lin 2004) and METEOR (Lavie & Agarwal 2007)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingInputError
from bench.metrics.text.bleu import ngrams, tokeniser
from bench.metrics.text.kept import load, once
from bench.metrics.text.written import Written

__all__ = ["METEORS", "ORIGINAL_ROUGES", "ROUGES"]

Floats = NDArray[np.float64]

_KINDS = ("rouge1", "rouge2", "rougeL")


def _rouge(kind: int, written: Written) -> Floats:
    """F1 in percent by rouge-score: its own tokens (lower case, runs of ``a-z0-9``), no stemmer."""
    return once("rouge", written, _all_rouges)[:, kind]


def _all_rouges(written: Written) -> Floats:
    scorer = load("rouge_score.rouge_scorer", "ROUGE").RougeScorer(_KINDS, use_stemmer=False)
    scores = (scorer.score(actual, text) for actual, text in written.pairs())
    rows = [[score[kind].fmeasure for kind in _KINDS] for score in scores]
    return 100 * np.array(rows, np.float64).reshape(-1, len(_KINDS))


def _original_rouge(place: int, written: Written) -> Floats:
    """One of nine numbers, in percent."""
    return once("original rouge", written, _all_original_rouges)[:, place]


def _all_original_rouges(written: Written) -> Floats:
    """F1, precision and recall of 1, 2 and L as P5 has them, shape (requests, 9); tokens between white space.

    ROUGE-1 and -2 are of *sets* of n-grams: a word said twice counts once. ROUGE-L is of sequences, with Lin's F that
    weighs recall by beta = precision / recall. What divides nothing by nothing is 0.
    """
    rows = []
    for actual, text in written.pairs():
        theirs, ours = actual.split(), text.split()
        numbers = []
        for order in (1, 2):
            said, wanted = set(ngrams(ours, order)), set(ngrams(theirs, order))
            both = len(said & wanted)
            precision, recall = both / max(len(said), 1), both / max(len(wanted), 1)
            # Small numbers against division by 0 are the original's, and reach the eighth digit.
            numbers += [2 * precision * recall / (precision + recall + 1e-8), precision, recall]
        common = _common_subsequence(ours, theirs)
        precision, recall = common / max(len(ours), 1), common / max(len(theirs), 1)
        square = (precision / (recall + 1e-12)) ** 2
        numbers += [(1 + square) * precision * recall / (recall + square * precision + 1e-12), precision, recall]
        rows.append(numbers)
    return 100 * np.array(rows, np.float64).reshape(-1, 9)


def _common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, with the rows of its table as bits of integers (Hyyro 2004)."""
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for token in other:
        met = row & places.get(token, 0)
        row = (row + met) | (row - met)
    return len(one) - (row & full).bit_count()


def _meteor(name: str, written: Written) -> Floats:
    """METEOR by nltk with its weights, in percent; tokens are BLEU's (``13a``), in lower case.

    Raises
    ------
    MissingInputError
        A package or, for ``METEOR``, WordNet is missing.
    """
    wordnet = _wordnet() if name == "METEOR" else _NoSynonyms

    def compute(written: Written) -> Floats:
        score = load("nltk.translate.meteor_score", name).single_meteor_score
        split = tokeniser()
        pairs = ((split(actual), split(text)) for actual, text in written.pairs())
        stemmer = _Stemmer()
        values = [score(actual, text, stemmer=stemmer, wordnet=wordnet) for actual, text in pairs]
        return 100 * np.array(values, np.float64)

    return once(name, written, compute)


def _wordnet() -> Any:
    wordnet = load("nltk.corpus", "METEOR").wordnet
    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise MissingInputError(
            "METEOR needs the data of WordNet, which nltk does not find: python -m nltk.downloader wordnet, "
            "or ask for METEOR-stem, which matches exact words and stems only"
        ) from error
    return wordnet


class _NoSynonyms:
    """A WordNet that knows no word: what is left of METEOR are exact words and stems."""

    @staticmethod
    def synsets(word: str) -> tuple[()]:
        return ()


class _Stemmer:
    """Porter's stemmer, each word stemmed once."""

    def __init__(self) -> None:
        self.stem = cache(load("nltk.stem.porter", "METEOR").PorterStemmer().stem)


ROUGES = {f"ROUGE-{kind[-1]}": partial(_rouge, place) for place, kind in enumerate(_KINDS)}
METEORS = {name: partial(_meteor, name) for name in ("METEOR", "METEOR-stem")}
ORIGINAL_ROUGES = {
    f"P5-ROUGE-{kind}{part}": partial(_original_rouge, 3 * row + column)
    for row, kind in enumerate("12L")
    for column, part in enumerate(("", "-P", "-R"))
}
