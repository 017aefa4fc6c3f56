"""One honest cut of a dataset, for every task and every model."""

from bench.splits.cold_start import ColdStart
from bench.splits.cross_domain import CrossDomain
from bench.splits.leave_one_out import LeaveOneOut
from bench.splits.protocol import Protocol
from bench.splits.protocols import AnyProtocol, make_split
from bench.splits.random_reviews import RandomReviews
from bench.splits.split import HeldOut, HeldOutPairs, Split
from bench.splits.temporal import Clicks, Temporal
from bench.splits.training import Pairs, Training

__all__ = [
    "AnyProtocol",
    "Clicks",
    "ColdStart",
    "CrossDomain",
    "HeldOut",
    "HeldOutPairs",
    "LeaveOneOut",
    "Pairs",
    "Protocol",
    "RandomReviews",
    "Split",
    "Temporal",
    "Training",
    "make_split",
]
