"""Requests about a held-out review: its explaining sentence, its headline, its stars."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.triples import RECIPE
from bench.splits.split import HeldOutPairs, Split
from bench.tasks.explanations import Explainer, NoTexts, training_reviews
from bench.tasks.pairs import NothingToAsk, about_items, labelled
from bench.tasks.requests import Labels, RequestSet, TaskName, Texts

__all__ = ["ReviewSets"]

_WANTED = {"headline": "a headline", "preference": "a text"}


class ReviewSets:
    """Makes the request sets of the tasks about a review; texts are read once, and only if a task wants them.

    What cannot be scored is not asked, and the notes of a set count it: reviews without an explaining sentence, or
    without a headline. An empty body is shown as it is, and counted; so are bodies that the user posted before.

    Parameters
    ----------
    split : Split
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._read: dict[tuple[str, str], pl.DataFrame] = {}

    def sets(self, task: TaskName) -> list[RequestSet]:
        """Make the sets of one task.

        Raises
        ------
        NothingToAsk
            When the data has no stars or no review texts, or no held-out review has what the task asks for.
        MissingInputError
            When what finds explaining sentences is not installed.
        """
        held_out = labelled(self._split, task, of="rating")
        if any(held.pairs.reviews is None for held in held_out):
            raise NothingToAsk.of(self._split, task, str(NoTexts()))
        found = [self._set(held, task) for held in held_out]
        if not any(len(asked) for asked in found if asked.part == "test"):
            wanted = _WANTED.get(task, "a sentence in which a feature meets an opinion")
            raise NothingToAsk.of(self._split, task, f"no review held out for the test has {wanted}")
        return [asked for asked in found if len(asked)]

    def _set(self, held: HeldOutPairs, task: TaskName) -> RequestSet:
        if task == "headline":
            return self._headline(held)
        return self._preference(held) if task == "preference" else self._explanation(held, task)

    def _explanation(self, held: HeldOutPairs, task: TaskName) -> RequestSet:
        assert held.pairs.reviews is not None, "checked before"
        explainer = self._explainer(task)
        triples = explainer.triples(held.pairs.reviews)
        rows = triples["row"].to_numpy()
        shown = triples.select("feature", pl.Series("rating", held.pairs.label[rows]))
        without = _share(len(held.pairs) - len(rows), len(held.pairs))
        unasked = (
            f"{without} held-out reviews have no sentence in which a feature meets an opinion (recipe "
            f"{RECIPE['name']} {RECIPE['version']}, learned from training reviews alone): not asked about."
        )
        return about_items(
            self._split,
            held,
            task,
            Texts(triples["sentence"].rename("text"), triples["feature"]),
            rows=rows,
            given={"feature-explanation": shown.select("feature"), "rated-explanation": shown}.get(task),
            notes=(unasked, *self._posted_before(held, rows)),
            made_by=[explainer.digest],
        )

    def _headline(self, held: HeldOutPairs) -> RequestSet:
        texts = self._texts(held)
        rows = np.flatnonzero((texts["headline"] != "").to_numpy())
        without = len(texts) - len(rows)
        unasked = (f"{_share(without, len(texts))} held-out reviews have no headline: not asked about.",)
        return about_items(
            self._split,
            held,
            "headline",
            Texts(texts["headline"][rows].rename("text")),
            rows=rows,
            given=texts.select("body")[rows],
            notes=(*(unasked if without else ()), *_empty(texts[rows]), *self._posted_before(held, rows)),
        )

    def _preference(self, held: HeldOutPairs) -> RequestSet:
        texts = self._texts(held)
        rows = np.arange(len(texts) if (texts["body"] != "").any() else 0)
        return about_items(
            self._split,
            held,
            "preference",
            Labels(held.pairs.label[rows]),
            rows=rows,
            given=texts.select("body")[rows],
            notes=(*_empty(texts[rows]), *self._posted_before(held, rows)),
        )

    def _explainer(self, task: TaskName) -> Explainer:
        try:
            return self._learned
        except NoTexts as error:
            raise NothingToAsk.of(self._split, task, str(error)) from error

    @cached_property
    def _learned(self) -> Explainer:
        return Explainer.learn(self._split.training)

    def _texts(self, held: HeldOutPairs) -> pl.DataFrame:
        """Headline and body of each review, empty where there is none."""
        key = (held.part, held.quadrant)
        if key not in self._read:
            assert held.pairs.reviews is not None, "checked before"
            self._read[key] = held.pairs.reviews.frame().select(
                pl.col("headline").fill_null("").str.strip_chars(),
                pl.col("text").fill_null("").str.strip_chars().alias("body"),
            )
        return self._read[key]

    @cached_property
    def _posted(self) -> pl.DataFrame:
        """Who wrote what, in training."""
        return training_reviews(self._split.training).select(
            "user", pl.col("text").fill_null("").str.strip_chars().alias("body")
        )

    def _posted_before(self, held: HeldOutPairs, rows: NDArray[np.integer]) -> tuple[str, ...]:
        """A warning where the user had posted the very same text: copying it answers the request."""
        asked = self._texts(held)[rows].with_columns(user=held.pairs.user[rows]).filter(pl.col("body") != "")
        again = len(asked.join(self._posted, on=["user", "body"], how="semi"))
        if not again:
            return ()
        return (
            f"{_share(again, len(rows))} reviews asked about repeat, word for word, one that the same user had posted "
            "and that models learn from.",
        )


def _empty(texts: pl.DataFrame) -> tuple[str, ...]:
    empty = int((texts["body"] == "").sum())
    return (f"{_share(empty, len(texts))} reviews asked about have an empty text.",) if empty else ()


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / max(whole, 1):.1%})"
