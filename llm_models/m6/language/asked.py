"""What the writer is asked and learns from: explanations and headlines, worded the same in training and in requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.models import Catalogue, Ragged, Requests, Training
from bench.tasks.explanations import training_reviews, training_triples
from bench.tasks.requests import TaskName
from llm_models.m6.behaviour import Writer, short
from llm_models.m6.language.mentions import Mentions
from llm_models.m6.language.phrases import phrases
from llm_models.m6.templates import _tidy
from llm_models.m6.wording import WritingPrompt, explanation_prompts

__all__ = ["SHOWN", "prompts_of", "training_prompts"]

SHOWN: Mapping[TaskName, tuple[str, ...]] = {
    "explanation": (),
    "feature-explanation": ("feature",),
    "rated-explanation": ("feature", "rating"),
}
"""Kinds of explanations, and what each shows of the review."""

_CHARACTERS = 4
"""A token's, roughly: what of a body surely goes beyond a source is not even split."""


def prompts_of(
    requests: Requests,
    writer: Writer,
    mentions: Mentions,
    *,
    most: int,
    max_source: int,
    own: Sequence[str | None] | None = None,
) -> list[WritingPrompt]:
    """Word requests for texts about one item each.

    Parameters
    ----------
    most : int
        Words mentioned, of the item and of the user each.
    max_source : int
        Tokens that will be read of a body.
    own : sequence of str or None, optional
        For training rows: the review that each is about, whose words are not to be told.
    """
    if requests.task == "headline":
        assert requests.given is not None
        asked = phrases().headline
        bodies = [short(_tidy(body), _CHARACTERS * max_source) for body in requests.given["body"].to_list()]
        return [WritingPrompt(asked.source.format(body=body), asked.prefix) for body in bodies]
    worded = explanation_prompts(writer, requests)
    if not most:
        return worded
    assert requests.item is not None
    without = own if own is not None else [None] * len(requests)
    said = phrases().mentions
    found = []
    for prompt, user, item, review in zip(worded, requests.user.tolist(), requests.item.tolist(), without, strict=True):
        parts = [
            (said.user, mentions.words("user", user, most, without=review)),
            (said.item, mentions.words("item", item, most, without=review)),
        ]
        told = [phrase.format(words=", ".join(words)) for phrase, words in parts if words]
        found.append(replace(prompt, source=" ".join(filter(None, [*told, prompt.source]))))
    return found


def training_prompts(
    training: Training, writer: Writer, mentions: Mentions, *, tasks: Sequence[TaskName], most: int, max_source: int
) -> dict[str, list[WritingPrompt]]:
    """Texts to learn from, by task; a task that the reviews do not feed is missing.

    Raises
    ------
    NoTexts
        When the data has no review texts.
    """
    reviews = training_reviews(training)
    history = _histories(training)
    catalogue = Catalogue(training.item, training.items)
    told: dict[str, list[WritingPrompt]] = {}

    def add(task: TaskName, rows: NDArray[np.integer], given: pl.DataFrame | None, targets: list[str]) -> None:
        if not len(rows):
            return
        own = reviews[rows]
        requests = Requests(
            task,
            own["user"].to_numpy(),
            history.take(rows),
            catalogue,
            training.items,
            item=own["item"].to_numpy(),
            given=given,
        )
        prompts = prompts_of(requests, writer, mentions, most=most, max_source=max_source, own=own["text"].to_list())
        told[task] = [replace(prompt, target=_tidy(target)) for prompt, target in zip(prompts, targets, strict=True)]

    explained = [task for task in SHOWN if task in tasks]
    if explained:
        triples = training_triples(training)
        rows = triples["row"].to_numpy().astype(np.int64)
        known = triples.with_columns(reviews["rating"][rows])
        for task in explained:
            shown = known.select(SHOWN[task])
            usable = (
                shown.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy() if SHOWN[task] else None
            )
            kept = np.arange(len(known)) if usable is None else np.flatnonzero(usable)
            add(task, rows[kept], shown[kept] if SHOWN[task] else None, known["sentence"][kept].to_list())
    if "headline" in tasks:
        written = reviews.select(pl.col("headline", "text").fill_null("").str.strip_chars())
        rows = np.flatnonzero(((written["headline"] != "") & (written["text"] != "")).to_numpy())
        add("headline", rows, written.select(body="text")[rows], written["headline"][rows].to_list())
    return told


def _histories(training: Training) -> Ragged:
    """What each user had met before the review in a row of :func:`~bench.tasks.explanations.training_reviews`."""
    if training.pairs is not None and training.pairs.reviews is not None:
        return training.pairs.history
    sequences = training.sequences
    place = np.arange(len(sequences.values)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    within = np.arange(place.sum()) - np.repeat(np.cumsum(place) - place, place)
    starts = np.repeat(sequences.offsets[:-1], sequences.lengths)
    return Ragged.from_lengths(place, sequences.values[np.repeat(starts, place) + within])
