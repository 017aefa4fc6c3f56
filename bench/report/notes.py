"""What must be said under a table so that its numbers can be trusted, or doubted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.data.hashing import digest
from bench.metrics import parse
from bench.report import wording
from bench.report.collect import LEVEL, PERMUTATIONS, REPLICATES
from bench.report.grid import NOTHING, count, number
from bench.report.tuning import about_tuning
from bench.report.values import Model, Table
from bench.runs.plan import Plan
from bench.tasks import Answers, Labels, Texts, grouped

__all__ = [
    "ALPHA",
    "SAMPLED",
    "UNSERVED",
    "about_data",
    "about_metrics",
    "about_prompts",
    "about_requests",
    "about_tests",
    "about_training",
    "absences",
    "legend",
]

SAMPLED = (
    "Sampled: each answer is ranked among a stored draw of negatives, the same for all models. Such numbers are far "
    "higher than those of full ranking and need not order models as it does (Krichene and Rendle 2020)."
)
ALPHA = 0.05
"""Corrected p below which a difference is marked."""


UNSERVED = {Answers: "misses", Labels: "the worst answer there is", Texts: "empty texts"}
"""What a request that a model cannot serve counts as, by the kind of its answers."""


def legend(primary: str, references: Sequence[str], answers: Answers | Labels | Texts) -> list[str]:
    """How the main table is read."""
    chosen = ", ".join(references) or "none here"
    unserved = UNSERVED[type(answers)]
    return [
        f"{primary}, mean over the unit of inference; the tables below have the intervals and the other metrics.",
        f"Bold: best of the column. r: its reference, the classic model that is best on the matching validation set "
        f"({chosen}). + or -: better or worse than the reference, p < {ALPHA} by a paired randomisation test, "
        f"corrected (Holm) over the column. No mark: no difference was found.",
        "[43%]: share of the requests that the model can answer, where it is not all of them; the others count as "
        f"{unserved}. {NOTHING} [0%]: it can answer none. Empty: it does not do the task.",
    ]


def about_data(plan: Plan) -> list[str]:
    """Data set, protocol, split, and what its makers warn of."""
    leak = (
        "LEAK: an index of this table was numbered from held-out events. The suite sets allow_leaky_index: models were "
        "handed every user's full sequence, the validation and test events included, to number items by. This shows "
        "what such numbers give away; no figure of such a model is a fair result."
    )
    return [
        *([leak] if plan.suite.allow_leaky_index else []),
        f"Data: {plan.split.dataset}. Protocol: {plan.split.protocol}. Split {plan.split.identity[:12]}.",
        *plan.split.notes,
        *(f"Left out: {why}" for why in grouped(plan.left_out)),
    ]


def about_requests(tables: Sequence[Table]) -> list[str]:
    """What could not be asked, or was asked in vain, with the columns that it holds for."""
    asked = [table.asked for table in tables]
    columns: dict[str, list[str]] = {}
    for one in asked:
        for note in one.notes:
            columns.setdefault(note, []).append(wording.column(one, asked))
    if len(asked) == 1:
        return list(columns)
    return [f"{'; '.join(headings)}: {note}" for note, headings in columns.items()]


def about_prompts(tables: Sequence[Table]) -> list[str]:
    """Which prompt the rows that stand for several are asked with."""
    chosen: dict[str, dict[str, str]] = {}
    for table in tables:
        for row in table.rows:
            if row.model.prompt is not None:
                prompt = f"{row.model.prompt.id}, {row.model.prompt.group}"
                chosen.setdefault(row.model.title, {})[wording.task(table.asked.task)] = prompt
    return [
        f"{title} is one fit, asked with several prompts. Here stands the first seen one of each task "
        f"({'; '.join(f'{task}: {prompt}' for task, prompt in prompts.items())}); all of them are in prompts.md."
        for title, prompts in chosen.items()
    ]


def about_metrics(metrics: Sequence[str]) -> list[str]:
    """Metrics that have no interval."""
    alone = [metric for metric in metrics if parse(metric).descriptive]
    if not alone:
        return []
    return [
        f"{', '.join(alone)}: of all texts together, not a mean over requests; without an interval, and not tested."
    ]


def about_tests(plan: Plan, table: Table) -> list[str]:
    """Unit of inference, reference, tests and intervals of one table."""
    joint = table.asked.unit == "user x item"
    pooled = "the user (whole users are resampled, every request counts alike)"
    unit = {"user": "the user (its requests averaged first)", "pooled user": pooled}.get(
        table.asked.unit, "users and items jointly"
    )
    drawn = "users and items" if joint else "users"
    seeds = " and training seeds" if len(plan.suite.seeds) > 1 else ""
    notes = [
        f"Unit of inference: {unit}: {table.units}, {count(len(table.asked), 'request')}. Intervals: {LEVEL:.0%}, "
        f"bootstrap over {drawn}{seeds}, {REPLICATES:,} replicates."
    ]
    if table.reference.name is None:
        return [*notes, f"No reference: {table.reference.reason}."]
    seen = [row.comparison.mde for row in table.rows if row.comparison is not None]
    seen = [value for value in seen if not math.isnan(value)]
    ends = list(dict.fromkeys(number(end(seen)) for end in (min, max))) if seen else []
    size = " to ".join(ends) + (", depending on the model," if len(ends) > 1 else "")
    power = [
        f"A true difference of {size} would have been found four times out of five (uncorrected); smaller ones may "
        "have been missed."
    ]
    largest = ", by users, by items and by both, the largest p" if joint else ""
    return [
        *notes,
        f"Reference: {table.reference.reason}.",
        f"Difference: model minus reference in {plan.suite.primary_for(table.asked.task)}. p: paired randomisation "
        f"test that flips whole {drawn}{largest} ({PERMUTATIONS:,} draws, two-sided), corrected by Holm for the "
        f"{count(table.comparisons, 'comparison')} of this table. d_z: mean difference in standard deviations of the "
        f"{'requests' if joint else 'users'}' differences.",
        *(power if ends else []),
    ]


def about_training(plan: Plan, tables: Sequence[Table]) -> list[str]:
    """Seeds, tuning, convergence, and ties where items are ranked."""
    models = {row.model.line: row.model for table in tables for row in table.rows}
    seeds = ", ".join(map(str, plan.suite.seeds))
    notes = [
        f"Training seed{'s' if len(plan.suite.seeds) > 1 else ''} {seeds}. Models that train in steps keep the step "
        "that is best on validation.",
        *about_tuning(list(models.values())),
    ]
    if plan.suite.refit:
        notes.append(
            "Refitted: once chosen, every model learned again from training and validation events together, for as "
            "many passes as validation had chosen; stopping and convergence are those of the first fit."
        )
    starved = [f"{model.title} (ended by {model.stopped})" for model in models.values() if not model.converged]
    if starved:
        notes.append(f"Not converged, more training may help: {', '.join(starved)}.")
    if any(isinstance(table.asked.answers, Answers) for table in tables):
        notes.append("Ties count against the model: candidates scored as high as the answer stand above it.")
    return notes


def absences(plan: Plan, models: Sequence[Model], failed: Mapping[str, str], missing: Mapping[str, str]) -> list[str]:
    """Which entries of the suite have no numbers, and why."""
    stored = {(model.name, cell.seed) for model in models for cell in model.cells}
    told: dict[tuple[str, str, str], list[str]] = {}
    for cell in plan.cells:
        # Those who share a fit have a line together.
        shared = digest(cell.spec) if cell.asking else cell.name
        if cell.name in failed:
            told.setdefault(("Failed", failed[cell.name], shared), []).append(cell.name)
        elif reason := cell.missing or missing.get(cell.name, ""):
            told.setdefault(("Not run", reason, shared), []).append(cell.name)
        elif (cell.entry.name, cell.seed) not in stored:
            named = f"{cell.name} ({cell.label})"
            told.setdefault(("Not run", "not in the store.", shared), []).append(named)
    return [f"{what}: {_some(names)}: {why}" for (what, why, _), names in told.items()]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more rows of its fit"
