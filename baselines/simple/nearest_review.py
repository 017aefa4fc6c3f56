"""The nearest review: answer with what someone has already written about nearly the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from baselines.simple.sentences import Sentences
from baselines.simple.tfidf import TfIdf, WordSettings
from bench.data.hashing import digest
from bench.data.triples import RECIPE
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate
from bench.tasks.explanations import NoTexts, training_reviews, training_triples

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["NearestReview", "NearestReviewSettings"]

_ROWS = 64
"""Bodies compared with all training bodies at once: bounds the memory; results do not depend on it."""


class NearestReviewSettings(WordSettings):
    """Settings of :class:`NearestReview`.

    Attributes
    ----------
    user_weight : float
        How much the user's own sentences count in what is looked for, 0 to 1; the item's count the rest.
    """

    sublinear_tf: bool = True
    user_weight: float = Field(0.5, ge=0, le=1)


class NearestReview(Recommender):
    r"""Repeat the headline, or the explaining sentence, of the training review that is most like what is asked for.

    Texts are compared by the cosine of their TF-IDF rows; vocabulary and document frequencies come from the bodies of
    the training reviews.

    **Headlines.** That of the training review (with a headline) whose body is nearest to the body shown; of equally
    near ones the first in training order. Nothing, where no training body shares a word with it.

    **Explanations.** A profile is the normalised sum of the rows of explaining sentences, :math:`p_u` of those of the
    user, :math:`p_i` of those about the item. Looked for is the sentence nearest to :math:`w p_u + (1 - w) p_i`, with
    *w* the ``user_weight`` (who has no sentence has no part in it), among the first of these that holds any:

    1. where a feature is given: sentences of the item about the feature, then of all items about it;
    2. sentences of the item, then of the user.

    Where stars are given, only sentences of reviews with the nearest stars are looked at. Of equally near sentences the
    first in training order is written; where neither has a profile, the one nearest to the sum of all that are looked
    at. Nothing, where neither the user nor the item has a sentence and no feature known from training is given.
    """

    Settings = NearestReviewSettings
    settings: NearestReviewSettings
    capabilities = Capabilities(
        tasks=frozenset({"explanation", "feature-explanation", "rated-explanation", "headline"}),
        cold_users="the item's sentences",
        cold_items="the user's sentences",
    )
    version = "1"
    side = "classic"
    libraries = ("scikit-learn", "scipy", "numpy", "polars", "vaderSentiment", "yake")
    preload = ("sklearn.feature_extraction.text", "scipy.sparse")

    _words: TfIdf
    _headlines: pl.Series
    _bodies: csr_array
    _sentences: Sentences

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Nearest review"

    @classmethod
    def identity(cls, settings: Settings) -> dict[str, str]:
        """How explaining sentences are found."""
        return {"triples": digest(RECIPE)}

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Weigh words and keep texts.

        Raises
        ------
        NoTexts
            When the data has no review texts.
        UsageError
            When ``min_df`` leaves no word.
        """
        reviews = training_reviews(training)
        triples = training_triples(training)
        bodies = reviews["text"].fill_null("").to_list()
        missing = str(NoTexts("no training review has a text"))
        self._words = TfIdf.learn(bodies, self.settings, model="nearest-review", missing=missing, of="reviews")
        headed = reviews.select(pl.col("headline").str.strip_chars(), pl.col("text").str.strip_chars())
        headed = headed.filter(pl.col("headline") != "", pl.col("text") != "")
        self._headlines, self._bodies = headed["headline"], self._words.rows(headed["text"].to_list())
        found = reviews.select("user", "item", "rating")[triples["row"].to_numpy()]
        found = found.with_columns(triples["feature"], triples["sentence"])
        self._sentences = Sentences(found, self._words.rows(found["sentence"].to_list()))
        return FitReport(parameters_trained=self._words.words, parameters_total=self._words.words)

    def write(self, requests: Requests) -> pl.Series:
        """What is nearest; null where nothing is near."""
        if requests.task == "headline":
            assert requests.given is not None
            if self._headlines.is_empty():
                return _nothing(len(requests))
            found = self._nearest_bodies(requests.given["body"].to_list())
            return self._headlines[np.maximum(found, 0)].zip_with(pl.Series(found >= 0), _nothing(len(found)))
        assert requests.item is not None
        texts = self._sentences.nearest(
            requests.user, requests.item, requests.given, user_weight=self.settings.user_weight
        )
        return pl.Series(texts, dtype=pl.String)

    def _nearest_bodies(self, bodies: list[str]) -> NDArray[np.int64]:
        """Position of the nearest training body, -1 where none shares a word."""
        asked = self._words.rows(bodies)
        found = np.full(len(bodies), -1, np.int64)
        for start in range(0, len(bodies), _ROWS):
            likeness = (asked[start : start + _ROWS] @ self._bodies.T).toarray()
            best = likeness.argmax(axis=1)
            near = likeness[np.arange(len(best)), best] > 0
            found[start : start + _ROWS] = np.where(near, best, -1)
        return found

    def save(self, folder: Path) -> None:
        """Write words, headlines with the rows of their bodies, and sentences with theirs."""
        from scipy.sparse import save_npz

        self._words.save(folder)
        self._headlines.to_frame().write_parquet(folder / "headlines.parquet")
        save_npz(folder / "bodies.npz", self._bodies)
        self._sentences.save(folder)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        from scipy.sparse import load_npz

        model = cls(settings, device=device)
        model._words = TfIdf.load(folder, model.settings)
        model._headlines = pl.read_parquet(folder / "headlines.parquet")["headline"]
        model._bodies = load_npz(folder / "bodies.npz")
        model._sentences = Sentences.load(folder)
        return model


def _nothing(rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=pl.String, eager=True)
