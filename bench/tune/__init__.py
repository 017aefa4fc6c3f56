"""Fair tuning: the same budget for every model of a suite, on validation data alone."""

from bench.tune.budget import TuningBudget
from bench.tune.outcome import Listener, News, Skipped, TunedModel, TuneOutcome
from bench.tune.tuning import LOCK, tune, tuning_folder

__all__ = ["LOCK", "Listener", "News", "Skipped", "TuneOutcome", "TunedModel", "TuningBudget", "tune", "tuning_folder"]
