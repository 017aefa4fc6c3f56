"""The most frequent sentence: what a text scores that knows neither the user nor the item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import polars as pl

from bench.data.hashing import digest
from bench.data.triples import RECIPE
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate
from bench.tasks.explanations import NoTexts, training_reviews, training_triples

__all__ = ["FrequentSentence"]


class FrequentSentence(Recommender):
    """Write what training reviews say most often, whoever asks about whatever.

    A headline is the most frequent training headline. An explanation is the most frequent explaining sentence: among
    those about the feature, where one is given and training knows it, else among all. Stars that are given are not
    looked at. Texts count as they are spelt; of equally frequent ones the shortest is written, of equally long ones the
    first in the order of their letters' codes.
    """

    capabilities = Capabilities(
        tasks=frozenset({"explanation", "feature-explanation", "rated-explanation", "headline"}),
        cold_users="the same text",
        cold_items="the same text",
    )
    version = "1"
    side = "floor"
    libraries = ("polars", "vaderSentiment", "yake")

    _headline: str | None
    _sentence: str | None
    _of_feature: dict[str, str]

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Most frequent sentence"

    @classmethod
    def identity(cls, settings: Settings) -> dict[str, str]:
        """How explaining sentences are found."""
        return {"triples": digest(RECIPE)}

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Count texts.

        Raises
        ------
        NoTexts
            When the data has no review texts.
        """
        headlines = training_reviews(training).select(text=pl.col("headline").str.strip_chars())
        self._headline = next(iter(_most_frequent(headlines.filter(pl.col("text") != ""))["text"]), None)
        try:
            triples = training_triples(training).select("feature", text="sentence")
        except NoTexts:  # headlines alone
            triples = pl.DataFrame(schema={"feature": pl.String, "text": pl.String})
        self._sentence = next(iter(_most_frequent(triples.select("text"))["text"]), None)
        best = _most_frequent(triples, "feature").unique("feature", keep="first", maintain_order=True).sort("feature")
        self._of_feature = dict(best.select("feature", "text").iter_rows())
        kept = len(self._of_feature) + sum(text is not None for text in (self._headline, self._sentence))
        return FitReport(parameters_trained=kept, parameters_total=kept)

    def write(self, requests: Requests) -> pl.Series:
        """The same for everyone, or for every feature; null where training has no such text."""
        if requests.task == "headline":
            return pl.repeat(self._headline, len(requests), dtype=pl.String, eager=True)
        if requests.given is None or "feature" not in requests.given.columns:
            return pl.repeat(self._sentence, len(requests), dtype=pl.String, eager=True)
        texts = [self._of_feature.get(feature, self._sentence) for feature in requests.given["feature"]]
        return pl.Series(texts, dtype=pl.String)

    def save(self, folder: Path) -> None:
        """Write ``texts.json``."""
        kept = {"headline": self._headline, "sentence": self._sentence, "of_feature": self._of_feature}
        (folder / "texts.json").write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``texts.json``."""
        model = cls(settings, device=device)
        kept = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
        model._headline, model._sentence, model._of_feature = kept["headline"], kept["sentence"], kept["of_feature"]
        return model


def _most_frequent(texts: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Distinct rows, the most frequent ``text`` first."""
    return (
        texts.group_by(*by, "text")
        .len()
        .sort(pl.col("len"), pl.col("text").str.len_chars(), pl.col("text"), descending=[True, False, False])
    )
