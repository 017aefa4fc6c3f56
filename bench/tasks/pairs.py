"""Requests about one item: what their sets have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import digest
from bench.errors import UsageError
from bench.splits.split import HeldOutPairs, Split
from bench.tasks.requests import Catalogue, Labels, Requests, RequestSet, TaskName, Texts

__all__ = ["TASKS", "NothingToAsk", "about_items", "grouped", "labelled", "text_of"]

TASKS: dict[TaskName, str] = {
    "sequential": "1",
    "direct": "1",
    "rating": "1",
    "click": "1",
    "explanation": "1",
    "feature-explanation": "1",
    "rated-explanation": "1",
    "headline": "1",
    "preference": "1",
}
"""Tasks with the version of what they show; raised whenever the same split would give other requests."""

_REMEDIES = {
    "rating": (
        "ratings are held out by leave-one-out, temporal (without clicks) and random-reviews, of data whose every "
        "event has stars"
    ),
    "click": (
        "clicks are held out by the temporal protocol with clicks: {at_least: 4} (data with ratings) or "
        "clicks: {negatives: 4} (data without), and by cold-start with negatives: 4"
    ),
}


class NothingToAsk(UsageError):
    """A split holds nothing out for some tasks; the message says which data or protocol would.

    Attributes
    ----------
    reasons : mapping of str to str
        Task -> what is missing, and what would have it.
    """

    def __init__(self, split: Split, reasons: Mapping[str, str]) -> None:
        super().__init__(f"{split.dataset}, {split.protocol}: nothing is held out for {'; '.join(grouped(reasons))}")
        self.reasons = reasons

    @classmethod
    def of(cls, split: Split, task: str, why: str) -> NothingToAsk:
        """Make the error for one task."""
        return cls(split, {task: why})


def grouped(reasons: Mapping[str, str]) -> list[str]:
    """``headline, preference: no review texts...``: each reason once, after the tasks that it holds for."""
    tasks: dict[str, list[str]] = {}
    for task, why in reasons.items():
        tasks.setdefault(why, []).append(task)
    return [f"{', '.join(its)}: {why}" for why, its in tasks.items()]


def labelled(split: Split, task: TaskName, *, of: Literal["rating", "click"]) -> list[HeldOutPairs]:
    """The held-out pairs of a kind.

    Raises
    ------
    NothingToAsk
        When there are none.
    """
    every = [held for held in split.pairs if held.pairs.kind == of]
    if not every:
        raise NothingToAsk.of(split, task, _REMEDIES[of])
    return every


def about_items(
    split: Split,
    held: HeldOutPairs,
    task: TaskName,
    answers: Labels | Texts,
    *,
    rows: NDArray[np.integer] | None = None,
    given: pl.DataFrame | None = None,
    notes: tuple[str, ...] = (),
    made_by: Sequence[str] = (),
) -> RequestSet:
    """Make a set of requests about one item each.

    Parameters
    ----------
    rows : ndarray of int, shape (requests,), optional
        Positions of the pairs that are asked about; all if not given. ``answers`` and ``given`` belong to them.
    made_by : sequence of str
        What else makes the requests what they are, and so belongs to their identity.
    """
    pairs = held.pairs if rows is None else held.pairs.take(rows)
    asked = np.unique(pairs.item)
    requests = Requests(
        task=task,
        user=pairs.user,
        history=pairs.history,
        catalogue=Catalogue(asked, text_of(split.items, asked)),
        text=text_of(split.items, np.union1d(asked, pairs.history.values)),
        item=pairs.item,
        given=given,
    )
    return RequestSet(
        part=held.part,
        task=task,
        quadrant=held.quadrant,
        shots=None,
        pool="pairs",
        # Errors, areas and corpus measures are taken over all pairs, not first within users: so the literature reports.
        unit="pooled user" if held.unit == "user" else held.unit,
        requests=requests,
        answers=answers,
        identity=digest([split.identity, task, TASKS[task], held.part, held.quadrant, None, "pairs", *made_by]),
        notes=notes,
    )


def text_of(items: pl.DataFrame, codes: NDArray[np.int32]) -> pl.DataFrame:
    """Rows of the split's item table, in the order of ``codes``."""
    # Codes are row numbers of that table.
    return items[codes]
