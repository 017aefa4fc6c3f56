"""The lock file of a tuning: which settings were found, on what, and what looking for them cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import UsageError

__all__ = ["Lock", "LockedEntry", "Tuned", "read_lock", "write_lock"]


class Tuned(BaseModel):
    """What an entry of a suite keeps of the lock file that its settings come from.

    Attributes
    ----------
    budget : str
        What every model of the tuning was given, such as ``trials=20``.
    trials : int
    hours : float
        Of fitting and validating, on the machine that tuned.
    metric : str
        What was looked at, on validation data.
    split : str
        Identity of the split that it was done on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: str
    trials: int = Field(ge=1)
    hours: float = Field(ge=0)
    metric: str
    split: str

    def __str__(self) -> str:
        return f"{self.trials} trial{'' if self.trials == 1 else 's'}, {_hours(self.hours)}"


class LockedEntry(BaseModel):
    """The outcome of tuning one entry.

    Attributes
    ----------
    model, model_version : str
        Entry point and declared version.
    training_seed : int
        Seed of every fit.
    metric : str
    settings : dict
        The best of those searched; what the suite itself had set stays as it was.
    value, default : float or None
        Validation number of the best settings, and of the entry's own, which are always the first trial; ``None``
        where that one failed.
    trials, failed : int
        Fits made, and those of them that came to no number.
    hours : float
    ended : str
        What ended the search.
    at_edge : tuple of str
        Settings whose best value lies at an end of its range: a wider one may hold a better.
    search : dict
        The ranges.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    model_version: str
    training_seed: int
    metric: str
    settings: dict[str, Any]
    value: float
    default: float | None
    trials: int = Field(ge=1)
    failed: int = Field(ge=0)
    hours: float = Field(ge=0)
    ended: str
    at_edge: tuple[str, ...]
    search: dict[str, Any]


class Lock(BaseModel):
    """A whole lock file.

    Attributes
    ----------
    split : str
        Identity of the split; a run on another one refuses the file.
    budget : str
        The same for all.
    seed : int
        Of the search.
    machine : str
        Whose hours are counted.
    versions : dict
    entries : dict of str to LockedEntry
        By the name of the suite's entry.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    suite: str
    dataset: str
    protocol: str
    split: str
    budget: str
    seed: int
    device: str
    machine: str
    versions: dict[str, str]
    entries: dict[str, LockedEntry]

    def shares_all_but_entries(self, other: Lock) -> bool:
        """Whether both come from the same question, budget and versions, so that their entries stand side by side."""
        return self.model_copy(update={"entries": {}}) == other.model_copy(update={"entries": {}})

    def tuned(self, name: str) -> Tuned:
        """What the entry called ``name`` keeps of this file."""
        entry = self.entries[name]
        return Tuned(budget=self.budget, trials=entry.trials, hours=entry.hours, metric=entry.metric, split=self.split)


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises
    ------
    UsageError
        When it is not there, or is none.
    """
    if not path.is_file():
        raise UsageError(f"lock file {path} does not exist; `bench tune` writes one")
    try:
        return Lock.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"lock file {path} is not valid YAML: {error}") from error
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise UsageError(f"{path} is not a lock file of `bench tune`: {where}: {detail['msg']}") from error


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock file, whole or not at all."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    raw = lock.model_dump(mode="json")
    temporary.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    temporary.replace(path)


def _hours(hours: float) -> str:
    if hours < 0.001:
        return "under 0.001 h"
    return f"{hours:.1f} h" if hours >= 1 else f"{hours:.2g} h"
