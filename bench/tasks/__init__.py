"""What a model is asked and what only the scorer knows."""

from bench.tasks.build import TASKS, request_sets
from bench.tasks.requests import Answers, Catalogue, Labels, RankedLists, Requests, RequestSet, TaskName

__all__ = [
    "TASKS",
    "Answers",
    "Catalogue",
    "Labels",
    "RankedLists",
    "RequestSet",
    "Requests",
    "TaskName",
    "request_sets",
]
