"""Training prompts about one item, its stars and its review: the families rating, explanation and review."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.models import Training
from bench.tasks.explanations import training_reviews
from llm_models.p5.families import STAR, Family, Prompt, like_text, star_text
from llm_models.p5.world import World, tidy
from llm_models.p5.writer import Writer
from llm_models.prompts import Template

__all__ = ["Events", "Explanations", "Ratings", "Reviews", "of_pairs"]

#: What is said of a review without a headline, where every template shows one.
NO_HEADLINE = "no headline"


@dataclass(frozen=True, eq=False)
class Events:
    """Training events with stars, a review, or both.

    Attributes
    ----------
    user, item : ndarray of int32, shape (events,)
        Positions; -1 where the index lacks it.
    star : ndarray of float32, shape (events,)
        NaN where there are none.
    text : polars.DataFrame
        One row an event: ``headline`` and ``text``, null where there is none; no column where the data has no reviews.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    star: NDArray[np.float32]
    text: pl.DataFrame

    @classmethod
    def rated(cls, training: Training, world: World) -> Self:
        """The rows with stars: the protocol's pairs where it has such, else the events themselves."""
        if of_pairs(training):
            user, item, star = training.pairs.user, training.pairs.item, training.pairs.label
        else:
            user, item = training.user[training.sequences.row_of], training.sequences.values
            star = training.rating if training.rating is not None else np.empty(0, np.float32)
        known = np.flatnonzero(np.isfinite(star))
        return cls._of(world, user[known], item[known], star[known], pl.DataFrame())

    @classmethod
    def reviewed(cls, training: Training, world: World) -> Self:
        """The rows with texts, as :func:`bench.tasks.explanations.training_reviews` numbers them."""
        frame = training_reviews(training)
        user, item = frame["user"].to_numpy(), frame["item"].to_numpy()
        star = frame["rating"].cast(pl.Float32).fill_null(np.nan).to_numpy()
        return cls._of(world, user, item, star, frame.select("headline", "text"))

    @classmethod
    def _of(cls, world: World, user: NDArray, item: NDArray, star: NDArray, text: pl.DataFrame) -> Self:
        at = world.users.rows(user).astype(np.int32), world.items.rows(item).astype(np.int32)
        return cls(*at, star.astype(np.float32), text)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where user and item have an id, shape (events,)."""
        return (self.user >= 0) & (self.item >= 0)


def of_pairs(training: Training) -> bool:
    """Whether the protocol gives ratings to learn from beside the events."""
    return training.pairs is not None and training.pairs.kind == "rating"


class Ratings(Family):
    """Asks for stars, for yes or no (the true stars, or others, as often), and for like or dislike."""

    def __init__(self, writer: Writer, templates: Iterable[Template], events: Events) -> None:
        self.events = events
        self.place = np.flatnonzero(events.known).astype(np.int32)
        self.levels, self.level = np.unique(events.star, return_inverse=True)
        super().__init__(writer, templates)

    def size(self, per: str) -> int:
        """Events with stars."""
        return len(self.place)

    def draw(self, generator: np.random.Generator, templates: Sequence[Template]) -> list[Prompt]:
        """See :class:`Family`."""
        number, writer = len(templates), self.writer
        rows = self.place[generator.integers(len(self.place), size=number)]
        level = self.level[rows]
        others = len(self.levels) - 1
        wrong = (level + 1 + generator.integers(max(others, 1), size=number)) % len(self.levels)
        true = (generator.random(number) < 0.5) | (others == 0)
        shown = np.where(true, level, wrong).tolist()
        text = [star_text(stars) for stars in self.levels.tolist()]
        like = [like_text(stars) for stars in self.levels.tolist()]
        users, items, draws = self.events.user[rows].tolist(), self.events.item[rows].tolist(), generator.random(number)
        prompts = []
        for template, user, item, own, other, yes, u in zip(
            templates, users, items, level.tolist(), shown, true.tolist(), draws.tolist(), strict=True
        ):
            template = self.suited(template, item, u)
            answer = writer.target(template, star=text[own], yes_no="yes" if yes else "no", like=like[own])
            prompts.append((writer.fill(template, user=user, item=item, star=text[other]), [writer.sequence(answer)]))
        return prompts


class Explanations(Family):
    """Asks for the sentence of a review that speaks of a feature; one without stars only in prompts without stars."""

    def __init__(self, writer: Writer, templates: Iterable[Template], events: Events, triples: pl.DataFrame) -> None:
        self.events = events
        self.triples = triples.filter(pl.Series(events.known)[triples["row"]])
        self.starred = np.flatnonzero(np.isfinite(events.star[self.triples["row"].to_numpy()]))
        super().__init__(writer, templates)

    def serves(self, template: Template) -> bool:
        """Whether there is such a sentence, and stars beside it where the template speaks of them."""
        return len(self.starred if _with_stars(template) else self.triples) > 0

    def size(self, per: str) -> int:
        """Events with such a sentence."""
        return len(self.triples)

    def draw(self, generator: np.random.Generator, templates: Sequence[Template]) -> list[Prompt]:
        """See :class:`Family`."""
        writer, events = self.writer, self.events
        place = generator.integers(len(self.triples), size=len(templates))
        if 0 < len(self.starred) < len(self.triples):
            rated = np.array([_with_stars(template) for template in templates])
            place[rated] = self.starred[generator.integers(len(self.starred), size=int(rated.sum()))]
        drawn = self.triples[place]
        rows = drawn["row"].to_numpy()
        prompts = []
        for template, user, item, star, headline, feature, sentence, u in zip(
            templates,
            events.user[rows].tolist(),
            events.item[rows].tolist(),
            events.star[rows].tolist(),
            map(tidy, events.text["headline"][rows]),
            drawn["feature"],
            drawn["sentence"],
            generator.random(len(templates)).tolist(),
            strict=True,
        ):
            stars = star_text(star) if math.isfinite(star) else ""
            template = self.suited(template, item, u, headline, starred=bool(stars))
            text = writer.fill(
                template, user=user, item=item, star=stars, feature=feature, headline=headline or NO_HEADLINE
            )
            answer = writer.target(template, star=stars, explanation=sentence)
            prompts.append((text, [writer.sequence(answer)]))
        return prompts


def _with_stars(template: Template) -> bool:
    return STAR in template.fields | template.target_fields


class Reviews(Family):
    """Asks for a review's headline, or its stars, given its text."""

    def __init__(self, writer: Writer, templates: Iterable[Template], events: Events) -> None:
        self.events = events
        written = events.text.select(pl.all().fill_null("").str.contains(r"\S"))
        body = events.known & written["text"].to_numpy()
        self.place = {
            "headline": np.flatnonzero(body & written["headline"].to_numpy()).astype(np.int32),
            "star": np.flatnonzero(body & np.isfinite(events.star)).astype(np.int32),
        }
        self.bodies = int(body.sum())
        super().__init__(writer, templates)

    def serves(self, template: Template) -> bool:
        """Whether there is a review with what is asked for."""
        return len(self._place(template)) > 0

    def _place(self, template: Template) -> NDArray[np.int32]:
        return self.place["headline" if "headline" in template.target_fields else "star"]

    def size(self, per: str) -> int:
        """Events with the text of a review."""
        return self.bodies

    def draw(self, generator: np.random.Generator, templates: Sequence[Template]) -> list[Prompt]:
        """See :class:`Family`."""
        writer, events = self.writer, self.events
        places = [self._place(template) for template in templates]
        draws = (generator.random(len(templates)) * [len(place) for place in places]).astype(np.int64)
        rows = np.array([place[draw] for place, draw in zip(places, draws.tolist(), strict=True)])
        text = events.text[rows]
        prompts = []
        for template, user, item, star, headline, body in zip(
            templates,
            events.user[rows].tolist(),
            events.item[rows].tolist(),
            events.star[rows].tolist(),
            text["headline"],
            text["text"],
            strict=True,
        ):
            answer = writer.target(template, star=star_text(star), headline=headline)
            prompts.append((writer.fill(template, user=user, item=item, body=body), [writer.sequence(answer)]))
        return prompts
