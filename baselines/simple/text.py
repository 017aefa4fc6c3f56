"""TF-IDF over item text, fitted on training items; imported only where it is used (scikit-learn is slow to import)."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ["ItemText", "documents"]


class ItemText:
    """A TF-IDF vectorizer (scikit-learn's weights, L2-normalised rows) that can be stored without pickle.

    Parameters
    ----------
    ngram_max : int
        Longest word n-gram.
    min_df : int
        Smallest number of training items an n-gram must occur in.
    use_categories : bool
        Whether the words of an item's categories join those of its title.
    vocabulary : dict of str to int, optional
        A vocabulary fitted earlier.
    """

    def __init__(
        self, ngram_max: int, min_df: int, use_categories: bool, vocabulary: dict[str, int] | None = None
    ) -> None:
        self.use_categories = use_categories
        self.vectorizer = TfidfVectorizer(
            ngram_range=(1, ngram_max),
            min_df=min_df,
            dtype=np.float32,
            vocabulary=vocabulary,
            # Single digits and letters tell sequels and product variants apart; the default pattern drops them.
            token_pattern=r"(?u)\b\w+\b",  # noqa: S106 (a pattern, no password)
        )

    def fit(self, items: pl.DataFrame) -> None:
        """Learn the vocabulary and the document frequencies from ``items``; ValueError when no word is left."""
        self.vectorizer.fit(documents(items, self.use_categories))

    def rows(self, items: pl.DataFrame) -> csr_array:
        """TF-IDF rows, float32, shape (items, vocabulary); an item without a known word has an empty row."""
        return csr_array(self.vectorizer.transform(documents(items, self.use_categories)))

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.json`` (n-grams in column order) and ``idf.npy``."""
        words = self.vectorizer.get_feature_names_out().tolist()
        (folder / "vocabulary.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "idf.npy", self.vectorizer.idf_)

    @classmethod
    def load(cls, folder: Path, ngram_max: int, min_df: int, use_categories: bool) -> Self:
        """Read what :meth:`save` wrote."""
        words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        text = cls(ngram_max, min_df, use_categories, {word: column for column, word in enumerate(words)})
        text.vectorizer.idf_ = np.load(folder / "idf.npy", allow_pickle=False)
        return text


def documents(items: pl.DataFrame, use_categories: bool) -> list[str]:
    """One string an item: every text field the dataset has, title first, and, if wanted, its categories.

    The same fields that text models read (years are text too), so that a comparison compares models; empty where an
    item has none of them. HTML entities, which some of the sources keep, are resolved.
    """
    others = sorted(
        name for name, kind in items.schema.items() if kind == pl.String and name not in ("item_id", "title")
    )
    fields = ["title"] * ("title" in items.columns) + others
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in fields]
    if use_categories and "categories" in items.columns:
        joined = pl.col("categories").cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        parts.append(joined.fill_null(""))
    if not parts:
        return [""] * len(items)
    texts = items.select(document=pl.concat_str(parts, separator=" "))["document"]
    return [html.unescape(text) for text in texts]
