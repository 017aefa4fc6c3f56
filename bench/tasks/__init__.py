"""What a model is asked and what only the scorer knows."""

from bench.tasks.build import TASKS, possible_sets, request_sets
from bench.tasks.pairs import NothingToAsk, grouped
from bench.tasks.requests import (
    LABEL_TASKS,
    TEXT_TASKS,
    Answers,
    Catalogue,
    Labels,
    RankedLists,
    Requests,
    RequestSet,
    TaskName,
    Texts,
)

__all__ = [
    "LABEL_TASKS",
    "TASKS",
    "TEXT_TASKS",
    "Answers",
    "Catalogue",
    "Labels",
    "NothingToAsk",
    "RankedLists",
    "RequestSet",
    "Requests",
    "TaskName",
    "Texts",
    "grouped",
    "possible_sets",
    "request_sets",
]
