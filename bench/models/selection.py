"""Early stopping on the validation number, the same rule for every model that trains in steps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bench.models.contract import Budget

__all__ = ["Selection"]


@dataclass
class Selection:
    """Follows a training run, says which weights to keep, when to stop, and whether it converged.

    Usage: after each evaluation call :meth:`observe`; keep the weights when it returns True; leave the loop when
    :attr:`stopped` is not empty. ``report_fields`` then fills the matching fields of a ``FitReport``.
    """

    budget: Budget
    best_step: int = 0
    best_value: float = -math.inf
    stopped: str = ""
    curve: list[dict[str, float]] = field(default_factory=list)
    _since_best: int = 0
    _started: float = field(default_factory=time.monotonic)

    def observe(self, *, step: int, epoch: float, loss: float, validation: float) -> bool:
        """Record an evaluation; return whether these weights are the ones to keep.

        With ``patience`` 0 nothing is selected: the latest weights are always kept.
        """
        if not math.isfinite(loss):
            raise FloatingPointError(f"the training loss became {loss} at step {step}")
        self.curve.append({"step": step, "epoch": epoch, "loss": loss, "validation": validation})
        better = validation > self.best_value or self.budget.patience == 0
        if better:
            self.best_value, self.best_step, self._since_best = validation, step, 0
        else:
            self._since_best += 1
            if self._since_best >= self.budget.patience:
                self.stopped = "early stopping"
        self._check_caps(step, epoch)
        return better

    def _check_caps(self, step: int, epoch: float) -> None:
        budget = self.budget
        if self.stopped:
            return
        if (budget.max_steps is not None and step >= budget.max_steps) or (
            budget.max_epochs is not None and epoch >= budget.max_epochs
        ):
            self.stopped = "budget"
        elif budget.time_cap_s is not None and time.monotonic() - self._started >= budget.time_cap_s:
            self.stopped = "time cap"

    def state(self) -> dict[str, Any]:
        """All that was observed, for a checkpoint; JSON-serialisable."""
        return {
            "best_step": self.best_step,
            "best_value": self.best_value,
            "stopped": self.stopped,
            "curve": self.curve,
            "since_best": self._since_best,
            "seconds": time.monotonic() - self._started,
        }

    @classmethod
    def resumed(cls, budget: Budget, state: Mapping[str, Any]) -> Self:
        """Go on from what :meth:`state` said; the time that had passed counts towards the budget's cap."""
        return cls(
            budget,
            best_step=state["best_step"],
            best_value=state["best_value"],
            stopped=state["stopped"],
            curve=[dict(row) for row in state["curve"]],
            _since_best=state["since_best"],
            _started=time.monotonic() - state["seconds"],
        )

    def report_fields(self) -> dict[str, object]:
        """``steps``, ``epochs``, ``best_step``, ``stopped``, ``converged`` and ``curve`` of a ``FitReport``."""
        last = self.curve[-1] if self.curve else {"step": 0, "epoch": 0.0}
        return {
            "steps": int(last["step"]),
            "epochs": float(last["epoch"]),
            "best_step": self.best_step,
            "stopped": self.stopped or "budget",
            "converged": self.stopped == "early stopping",
            "curve": tuple(self.curve),
        }
