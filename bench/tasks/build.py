"""From held-out events to requests: what each task shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.hashing import digest
from bench.errors import DataError, nearest
from bench.splits.split import HeldOut, Split
from bench.tasks.pairs import TASKS, NothingToAsk, about_items, labelled, text_of
from bench.tasks.requests import Answers, Catalogue, Labels, Requests, RequestSet, TaskName
from bench.tasks.reviews import ReviewSets

__all__ = ["TASKS", "possible_sets", "request_sets"]


def request_sets(split: Split, tasks: Sequence[str]) -> list[RequestSet]:
    """Make the request sets of ``tasks``, in the order of the split.

    ``sequential`` shows the user and the history; ``direct`` only the user, so it asks about training users alone, and
    once where sets differ only in how much history they show. Sampled candidates are ranked by ``direct`` alone.
    All other tasks show the user, the history, one item and, as ``Requests`` says, some of what the user wrote.

    Raises
    ------
    NothingToAsk
        For a task that the split holds nothing out for.
    UsageError
        For an unknown task.
    DataError
        When a set of the split breaks its own rules (an answer that is masked, or not drawn exactly once).
    """
    reviews = ReviewSets(split)
    return [asked for task in tasks for asked in _sets(split, task, reviews)]


def possible_sets(split: Split, tasks: Sequence[str]) -> tuple[list[RequestSet], dict[str, str]]:
    """As :func:`request_sets`, but leave out the tasks that the split cannot ask, and say of each why.

    Raises
    ------
    NothingToAsk
        When none of the tasks can be asked.
    UsageError, DataError
        As :func:`request_sets`.
    """
    reviews = ReviewSets(split)
    sets: list[RequestSet] = []
    reasons: dict[str, str] = {}
    for task in tasks:
        try:
            sets += _sets(split, task, reviews)
        except NothingToAsk as error:
            reasons |= error.reasons
    if len(reasons) == len(tasks):
        raise NothingToAsk(split, reasons)
    return sets, reasons


def _sets(split: Split, task: str, reviews: ReviewSets) -> list[RequestSet]:
    if task not in TASKS:
        raise nearest("task", task, TASKS)
    if task == "sequential" or task == "direct":
        return _rankings(split, task)
    if task == "rating" or task == "click":
        every = labelled(split, task, of=task)
        return [about_items(split, held, task, Labels(held.pairs.label)) for held in every]
    return reviews.sets(task)


def _rankings(split: Split, task: Literal["sequential", "direct"]) -> list[RequestSet]:
    if task == "sequential":
        asked, what = [held for held in split.held_out if held.sampled is None], "no event to rank items for"
    else:
        asked, what = _of_users_alone(split.held_out), "no event of a training user"
    if not asked:
        raise NothingToAsk.of(split, task, f"{what} is held out; leave-one-out holds out two of each user")
    return [_ranking(split, held, task) for held in asked]


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
        catalogue=Catalogue(held.candidates, text_of(split.items, held.candidates)),
        text=text_of(split.items, np.unique(np.concatenate(seen))),
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
