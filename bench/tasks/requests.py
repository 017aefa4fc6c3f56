"""What a model is asked, what it answers, and what only the scorer knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.ragged import Ragged

__all__ = [
    "LABEL_TASKS",
    "TEXT_TASKS",
    "Answers",
    "Catalogue",
    "Labels",
    "RankedLists",
    "RequestSet",
    "Requests",
    "TaskName",
    "Texts",
]

TaskName = Literal[
    "sequential",
    "direct",
    "rating",
    "click",
    "explanation",
    "feature-explanation",
    "rated-explanation",
    "headline",
    "preference",
]

LABEL_TASKS: tuple[TaskName, ...] = ("rating", "click", "preference")
"""Tasks answered with a number about one item (``Recommender.rate``)."""

TEXT_TASKS: tuple[TaskName, ...] = ("explanation", "feature-explanation", "rated-explanation", "headline")
"""Tasks answered with a text about one item (``Recommender.write``)."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items a request may be answered with.

    Attributes
    ----------
    items : ndarray of int32, shape (candidates,)
        Item codes, strictly increasing. Column ``c`` of a score block belongs to ``items[c]``.
    text : polars.DataFrame
        One row per entry of ``items``, in the same order: ``item`` (int32), ``item_id`` (str), and, where the
        dataset has them, ``title`` (str) and ``categories`` (list of str). Null where an item lacks a field.
    """

    items: NDArray[np.int32]
    text: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Requests:
    """What a model may see of a set of questions.

    Attributes
    ----------
    task : str
        ``"sequential"`` (who, and what they did before: what comes next?), ``"direct"`` (who: what comes next?),
        ``"rating"`` or ``"click"`` (who, what they did before, and an item: how many stars, or will they click?).
        Of an item the user reviewed: ``"explanation"`` (the sentence of the review that explains it; nothing of the
        review is shown), ``"feature-explanation"`` (its feature word is shown), ``"rated-explanation"`` (the feature
        and the review's true stars are shown), ``"headline"`` (the body is shown: how is it headed?) and
        ``"preference"`` (the body is shown: how many stars?).
    user : ndarray of int32, shape (requests,)
        User codes; a cold user's code never occurs in training.
    history : Ragged or None
        The items shown, oldest first (may be empty, may hold items never seen in training; for clicks: those
        clicked); ``None`` for direct requests.
    catalogue : Catalogue
        The candidates, the same for every request of the set; where each request has an ``item``, the items asked
        about.
    text : polars.DataFrame
        The text of *every* item that occurs in a history or in the catalogue, columns as in ``Catalogue.text``.
    candidates : Ragged or None
        Where only a draw is ranked: per request the items to rank, strictly increasing, all in the catalogue.
    item : ndarray of int32, shape (requests,), or None
        The item asked about, always in the catalogue; ``None`` where items are ranked.
    given : polars.DataFrame or None
        What is shown of the review, one row a request: ``feature`` (String), ``rating`` (Float32, stars) and ``body``
        (String, may be empty), as many of them as the task shows.
    """

    task: TaskName
    user: NDArray[np.int32]
    history: Ragged | None
    catalogue: Catalogue
    text: pl.DataFrame
    candidates: Ragged | None = None
    item: NDArray[np.int32] | None = None
    given: pl.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.integer]) -> Requests:
        """Select requests by position."""
        return replace(
            self,
            user=self.user[rows],
            history=None if self.history is None else self.history.take(rows),
            candidates=None if self.candidates is None else self.candidates.take(rows),
            item=None if self.item is None else self.item[rows],
            given=None if self.given is None else self.given[rows],
        )


@dataclass(frozen=True, eq=False)
class RankedLists:
    """What a generating model answers: per request an ordered list of distinct items.

    Attributes
    ----------
    items : Ragged
        Best first; at most ``k`` a row, distinct, none of them excluded, all in the catalogue.
    scores : ndarray of float32, shape (len(items.values),)
        Non-increasing within a row (log-probabilities, say).
    served : ndarray of bool, shape (requests,)
        False where the model cannot answer the request at all.
    """

    items: Ragged
    scores: NDArray[np.float32]
    served: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answers:
    """What only the scorer sees of requests to rank.

    Attributes
    ----------
    item : ndarray of int32, shape (requests,)
        The item that followed; always in the catalogue.
    exclude : Ragged
        Per request the items the user had already met, which no model may be credited or blamed for: they are
        masked, the same for all models. Never holds the answer.
    """

    item: NDArray[np.int32]
    exclude: Ragged

    def take(self, rows: NDArray[np.integer]) -> Answers:
        """Select answers by position."""
        return Answers(self.item[rows], self.exclude.take(rows))


@dataclass(frozen=True, eq=False)
class Labels:
    """What only the scorer sees of requests about one item.

    Attributes
    ----------
    label : ndarray of float32, shape (requests,)
        Stars (``rating``, ``preference``), or 1 for a click and 0 for none (``click``).
    """

    label: NDArray[np.float32]

    def take(self, rows: NDArray[np.integer]) -> Labels:
        """Select labels by position."""
        return Labels(self.label[rows])


@dataclass(frozen=True, eq=False)
class Texts:
    """What only the scorer sees of requests to write.

    Attributes
    ----------
    text : polars.Series of String, shape (requests,)
        What the user wrote; never empty.
    feature : polars.Series of String, shape (requests,), or None
        The feature word that an explaining sentence is about, shown or not.
    """

    text: pl.Series
    feature: pl.Series | None = None

    def take(self, rows: NDArray[np.integer]) -> Texts:
        """Select texts by position."""
        return Texts(self.text[rows], None if self.feature is None else self.feature[rows])


@dataclass(frozen=True, eq=False)
class RequestSet:
    """Questions of one kind with their answers.

    Attributes
    ----------
    part : str
        ``"valid"`` or ``"test"``.
    task : str
    quadrant : str
        ``"warm-warm"``, ``"cold-warm"``, ``"warm-cold"`` or ``"cold-cold"``: user first, item second.
    shots : int or None
        How many items of a cold user's history are shown; ``None``: all of it.
    pool : str
        Which items are ranked: ``"all"``, ``"warm"``, ``"cold"`` or ``"sampled"`` (the answer and a stored draw);
        ``"pairs"`` where each request is about one item.
    unit : str
        What may be resampled (DESIGN: unit of inference): ``"user"``, ``"pooled user"`` (requests about one item:
        whole users are resampled, requests count alike) or ``"user x item"``.
    requests : Requests
    answers : Answers, Labels or Texts
        ``Labels`` for the tasks of ``LABEL_TASKS``, ``Texts`` for those of ``TEXT_TASKS``.
    identity : str
        Hash of everything above.
    notes : tuple of str
        What must be said of the set: events that could not be asked about, and why.
    """

    part: Literal["valid", "test"]
    task: TaskName
    quadrant: str
    shots: int | None
    pool: str
    unit: Literal["user", "pooled user", "user x item"]
    requests: Requests
    answers: Answers | Labels | Texts
    identity: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A readable, unique name within a run: ``test/sequential/cold-warm/k=3/warm``."""
        shots = "" if self.shots is None else f"/k={self.shots}"
        return f"{self.part}/{self.task}/{self.quadrant}{shots}/{self.pool}"

    def __len__(self) -> int:
        return len(self.requests)

    def take(self, rows: NDArray[np.integer]) -> RequestSet:
        """Select requests by position (the identity stays that of the whole set)."""
        return replace(self, requests=self.requests.take(rows), answers=self.answers.take(rows))
