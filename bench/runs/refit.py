"""Learning once more, from training and validation events together, for as long as validation chose."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from bench.models import Budget, FitReport, Progress, Recommender
from bench.runs.plan import Plan, split_of

__all__ = ["refit", "refit_budget"]


def refit_budget(budget: Budget, chosen: FitReport, growth: float) -> Budget:
    """Make the budget of a refit: as many passes over the data as validation chose, and no selection.

    Parameters
    ----------
    chosen : FitReport
        Of the fit that validation selected from.
    growth : float
        Events learned from the second time, over those of the first.
    """
    if chosen.steps == 0:
        return budget
    epoch = next((row["epoch"] for row in chosen.curve if row["step"] == chosen.best_step), chosen.epochs)
    if budget.max_steps is None and float(epoch).is_integer():
        passes = max(1, int(epoch))
        return Budget(max_epochs=passes, eval_every_epochs=passes, patience=0)
    steps = max(1, math.ceil(chosen.best_step * growth))
    return Budget(max_steps=steps, eval_every_steps=steps, patience=0)


def refit(
    model: Recommender, plan: Plan, chosen: FitReport, *, budget: Budget, seed: int, progress: Progress
) -> FitReport:
    """Fit ``model`` again; the report keeps what validation said the first time."""
    training = split_of(plan.suite, refit=True).training
    growth = len(training.sequences.values) / len(plan.split.training.sequences.values)
    again = model.fit(
        training,
        validate=_unseen,
        budget=refit_budget(budget, chosen, growth),
        seed=seed,
        progress=progress,
    )
    notes = {**chosen.notes, "refit": {name: asdict(again)[name] for name in ("steps", "epochs")}}
    return replace(
        chosen,
        parameters_trained=again.parameters_trained,
        parameters_total=again.parameters_total,
        notes=notes,
    )


def _unseen(model: Recommender, /) -> float:
    """Say nothing: the validation events are learned from here, so no number may be drawn from them."""
    return 0.0
