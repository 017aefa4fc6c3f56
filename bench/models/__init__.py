"""The contract a recommender fulfils, and how the harness finds recommenders."""

from bench.data.ragged import Ragged
from bench.models.contract import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Recommender,
    Settings,
    Validate,
)
from bench.models.registry import model_class, model_names
from bench.models.selection import Selection
from bench.splits.training import Training
from bench.tasks.requests import Catalogue, RankedLists, Requests

__all__ = [
    "Budget",
    "Capabilities",
    "Catalogue",
    "FitReport",
    "Progress",
    "Ragged",
    "RankedLists",
    "Recommender",
    "Requests",
    "Selection",
    "Settings",
    "Training",
    "Validate",
    "model_class",
    "model_names",
]
