"""Category popularity: the floor for items that nobody has touched yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.errors import MissingInputError
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate

__all__ = ["CategoryPopularity"]


class CategoryPopularity(Recommender):
    r"""Score an item by how popular the training items of its categories are, the same for every user.

    With :math:`n_j` the training interactions of item *j* and :math:`T_c` the training items that carry category *c*,

    .. math:: p_c = \frac{1}{|T_c|} \sum_{j \in T_c} n_j, \qquad s_i = \frac{1}{|C_i|} \sum_{c \in C_i} p_c ,

    where :math:`C_i` are the categories of *i* that occur in training. The mean over items (not the sum) keeps a
    category from being popular for being large. An item's own count enters only through its categories, so warm and
    cold items stand on the same footing. Items without a known category are NaN.
    """

    capabilities = Capabilities(cold_users="natively", cold_items="natively")
    version = "1"
    side = "floor"
    libraries = ("numpy", "polars")

    _popularity: dict[str, float]
    """Mean training interactions per training item of each category."""

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Category popularity"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Average the counts of the training items by category.

        Raises
        ------
        MissingInputError
            When no training item has a category.
        """
        item, count = np.unique(training.sequences.values, return_counts=True)
        pairs = _categories(training.items)
        if pairs.is_empty():
            raise MissingInputError(
                "category-popularity needs item categories, and no training item has one: choose a dataset whose items "
                "carry categories (its card names the item file to supply), or leave the model out with --models"
            )
        counts = pl.DataFrame({"item": item, "count": count.astype(np.float64)}, schema_overrides={"item": pl.Int32})
        by_category = pairs.join(counts, on="item").group_by("category").agg(pl.col("count").mean()).sort("category")
        self._popularity = dict(by_category.iter_rows())
        return FitReport(parameters_trained=len(self._popularity), parameters_total=len(self._popularity))

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Mean popularity of each candidate's known categories, one identical row a request."""
        known = pl.DataFrame(
            {"category": list(self._popularity), "popularity": list(self._popularity.values())},
            schema={"category": pl.String, "popularity": pl.Float64},
        )
        means = (
            _categories(requests.catalogue.text)
            .join(known, on="category", maintain_order="left")
            .group_by("item", maintain_order=True)
            .agg(pl.col("popularity").mean())
        )
        column = np.searchsorted(requests.catalogue.items, means["item"].to_numpy())
        row = np.full(len(requests.catalogue.items), np.nan, np.float32)
        row[column] = means["popularity"].to_numpy()
        return np.tile(row, (len(requests), 1))

    def save(self, folder: Path) -> None:
        """Write ``categories.json``."""
        (folder / "categories.json").write_text(json.dumps(self._popularity), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``categories.json``."""
        model = cls(settings, device=device)
        model._popularity = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
        return model


def _categories(items: pl.DataFrame) -> pl.DataFrame:
    """Long form: one row per distinct (``item``, ``category``), in a fixed order."""
    if "categories" not in items.columns:
        return pl.DataFrame(schema={"item": pl.Int32, "category": pl.String})
    return (
        items.select("item", category=pl.col("categories").cast(pl.List(pl.String)))
        .explode("category")
        .drop_nulls()
        .unique(maintain_order=True)
    )
