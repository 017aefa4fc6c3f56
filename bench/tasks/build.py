"""From held-out events to requests: what each task shows of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import digest
from bench.errors import DataError, UsageError, nearest
from bench.splits.split import HeldOut, HeldOutPairs, Split
from bench.tasks.requests import Answers, Catalogue, Labels, Requests, RequestSet, TaskName

__all__ = ["TASKS", "request_sets"]

TASKS: dict[TaskName, str] = {
    "sequential": "1",
    "direct": "1",
    "rating": "1",
    "click": "1",
}
"""Tasks with the version of what they show; raised whenever the same split would give other requests."""

_REMEDIES: dict[TaskName, str] = {
    "rating": (
        "ratings are held out by leave-one-out, temporal (without clicks) and random-reviews, of data whose every "
        "event has stars"
    ),
    "click": (
        "clicks are held out by the temporal protocol with clicks: {at_least: 4} (data with ratings) or "
        "clicks: {negatives: 4} (data without)"
    ),
}


def request_sets(split: Split, tasks: Sequence[str]) -> list[RequestSet]:
    """Make the request sets of ``tasks``, in the order of the split.

    ``sequential`` shows the user and the history; ``direct`` only the user, so it asks about training users alone, and
    once where sets differ only in how much history they show. Sampled candidates are ranked by ``direct`` alone.
    ``rating`` and ``click`` show the user, the history and one item.

    Raises
    ------
    UsageError
        For an unknown task, or one that the split holds nothing out for.
    DataError
        When a set of the split breaks its own rules (an answer that is masked, or not drawn exactly once).
    """
    sets = []
    for task in tasks:
        if task not in TASKS:
            raise nearest("task", task, TASKS)
        if task == "sequential":
            sets += [_ranking(split, held, "sequential") for held in split.held_out if held.sampled is None]
        elif task == "direct":
            sets += [_ranking(split, held, "direct") for held in _of_users_alone(split.held_out)]
        elif task == "rating":
            sets += _labelled(split, "rating")
        else:
            sets += _labelled(split, "click")
    return sets


def _of_users_alone(held_out: Sequence[HeldOut]) -> list[HeldOut]:
    """Sets of training users, without those that differ from an earlier one only in what is shown."""
    distinct: dict[tuple[str, str, str], HeldOut] = {}
    for held in held_out:
        if held.quadrant.startswith("warm-"):
            distinct.setdefault((held.part, held.quadrant, held.pool), held)
    return list(distinct.values())


def _ranking(split: Split, held: HeldOut, task: TaskName) -> RequestSet:
    _check(held)
    sequential = task == "sequential"
    seen: list[NDArray[np.int32]] = [held.candidates] + ([held.history.values] if sequential else [])
    requests = Requests(
        task=task,
        user=held.user,
        history=held.history if sequential else None,
        catalogue=Catalogue(held.candidates, _rows(split.items, held.candidates)),
        text=_rows(split.items, np.unique(np.concatenate(seen))),
        candidates=held.sampled,
    )
    described = [split.identity, task, TASKS[task], held.part, held.quadrant, held.shots, held.pool]
    return RequestSet(
        part=held.part,
        task=task,
        quadrant=held.quadrant,
        shots=held.shots,
        pool=held.pool,
        unit=held.unit,
        requests=requests,
        answers=Answers(held.item, held.exclude),
        identity=digest(described),
    )


def _labelled(split: Split, task: TaskName) -> list[RequestSet]:
    sets = [_pairs(split, held, task) for held in split.pairs if held.pairs.kind == task]
    if not sets:
        raise UsageError(
            f"{split.dataset}, {split.protocol}: nothing is held out for the task {task!r}: {_REMEDIES[task]}"
        )
    return sets


def _pairs(split: Split, held: HeldOutPairs, task: TaskName) -> RequestSet:
    pairs = held.pairs
    asked = np.unique(pairs.item)
    requests = Requests(
        task=task,
        user=pairs.user,
        history=pairs.history,
        catalogue=Catalogue(asked, _rows(split.items, asked)),
        text=_rows(split.items, np.union1d(asked, pairs.history.values)),
        item=pairs.item,
    )
    return RequestSet(
        part=held.part,
        task=task,
        quadrant=held.quadrant,
        shots=None,
        pool="pairs",
        # Errors and areas are taken over all pairs, not first within users: that is what the literature reports.
        unit="pooled user" if held.unit == "user" else held.unit,
        requests=requests,
        answers=Labels(pairs.label),
        identity=digest([split.identity, task, TASKS[task], held.part, held.quadrant, None, "pairs"]),
    )


def _check(held: HeldOut) -> None:
    """See that answers can be found: splits may come from elsewhere."""
    where = f"{held.part}, {held.quadrant}, pool {held.pool}"
    if (held.exclude.values == held.item[held.exclude.row_of]).any():
        raise DataError(f"the split masks an answer ({where})")
    if held.sampled is not None:
        drawn = held.sampled
        found = np.bincount(drawn.row_of[drawn.values == held.item[drawn.row_of]], minlength=len(drawn))
        if (found != 1).any():
            raise DataError(f"the split does not hold every answer exactly once among its sampled candidates ({where})")


def _rows(items: pl.DataFrame, codes: NDArray[np.int32]) -> pl.DataFrame:
    # Codes are row numbers of the split's item table.
    return items[codes]
