"""One honest cut of a dataset, for every task and every model."""

from bench.splits.cold_start import ColdStart
from bench.splits.protocols import LeaveOneOut, Protocol, make_split
from bench.splits.split import HeldOut, Split
from bench.splits.training import Training

__all__ = ["ColdStart", "HeldOut", "LeaveOneOut", "Protocol", "Split", "Training", "make_split"]
