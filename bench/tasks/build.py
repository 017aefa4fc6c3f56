"""From held-out events to requests: what each task shows of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import digest
from bench.errors import nearest
from bench.splits.split import HeldOut, Split
from bench.tasks.requests import Answers, Catalogue, Requests, RequestSet, TaskName

__all__ = ["TASKS", "request_sets"]

TASKS: dict[TaskName, str] = {
    "sequential": "1",
    "direct": "1",
}
"""Tasks with the version of what they show; raised whenever the same split would give other requests."""


def request_sets(split: Split, tasks: Sequence[str]) -> list[RequestSet]:
    """Make the request sets of ``tasks``, in the order of the split.

    ``sequential`` shows the user and the history; ``direct`` only the user, so it asks about training users alone.

    Raises
    ------
    UsageError
        For an unknown task.
    """
    sets = []
    for task in tasks:
        if task not in TASKS:
            raise nearest("task", task, TASKS)
        for held in split.held_out:
            if task == "sequential" or held.quadrant.startswith("warm-"):
                sets.append(_request_set(split, held, "sequential" if task == "sequential" else "direct"))
    return sets


def _request_set(split: Split, held: HeldOut, task: TaskName) -> RequestSet:
    sequential = task == "sequential"
    seen: list[NDArray[np.int32]] = [held.candidates] + ([held.history.values] if sequential else [])
    requests = Requests(
        task=task,
        user=held.user,
        history=held.history if sequential else None,
        catalogue=Catalogue(held.candidates, _rows(split.items, held.candidates)),
        text=_rows(split.items, np.unique(np.concatenate(seen))),
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


def _rows(items: pl.DataFrame, codes: NDArray[np.int32]) -> pl.DataFrame:
    # Codes are row numbers of the split's item table.
    return items[codes]
