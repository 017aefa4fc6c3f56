"""What is told while a suite is tuned, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import ModelError
from bench.runs.lock import LockedEntry
from bench.tune.budget import TuningBudget
from bench.tune.search import Tried

__all__ = ["Listener", "News", "Skipped", "TuneOutcome", "TunedModel"]


@dataclass(frozen=True)
class News:
    """What a listener is told: progress of a trial, or its end.

    Attributes
    ----------
    model : str
        Name of the entry.
    trial : int
        From 1.
    kind : str
    stage, done, total, note
        Of progress.
    tried : Tried or None
        Of an end.
    value, best : float or None
        The metric on validation, of the trial that ended and of the best so far.
    """

    model: str
    trial: int
    kind: Literal["progress", "tried"]
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    tried: Tried | None = None
    value: float | None = None
    best: float | None = None


Listener = Callable[[News], None]


@dataclass(frozen=True)
class Skipped:
    """Why an entry was not tuned; ``failed`` where that is a defect and not in its nature."""

    reason: str
    failed: bool = False


@dataclass(frozen=True)
class TunedModel:
    """What tuning an entry came to.

    Attributes
    ----------
    kept : tuple of str
        Settings that could be searched but that the suite sets.
    locked : LockedEntry
    """

    kept: tuple[str, ...]
    locked: LockedEntry


@dataclass(frozen=True)
class TuneOutcome:
    """What tuning a suite came to: entries by name, in the order of the suite.

    Attributes
    ----------
    lock : Path or None
        The lock file; ``None`` where nothing was tuned.
    dropped : tuple of str
        Entries of an earlier lock file that another budget, search seed or version had made.
    """

    budget: TuningBudget
    tuned: Mapping[str, TunedModel]
    skipped: Mapping[str, Skipped]
    lock: Path | None
    dropped: tuple[str, ...] = ()

    def raise_failures(self) -> None:
        """Raise ModelError (exit code 4) if a model came to no number at all."""
        lines = [f"{name} was not tuned: {why.reason}" for name, why in self.skipped.items() if why.failed]
        if lines:
            raise ModelError("\n".join(lines))
