"""How much looking for settings may cost a model: a number of trials, or hours of computing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bench.errors import UsageError

__all__ = ["MOST_TRIALS", "TuningBudget"]

MOST_TRIALS = 200
"""Ends a budget in hours for models that fit in no time: more of them would fit the validation data by chance."""


@dataclass(frozen=True)
class TuningBudget:
    """What every model gets: ``trials``, or ``hours`` of fitting and validating; the other one is ``None``."""

    trials: int | None = None
    hours: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``trials=20`` or ``hours=2``.

        Raises
        ------
        UsageError
            For anything else.
        """
        kind, _, amount = (part.strip() for part in text.partition("="))
        try:
            if kind == "trials" and int(amount) >= 1:
                return cls(trials=int(amount))
            if kind == "hours" and 0 < float(amount) < math.inf:
                return cls(hours=float(amount))
        except ValueError:
            pass
        raise UsageError(f"--budget takes trials=20 or hours=2 (above 0), not {text!r}")

    def __str__(self) -> str:
        return f"trials={self.trials}" if self.trials is not None else f"hours={self.hours:g}"

    def spent(self, seconds: Sequence[float]) -> str:
        """Why no other trial may start after trials of these seconds; empty if one may.

        Hours admit another trial while one of mean length still fits, and the first one in any case.
        """
        if self.trials is not None:
            return "budget" if len(seconds) >= self.trials else ""
        assert self.hours is not None
        if len(seconds) >= MOST_TRIALS:
            return f"{MOST_TRIALS} trials"
        expected = sum(seconds) * (1 + 1 / len(seconds)) if seconds else 0.0
        return "budget" if expected > self.hours * 3600 else ""
