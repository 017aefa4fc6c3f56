"""The lexical channel: TF-IDF rows of texts, words and weights from training texts alone. Imports scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from bench.errors import MissingInputError
from bench.models import Ragged

__all__ = ["Words", "blend", "drop_words"]


class Words:
    """Turns texts into TF-IDF rows of length 1 (sublinear counts), or empty where no word is known.

    Parameters
    ----------
    ngram_max : int
        Longest word n-gram.
    terms : list of str, optional
        Columns, of a vocabulary learned earlier.
    weight : ndarray of float64, shape (terms,), optional
        Their inverse document frequencies.
    """

    def __init__(
        self, ngram_max: int, terms: list[str] | None = None, weight: NDArray[np.float64] | None = None
    ) -> None:
        self._vectorizer = TfidfVectorizer(
            ngram_range=(1, ngram_max),
            sublinear_tf=True,
            dtype=np.float32,
            vocabulary=terms,
            token_pattern=r"(?u)\b\w+\b",  # noqa: S106 (a pattern; single digits tell sequels and sizes apart)
        )
        if weight is not None:
            self._vectorizer.idf_ = weight

    @classmethod
    def learn(cls, texts: Sequence[str], ngram_max: int) -> Self:
        """Take words and weights from ``texts``.

        Raises
        ------
        MissingInputError
            Where they hold no word.
        """
        learned = cls(ngram_max)
        try:
            learned._vectorizer.fit([text for text in texts if text])
        except ValueError as error:
            raise MissingInputError(
                f"the lexical channel finds no word in the texts of {len(texts):,} training items: set lexical to false"
            ) from error
        return learned

    def __len__(self) -> int:
        return len(self._vectorizer.vocabulary_)

    def rows(self, texts: Sequence[str]) -> csr_array:
        """Rows of texts, float32, shape (texts, words)."""
        if not texts:
            return csr_array((0, len(self)), dtype=np.float32)
        return csr_array(self._vectorizer.transform(texts))

    def save(self, folder: Path) -> None:
        """Write ``words.json`` (n-grams in column order) and ``idf.npy``."""
        terms = self._vectorizer.get_feature_names_out().tolist()
        (folder / "words.json").write_text(json.dumps(terms, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "idf.npy", self._vectorizer.idf_)

    @classmethod
    def load(cls, folder: Path, ngram_max: int) -> Self:
        """Read what :meth:`save` wrote."""
        terms = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        return cls(ngram_max, terms, np.load(folder / "idf.npy", allow_pickle=False))


def blend(rows: csr_array, histories: Ragged, weight: NDArray[np.float32]) -> csr_array:
    """Weighted means of rows, scaled to length 1 (or empty), float32, shape (len(histories), words).

    Parameters
    ----------
    histories : Ragged
        Positions in ``rows``.
    weight : ndarray of float32, shape (len(histories.values),)
    """
    chooser = csr_array((weight, histories.values, histories.offsets), shape=(len(histories), rows.shape[0]))
    mean = csr_array(chooser @ rows)
    length = np.sqrt(np.asarray(mean.multiply(mean).sum(axis=1))).astype(np.float32)
    mean.data /= np.repeat(length, np.diff(mean.indptr))
    return mean


def drop_words(rows: csr_array, share: float, rng: np.random.Generator) -> csr_array:
    """Leave out a share of the entries, and raise the others to make up for it."""
    if not share:
        return rows
    kept = (rng.random(len(rows.data), dtype=np.float32) >= share).astype(np.float32) / np.float32(1 - share)
    return csr_array((rows.data * kept, rows.indices, rows.indptr), shape=rows.shape)
