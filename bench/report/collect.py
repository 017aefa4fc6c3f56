"""From the run store to the tables of a report: which models, which reference, which tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.metrics import RankMetric, parse
from bench.models import model_class
from bench.report.families import joined, spokesmen
from bench.report.measures import coverage, unit_mean, units_of, values_of
from bench.report.tuning import tuning_of
from bench.report.values import Model, Reference, Row, Table
from bench.runs.plan import Plan
from bench.runs.store import Store, read_json
from bench.stats import Comparison, Interval, Units, compare_all, intervals
from bench.tasks import RequestSet

__all__ = ["LEVEL", "PERMUTATIONS", "REPLICATES", "collect", "measured_on", "stored_models"]

PERMUTATIONS = 10_000
REPLICATES = 2_000
LEVEL = 0.95

Measured = dict[str, list[pl.DataFrame]]
"""Per model name the measurements under each seed."""


def stored_models(plan: Plan, store: Store) -> list[Model]:
    """Every entry of the suite with at least one stored fit, in the order of the suite."""
    found = []
    for entry in plan.entries:
        cells = tuple(cell for cell in plan.cells if cell.entry.name == entry.name and store.has_cell(cell.key))
        if cells:
            fits = tuple(read_json(store.cell(cell.key) / "fit.json") for cell in cells)
            side = model_class(entry.model).side
            found.append(Model(entry.name, cells[0].label, entry.block, side, cells, fits, tuning_of(entry)))
    labels = Counter(model.label for model in found)
    return joined(
        [
            model if labels[model.label] == 1 else replace(model, label=f"{model.label} [{model.name}]")
            for model in found
        ]
    )


def collect(plan: Plan, store: Store) -> list[Table]:
    """One table a test set, in the order of the split; of the prompts of one fit, one has a row."""
    models = stored_models(plan, store)
    return [_table(asked, plan, store, models) for asked in plan.sets if asked.part == "test"]


def measured_on(name: str, store: Store, models: Sequence[Model]) -> Measured:
    """What is stored of the models' answers to the request set called ``name``."""
    measured: Measured = {}
    for model in models:
        frames = [
            store.measurements(cell.key, prediction.key)
            for cell in model.cells
            for prediction in cell.predictions
            if prediction.name == name and store.has_prediction(cell.key, prediction.key)
        ]
        if frames:
            measured[model.name] = frames
    return measured


def _table(asked: RequestSet, plan: Plan, store: Store, models: Sequence[Model]) -> Table:
    primary = plan.suite.primary_for(asked.task)
    metrics = list(dict.fromkeys((primary, *plan.suite.metrics_for(asked.task))))
    measured = measured_on(asked.name, store, models)
    models = spokesmen(models, asked, [name for name, frames in measured.items() if coverage(frames) > 0])
    measured = {model.name: measured[model.name] for model in models if model.name in measured}
    absent = tuple(model.title for model in models if model.name not in measured)
    if not measured:
        return Table(asked, "", (), Reference(None, "nothing has been asked yet"), absent)
    some = next(iter(measured.values()))[0]
    metrics = [metric for metric in metrics if parse(metric).defined(some)]
    if primary not in metrics:
        return Table(asked, "", (), Reference(None, f"{primary} does not exist for these requests"), absent)
    units = units_of(asked.unit, some)
    values = {
        name: {metric: values_of(metric, frames) for metric in metrics}
        for name, frames in measured.items()
        if coverage(frames) > 0
    }
    ranked = [model for model in models if model.name in values and model.block == "main"]
    reference = _reference(asked, plan, store, ranked)
    compared: dict[str, Comparison] = {}
    if reference.name is not None:
        rows = compare_all(
            {model.name: values[model.name][primary] for model in ranked},
            units,
            reference=reference.name,
            higher_is_better=parse(primary).higher_is_better,
            replicates=REPLICATES,
            permutations=PERMUTATIONS,
            level=LEVEL,
        )
        compared = {row.model: row for row in rows}
    found = _intervals(values, units, primary)
    return Table(
        asked,
        str(units),
        tuple(
            _row(
                model,
                measured[model.name],
                units,
                values.get(model.name, {}),
                found.get(model.name, {}),
                compared.get(model.name),
            )
            for model in models
            if model.name in measured
        ),
        reference,
        absent,
    )


def _intervals(
    values: Mapping[str, Mapping[str, NDArray[np.float64]]], units: Units, primary: str
) -> dict[str, dict[str, Interval]]:
    """Intervals per model and metric, all from the same replicates."""
    # The draw of seeds depends on an entry's name: the primary metric goes by the model's alone, as in a comparison.
    names = {
        (model, metric): model if metric == primary else f"{model} {metric}"
        for model, of_model in values.items()
        for metric in of_model
    }
    entries = {name: values[model][metric] for (model, metric), name in names.items()}
    drawn = intervals(entries, units, replicates=REPLICATES, level=LEVEL)
    for (_, metric), name in names.items():
        if parse(metric).descriptive:
            drawn[name] = replace(drawn[name], low=np.nan, high=np.nan, standard_error=np.nan)
    return {model: {metric: drawn[names[model, metric]] for metric in of_model} for model, of_model in values.items()}


def _row(
    model: Model,
    frames: Sequence[pl.DataFrame],
    units: Units,
    values: Mapping[str, NDArray[np.float64]],
    found: Mapping[str, Interval],
    comparison: Comparison | None,
) -> Row:
    # Texts take their time to score, and only ranks can tie.
    expected = {
        metric: unit_mean(
            values_of(metric, frames, expected=True) if isinstance(parse(metric), RankMetric) else own, units
        )
        for metric, own in values.items()
    }
    return Row(model, coverage(frames), len(frames), found, expected, comparison)


def _reference(asked: RequestSet, plan: Plan, store: Store, ranked: Sequence[Model]) -> Reference:
    """The classic model that is best on the matching validation set."""
    classics = [model for model in ranked if model.side == "classic"]
    if not classics:
        return Reference(None, "no classic model serves this set, so nothing is tested")
    twin = asked.name.replace("test/", "valid/", 1)
    if twin not in {other.name for other in plan.sets}:
        return Reference(None, "there is no matching validation set to choose one on, so nothing is tested")
    measured = measured_on(twin, store, classics)
    measured = {name: frames for name, frames in measured.items() if coverage(frames) > 0}
    if not measured:
        return Reference(None, "no classic model serves the matching validation set, so nothing is tested")
    metric = plan.suite.primary_for(asked.task)
    units: Units = units_of(plan.set_named(twin).unit, next(iter(measured.values()))[0])
    sign = 1 if parse(metric).higher_is_better else -1
    reached = {name: unit_mean(values_of(metric, frames), units) for name, frames in measured.items()}
    best = max(reached, key=lambda name: sign * reached[name])
    labels = {model.name: model.label for model in classics}
    order = sorted(reached, key=lambda name: -sign * reached[name])
    listed = ", ".join(f"{labels[name]} {reached[name]:.4f}" for name in order)
    return Reference(best, f"{labels[best]}, the best classic model by {metric} on validation ({listed})")
