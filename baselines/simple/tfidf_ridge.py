"""Ridge regression of stars on the words of a review: the classic answer to "how many stars does this text give?"."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from baselines.simple.tfidf import TfIdf, WordSettings
from bench.errors import MissingInputError
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate
from bench.tasks.explanations import training_reviews

__all__ = ["TfIdfRidge", "TfIdfRidgeSettings"]


class TfIdfRidgeSettings(WordSettings):
    """Settings of :class:`TfIdfRidge`.

    Attributes
    ----------
    alpha : float
        Weight of the squared coefficients (scikit-learn's).
    """

    ngram_max: int = Field(2, ge=1)
    sublinear_tf: bool = True
    alpha: float = Field(0.3, gt=0)


class TfIdfRidge(Recommender):
    r"""Predict the stars of a review from its text, knowing neither the user nor the item.

    With :math:`x` the L2-normalised TF-IDF row of the text, the prediction is :math:`w \cdot x + b`, where :math:`w`
    and :math:`b` minimise :math:`\sum (w \cdot x + b - r)^2 + \alpha |w|^2` over the training reviews that have stars
    and a text (Hoerl and Kennard 1970), kept within the range of the training stars. A text without a known word, an
    empty one say, gives :math:`b`.
    """

    Settings = TfIdfRidgeSettings
    settings: TfIdfRidgeSettings
    capabilities = Capabilities(tasks=frozenset({"preference"}), cold_users="natively", cold_items="natively")
    version = "1"
    side = "classic"
    libraries = ("scikit-learn", "scipy", "numpy")
    preload = ("sklearn.feature_extraction.text", "sklearn.linear_model")

    _words: TfIdf
    _weight: NDArray[np.float64]
    _intercept: float
    _range: tuple[float, float]

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Ridge on TF-IDF"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Learn words and their weights.

        Raises
        ------
        NoTexts
            When the data has no review texts.
        MissingInputError
            When no review has both stars and a text.
        UsageError
            When ``min_df`` leaves no word.
        """
        from sklearn.linear_model import Ridge

        reviews = training_reviews(training).select("rating", "text")
        reviews = reviews.filter(pl.col("rating").is_not_null(), pl.col("text").str.strip_chars() != "")
        missing = "tfidf-ridge needs reviews with stars and a text, and training has none"
        if reviews.is_empty():
            raise MissingInputError(missing)
        texts, stars = reviews["text"].to_list(), reviews["rating"].to_numpy().astype(np.float64)
        self._words = TfIdf.learn(texts, self.settings, model="tfidf-ridge", missing=missing, of="reviews")
        rows = self._words.rows(texts).astype(np.float64)
        # The solver is named, and its tolerance small, so that the answer is that of the equations.
        solved = Ridge(alpha=self.settings.alpha, solver="sparse_cg", tol=1e-8).fit(rows, stars)
        self._weight, self._intercept = solved.coef_, float(solved.intercept_)
        self._range = (float(stars.min()), float(stars.max()))
        learned = len(self._weight) + 1
        return FitReport(parameters_trained=learned, parameters_total=learned)

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Stars of the texts shown."""
        assert requests.given is not None
        rows = self._words.rows(requests.given["body"].to_list())
        return np.clip(rows @ self._weight + self._intercept, *self._range).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the words and ``ridge.npz``."""
        self._words.save(folder)
        np.savez(folder / "ridge.npz", weight=self._weight, intercept=self._intercept, range=self._range)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        model = cls(settings, device=device)
        model._words = TfIdf.load(folder, model.settings)
        with np.load(folder / "ridge.npz", allow_pickle=False) as stored:
            model._weight, model._intercept = stored["weight"], float(stored["intercept"])
            low, high = stored["range"].tolist()
        model._range = (low, high)
        return model
