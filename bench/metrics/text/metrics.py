"""Text metrics by name.

Every row counts: an unanswered request is an empty text. Names that begin with ``P5-`` are the original's own
variants, for reproduction. Which scale, tokens and smoothing each has stands with its function; in short:

=====================  =============================================================================================
BLEU-1, -2, -4         sacrebleu's corpus BLEU with its defaults (13a tokens, smoothing exp), in percent; linearised
ROUGE-1, -2, -L        rouge-score, F1, no stemmer, mean over rows, in percent
METEOR, METEOR-stem    nltk with and without WordNet's synonyms, 13a tokens, mean over rows, in percent
DISTINCT-1, -2         distinct n-grams among all n-grams of all texts, 13a tokens, 0 to 1; descriptive
USR                    distinct texts among all rows, 0 to 1; descriptive
FMR                    texts that name the feature that the user's text is about, 0 to 1
FCR                    features of the requests that any text names, 0 to 1; descriptive
DIV                    features that two texts share, mean over pairs, lower is better; linearised
=====================  =============================================================================================

Linearised means: no mean over rows by itself, but given by values whose mean it is and whose spread is its own.
Numbers of *kinds* (distinct n-grams, texts, features) cannot be: how many there are depends on how many rows there
are, and rows drawn again bring no new ones. They are descriptive.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.metrics.text.bleu import BLEUS, ORIGINAL_BLEUS
from bench.metrics.text.features import FEATURE_METRICS, Mentions
from bench.metrics.text.overlap import METEORS, ORIGINAL_ROUGES, ROUGES
from bench.metrics.text.variety import VARIETIES
from bench.metrics.text.written import Written, has_features

__all__ = ["TEXT_LIBRARIES", "TEXT_METRICS", "TextMetric"]

Floats = NDArray[np.float64]

ORIGINAL = "P5-"

TEXT_LIBRARIES = ("nltk", "rouge-score", "sacrebleu")
"""Distributions that compute text metrics; their versions belong to what is chosen or reported by one."""

EXPLANATIONS = ("explanation", "feature-explanation", "rated-explanation")
WRITING = (*EXPLANATIONS, "headline")


@dataclass(frozen=True)
class TextMetric:
    """A metric of written texts.

    Attributes
    ----------
    name : str
        ``"BLEU-4"``, ``"P5-ROUGE-L"``, say.
    tasks : tuple of str
        What it measures.
    higher_is_better : bool
    descriptive : bool
        A number of all texts together whose uncertainty rows do not tell: tables show it without an interval, and
        nothing is tested by it.
    k : int
        No list is looked at.
    """

    name: str
    tasks: tuple[str, ...] = WRITING
    higher_is_better: bool = True
    descriptive: bool = False
    k: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def _of_features(self) -> Callable[[Mentions], Floats] | None:
        return FEATURE_METRICS.get(self.name.removeprefix(ORIGINAL))

    def defined(self, measurements: pl.DataFrame) -> bool:
        """Whether the metric exists for these requests: some need features, and diversity needs two texts."""
        rows = measurements.height >= (2 if self.name.endswith("DIV") else 1)
        return rows and (self._of_features is None or has_features(measurements))

    def values(self, measurements: pl.DataFrame, *, expected: bool = False) -> Floats:
        """Value of each request of a stored prediction; ``expected`` changes nothing here."""
        return self.per_request(Written.of(measurements))

    def per_request(self, written: Written, *, vocabulary: Collection[str] | None = None) -> Floats:
        """Values whose mean is the metric.

        Parameters
        ----------
        vocabulary : collection of str or None
            The features that FCR and DIV know; ``None``: those of the requests.

        Returns
        -------
        ndarray of float64, shape (requests,)
            All the same where the metric is descriptive.

        Raises
        ------
        DataError
            A metric of features, and the requests have none.
        MissingInputError
            A package, or the data of WordNet, is not there.
        """
        of_features = self._of_features
        if of_features is not None:
            return of_features(Mentions.find(written, vocabulary, original=self.name.startswith(ORIGINAL)))
        return _OF_TEXTS[self.name](written)


_OF_TEXTS = {**BLEUS, **ROUGES, **METEORS, **VARIETIES, **ORIGINAL_BLEUS, **ORIGINAL_ROUGES}


def _metric(name: str) -> TextMetric:
    kind = name.removeprefix(ORIGINAL)
    descriptive = name in VARIETIES or kind == "FCR"
    tasks = EXPLANATIONS if kind in FEATURE_METRICS else WRITING
    return TextMetric(name, tasks, higher_is_better=kind != "DIV", descriptive=descriptive)


TEXT_METRICS = tuple(
    _metric(name) for name in (*_OF_TEXTS, *FEATURE_METRICS, *(ORIGINAL + name for name in FEATURE_METRICS))
)
