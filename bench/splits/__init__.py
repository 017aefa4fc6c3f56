"""One honest cut of a dataset, for every task and every model."""

from bench.splits.cold_start import ColdStart
from bench.splits.leave_one_out import LeaveOneOut
from bench.splits.protocol import Protocol
from bench.splits.protocols import AnyProtocol, make_split
from bench.splits.split import HeldOut, HeldOutPairs, Split
from bench.splits.training import Pairs, Training

__all__ = [
    "AnyProtocol",
    "ColdStart",
    "HeldOut",
    "HeldOutPairs",
    "LeaveOneOut",
    "Pairs",
    "Protocol",
    "Split",
    "Training",
    "make_split",
]
