"""TF-IDF over any texts; scikit-learn is slow to import, so that waits until it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from bench.errors import MissingInputError, UsageError
from bench.models import Settings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["TfIdf", "WordSettings"]


class WordSettings(Settings):
    """How words become numbers.

    Attributes
    ----------
    ngram_max : int
        Longest word n-gram.
    min_df : int
        Smallest number of training texts an n-gram must occur in.
    sublinear_tf : bool
        Whether a word that occurs *n* times counts 1 + ln n times.
    """

    ngram_max: int = Field(1, ge=1)
    min_df: int = Field(1, ge=1)
    sublinear_tf: bool = False


class TfIdf:
    """A TF-IDF vectorizer (scikit-learn's weights, L2-normalised rows) that can be stored without pickle.

    Parameters
    ----------
    options : WordSettings
    vocabulary : dict of str to int, optional
        A vocabulary fitted earlier.
    """

    def __init__(self, options: WordSettings, vocabulary: dict[str, int] | None = None) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer = TfidfVectorizer(
            ngram_range=(1, options.ngram_max),
            min_df=options.min_df,
            sublinear_tf=options.sublinear_tf,
            dtype=np.float32,
            vocabulary=vocabulary,
            # Single digits and letters tell sequels and product variants apart; the default pattern drops them.
            token_pattern=r"(?u)\b\w+\b",  # noqa: S106 (a pattern, no password)
        )

    @classmethod
    def learn(cls, texts: Sequence[str], options: WordSettings, *, model: str, missing: str, of: str) -> Self:
        """Take the vocabulary and the document frequencies from ``texts``.

        Parameters
        ----------
        model, of : str
            What learns, and what the texts are: named in errors.
        missing : str
            What to say where there is no text.

        Raises
        ------
        MissingInputError
            When no text has a letter or a digit.
        UsageError
            When ``min_df`` leaves no word.
        """
        if not any(re.search(r"\w", text) for text in texts):
            raise MissingInputError(missing)
        learned = cls(options)
        try:
            learned.vectorizer.fit(texts)
        except ValueError as error:
            raise UsageError(f"{model}: no word of the {of} is left with min_df={options.min_df}") from error
        return learned

    def rows(self, texts: Sequence[str]) -> csr_array:
        """TF-IDF rows, float32, shape (texts, vocabulary); a text without a known word has an empty row."""
        from scipy.sparse import csr_array

        if not texts:  # scikit-learn refuses none
            return csr_array((0, self.words), dtype=np.float32)
        return csr_array(self.vectorizer.transform(texts))

    @property
    def words(self) -> int:
        """How many columns the rows have."""
        return len(self.vectorizer.vocabulary_)

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.json`` (n-grams in column order) and ``idf.npy``."""
        words = self.vectorizer.get_feature_names_out().tolist()
        (folder / "vocabulary.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "idf.npy", self.vectorizer.idf_)

    @classmethod
    def load(cls, folder: Path, options: WordSettings) -> Self:
        """Read what :meth:`save` wrote."""
        words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        text = cls(options, {word: column for column, word in enumerate(words)})
        text.vectorizer.idf_ = np.load(folder / "idf.npy", allow_pickle=False)
        return text
