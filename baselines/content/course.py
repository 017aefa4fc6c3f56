"""The course of a training run: when the validation number is asked for, which weights are kept, when to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.errors import UsageError
from bench.models import Budget, Progress, Selection

__all__ = ["Course"]


class Course:
    """Follows a run step by step.

    Parameters
    ----------
    budget : Budget
        Without a limit the run ends when its patience does; without an interval it is evaluated once an epoch.
    validate : callable
        The validation number of the weights as they stand.
    keep : callable
        Puts the weights as they stand aside.
    progress : Progress

    Raises
    ------
    UsageError
        For a budget that would never end.
    """

    def __init__(
        self, budget: Budget, *, validate: Callable[[], float], keep: Callable[[], None], progress: Progress
    ) -> None:
        if budget.patience == 0 and budget.max_steps is None and budget.max_epochs is None:
            raise UsageError("a budget with patience 0 needs max_steps or max_epochs: nothing else would end the run")
        self._budget, self._selection = budget, Selection(budget)
        self._validate, self._keep, self._progress = validate, keep, progress
        self._loss, self._steps = 0.0, 0

    def goes_on(self, step: int, epoch: float, loss: float) -> bool:
        """Take note of a step (counted from 1, ``epoch`` passes made so far); whether another one shall follow."""
        self._loss += loss
        self._steps += 1
        if not self._budget.due(step, epoch):
            return True
        mean, self._loss, self._steps = self._loss / self._steps, 0.0, 0
        selection = self._selection
        better = selection.observe(step=step, epoch=epoch, loss=mean, validation=self._validate())
        if better or len(selection.curve) == 1:
            self._keep()
        budget = self._budget
        done, total = (step, budget.max_steps) if budget.max_steps else (int(epoch), budget.max_epochs)
        last = selection.curve[-1]["validation"]
        self._progress(done, total or done, f"loss {mean:.3f}, validation {last:.4f}, best {selection.best_value:.4f}")
        return not selection.stopped

    def report_fields(self) -> dict[str, Any]:
        """The fields of a ``FitReport`` that tell of the run."""
        return self._selection.report_fields()
