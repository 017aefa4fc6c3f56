"""From labelled pairs and requests to rows of segments: candidates of one user with one history share a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from bench.errors import MissingInputError
from bench.models import Training
from llm_models.m6.behaviour import Segments
from llm_models.m6.click_settings import CLASSES, ClickSettings

__all__ = ["Examples", "Grouped", "Labelled", "grouped", "with_blank"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """What one task learns from.

    Attributes
    ----------
    row : ndarray of int64, shape (labels,)
        Positions in ``Examples``.
    label : ndarray of int64, shape (labels,)
        Class, from 0.
    """

    row: NDArray[np.int64]
    label: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examples:
    """Pairs of a user and an item to learn from.

    Attributes
    ----------
    pairs : ndarray of int64, shape (examples,)
        Their positions among the training pairs (among the events where there are no pairs): what statistics are
        asked with.
    user, item : ndarray of int32, shape (examples,)
    history : Ragged
        All that the user had chosen strictly before.
    tasks : dict of str to Labelled
    """

    pairs: NDArray[np.int64]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    history: Ragged
    tasks: dict[str, Labelled]

    @classmethod
    def of(cls, training: Training, settings: ClickSettings, seed: int) -> Examples:
        """Take what the settings ask for from the training data.

        Raises
        ------
        MissingInputError
            When there are neither clicks nor ratings.
        """
        pairs = training.pairs
        if pairs is not None:
            user, item, label, history, time = pairs.user, pairs.item, pairs.label, pairs.history, pairs.time
        elif training.rating is not None:
            events = training.sequences
            user, item, label, time = training.user[events.row_of], events.values, training.rating, training.time
            history = _prefixes(events)
        else:
            raise MissingInputError(
                "M6-style click models learn from clicks and non-clicks or from stars, and this protocol has neither: "
                "choose one with clicks (temporal, clicks: {at_least: 4} or {negatives: 4})"
            )
        kept = _chosen(user, history, time, settings, seed)
        clicks = pairs is not None and pairs.kind == "click"
        tasks = {}
        for task in settings.tasks:
            if task == "click":
                found = label if clicks else label >= settings.click_at_least
                tasks[task] = Labelled(np.arange(len(kept)), found[kept].astype(np.int64))
            else:
                stars = _stars_of_clicks(training) if clicks else label
                tasks[task] = _starred(stars[kept])
        return cls(kept, user[kept], item[kept], history.take(kept), tasks)

    def __len__(self) -> int:
        return len(self.user)


def _prefixes(events: Ragged) -> Ragged:
    """Per event those of its row before it."""
    before = np.arange(len(events.values)) - np.repeat(events.offsets[:-1], events.lengths)
    start = np.repeat(events.offsets[:-1], events.lengths)
    within = np.arange(before.sum()) - np.repeat(np.cumsum(before) - before, before)
    return Ragged.from_lengths(before, events.values[np.repeat(start, before) + within])


def _chosen(
    user: NDArray[np.int32], history: Ragged, time: NDArray[np.int64] | None, settings: ClickSettings, seed: int
) -> NDArray[np.int64]:
    """Positions of the examples that are used, increasing."""
    count, most = len(user), settings.max_rows
    if most is None or most >= count:
        return np.arange(count)
    if settings.choose == "latest" and time is not None:
        return np.sort(np.argsort(time, kind="stable")[count - most :])
    # Neighbours with one history are drawn together, for they share a row: a click and its declared negatives, say.
    new = np.append(True, (user[1:] != user[:-1]) | (np.diff(history.lengths) != 0))
    group = np.cumsum(new) - 1
    rank = np.random.default_rng((seed, 3)).permutation(group[-1] + 1)
    return np.sort(np.argsort(rank[group], kind="stable")[:most])


def _stars_of_clicks(training: Training) -> NDArray[np.float32]:
    """Stars of each click pair, from the events that the clicks are; NaN for non-clicks."""
    pairs = training.pairs
    assert pairs is not None
    if training.rating is None:
        raise MissingInputError("stars are to be learned (tasks), and the data has none: leave out `stars`")
    events = pl.DataFrame(
        {
            "user": training.user[training.sequences.row_of],
            "item": training.sequences.values,
            "stars": training.rating,
        }
    ).unique(["user", "item"], keep="last", maintain_order=True)
    asked = pl.DataFrame({"user": pairs.user, "item": pairs.item})
    found = asked.join(events, on=["user", "item"], how="left", maintain_order="left")["stars"]
    stars = found.fill_null(np.nan).to_numpy().astype(np.float32)
    return np.where(pairs.label > 0, stars, np.nan).astype(np.float32)


def _starred(stars: NDArray[np.float32]) -> Labelled:
    row = np.flatnonzero(np.isfinite(stars))
    return Labelled(row, (np.rint(stars[row]).clip(1, CLASSES["stars"]) - 1).astype(np.int64))


def with_blank(segments: Segments) -> Segments:
    """The same where a candidate without text is an empty one: it is asked about like any other."""
    blank = len(segments.texts)
    candidate = np.where(segments.candidate < 0, blank, segments.candidate)
    return Segments((*segments.texts, ""), segments.user, candidate)


@dataclass(frozen=True, eq=False)
class Grouped:
    """Rows of one user each and all that is asked about them.

    Attributes
    ----------
    user : Ragged
        Per row numbers of texts.
    target : Ragged
        Per row numbers of texts: the candidates.
    of : Ragged
        Like ``target``: the position of the request that each candidate belongs to.
    """

    user: Ragged
    target: Ragged
    of: Ragged

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.integer]) -> Grouped:
        """Select rows by position."""
        return Grouped(self.user.take(rows), self.target.take(rows), self.of.take(rows))


def grouped(user: Ragged, candidate: NDArray[np.int64], *, most: int) -> Grouped:
    """Put requests with the very same user into rows of at most ``most`` candidates.

    Parameters
    ----------
    user : Ragged
        Per request numbers of texts.
    candidate : ndarray of int64, shape (requests,)
    """
    found: dict[bytes, int] = {}
    number = np.array([found.setdefault(row.tobytes(), len(found)) for row in user], np.int64)
    order = np.argsort(number, kind="stable")
    sizes = np.bincount(number, minlength=len(found))
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    begins = np.flatnonzero(place % most == 0)
    lengths = np.diff(np.append(begins, len(order)))
    return Grouped(
        user.take(order[begins]),
        Ragged.from_lengths(lengths, candidate[order]),
        Ragged.from_lengths(lengths, order),
    )
