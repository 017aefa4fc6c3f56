"""TF-IDF over item text, fitted on training items."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from baselines.simple.tfidf import TfIdf, WordSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ItemText", "RowsOfRequests", "TextSettings", "documents"]


class TextSettings(WordSettings):
    """How item text becomes numbers, beside what holds for any text.

    Attributes
    ----------
    title_weight : int
        How often the title is read; category names are read once.
    use_categories : bool
        Whether category names are read beside titles.
    """

    title_weight: int = Field(1, ge=1)
    use_categories: bool = True


class ItemText:
    """TF-IDF over the text of items.

    Parameters
    ----------
    options : TextSettings
    words : TfIdf
        Fitted.
    """

    def __init__(self, options: TextSettings, words: TfIdf) -> None:
        self.options = options
        self.words = words

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
        missing = (
            f"{model} needs item text, and no training item has a title"
            + (" or a category" if options.use_categories else "")
            + ": supply the item file the dataset's card names, or leave the model out with --models"
        )
        texts = documents(items, options)
        return cls(options, TfIdf.learn(texts, options, model=model, missing=missing, of="item texts"))

    def rows(self, items: pl.DataFrame) -> csr_array:
        """TF-IDF rows, float32, shape (items, vocabulary); an item without a known word has an empty row."""
        return self.words.rows(documents(items, self.options))

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.json`` (n-grams in column order) and ``idf.npy``."""
        self.words.save(folder)

    @classmethod
    def load(cls, folder: Path, options: TextSettings) -> Self:
        """Read what :meth:`save` wrote."""
        return cls(options, TfIdf.load(folder, options))


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
