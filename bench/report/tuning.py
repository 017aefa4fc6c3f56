"""Whether a model's settings were searched for, and within which budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.models.presets import load_preset

if TYPE_CHECKING:
    from bench.report.values import Model
    from bench.runs.suite import ModelEntry

__all__ = ["about_tuning", "tuning_of"]


def tuning_of(entry: ModelEntry) -> str:
    """``"tuned: 20 trials, 0.4 h"``, ``"untuned"``, or nothing where there is nothing to tune."""
    if entry.tuned is not None:
        return f"tuned: {entry.tuned}"
    return "untuned" if load_preset(entry.model).applicable(entry.parsed_settings()) else ""


def about_tuning(models: Sequence[Model]) -> list[str]:
    """One note, if there is anything to say."""
    untuned = [model.title for model in models if model.tuning == "untuned"]
    tuned = [
        (f"{model.title} ({model.tuning.removeprefix('tuned: ')})", entry.tuned.budget)
        for model in models
        if (entry := model.cells[0].entry).tuned is not None
    ]
    parts = []
    if tuned:
        budgets = list(dict.fromkeys(budget for _, budget in tuned))
        each = f"{budgets[0]} each" if len(budgets) == 1 else f"unequal budgets ({', '.join(budgets)})"
        parts.append(f"Tuned on validation, {each}: {', '.join(text for text, _ in tuned)}.")
    if untuned:
        parts.append(f"Untuned, run with the settings of the suite: {', '.join(untuned)}.")
    return [" ".join(parts)] if parts else []
