"""TF-IDF over item text, fitted on training items; scikit-learn is slow to import, so that waits until it is used."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import MissingInputError, UsageError
from bench.models import Settings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ItemText", "RowsOfRequests", "TextSettings", "documents"]


class TextSettings(Settings):
    """How item text becomes numbers.

    Attributes
    ----------
    ngram_max : int
        Longest word n-gram.
    min_df : int
        Smallest number of training items an n-gram must occur in.
    sublinear_tf : bool
        Whether a word that occurs *n* times counts 1 + ln n times.
    title_weight : int
        How often the title is read; category names are read once.
    use_categories : bool
        Whether category names are read beside titles.
    """

    ngram_max: int = Field(1, ge=1)
    min_df: int = Field(1, ge=1)
    sublinear_tf: bool = False
    title_weight: int = Field(1, ge=1)
    use_categories: bool = True


class ItemText:
    """A TF-IDF vectorizer (scikit-learn's weights, L2-normalised rows) that can be stored without pickle.

    Parameters
    ----------
    options : TextSettings
    vocabulary : dict of str to int, optional
        A vocabulary fitted earlier.
    """

    def __init__(self, options: TextSettings, vocabulary: dict[str, int] | None = None) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.options = options
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
    def learn(cls, items: pl.DataFrame, options: TextSettings, *, model: str) -> Self:
        """Take the vocabulary and the document frequencies from ``items``.

        Raises
        ------
        MissingInputError
            When the items have no text; names ``model``.
        UsageError
            When ``min_df`` leaves no word.
        """
        texts = documents(items, options)
        if not any(text.strip() for text in texts):
            raise MissingInputError(
                f"{model} needs item text, and no training item has a title"
                + (" or a category" if options.use_categories else "")
                + ": supply the item file the dataset's card names, or leave the model out with --models"
            )
        learned = cls(options)
        try:
            learned.vectorizer.fit(texts)
        except ValueError as error:
            raise UsageError(f"{model}: no word of the item texts is left with min_df={options.min_df}") from error
        return learned

    def rows(self, items: pl.DataFrame) -> csr_array:
        """TF-IDF rows, float32, shape (items, vocabulary); an item without a known word has an empty row."""
        from scipy.sparse import csr_array

        return csr_array(self.vectorizer.transform(documents(items, self.options)))

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.json`` (n-grams in column order) and ``idf.npy``."""
        words = self.vectorizer.get_feature_names_out().tolist()
        (folder / "vocabulary.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "idf.npy", self.vectorizer.idf_)

    @classmethod
    def load(cls, folder: Path, options: TextSettings) -> Self:
        """Read what :meth:`save` wrote."""
        words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        text = cls(options, {word: column for column, word in enumerate(words)})
        text.vectorizer.idf_ = np.load(folder / "idf.npy", allow_pickle=False)
        return text


class RowsOfRequests:
    """The TF-IDF rows of a request set's items, kept while blocks of the same set are asked for."""

    def __init__(self, text: ItemText) -> None:
        self._text = text
        self._kept: tuple[pl.DataFrame, NDArray[np.int32], csr_array] | None = None

    def __call__(self, text: pl.DataFrame) -> tuple[NDArray[np.int32], csr_array]:
        """Codes, strictly increasing, and their rows in the same order."""
        if self._kept is None or self._kept[0] is not text:
            ordered = text.sort("item")
            self._kept = (text, ordered["item"].to_numpy(), self._text.rows(ordered))
        return self._kept[1:]


def documents(items: pl.DataFrame, options: TextSettings) -> list[str]:
    """One string an item: every text field the dataset has, title first, and, if wanted, its categories.

    The same fields that text models read (years are text too), so that a comparison compares models; empty where an
    item has none of them. HTML entities, which some of the sources keep, are resolved.
    """
    others = sorted(
        name for name, kind in items.schema.items() if kind == pl.String and name not in ("item_id", "title")
    )
    fields = ["title"] * (options.title_weight if "title" in items.columns else 0) + others
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in fields]
    if options.use_categories and "categories" in items.columns:
        joined = pl.col("categories").cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        parts.append(joined.fill_null(""))
    if not parts:
        return [""] * len(items)
    texts = items.select(document=pl.concat_str(parts, separator=" "))["document"]
    return [html.unescape(text) for text in texts]
