"""What a model is asked and what only the scorer knows."""

from bench.tasks.build import TASKS, request_sets
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
    "RankedLists",
    "RequestSet",
    "Requests",
    "TaskName",
    "Texts",
    "request_sets",
]
