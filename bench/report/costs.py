"""What the numbers cost: seconds, memory and parameters, in files of their own, for they are never the same twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report.grid import NOTHING, Block, Grid
from bench.report.grid import Cell as Place
from bench.runs.plan import Cell, Plan
from bench.runs.store import Store, read_json

__all__ = ["COLUMNS", "cost_grid", "cost_lines"]

COLUMNS = (
    "suite", "dataset", "model", "label", "seed", "stage", "set", "requests", "wall_s", "cpu_s", "peak_memory_mib",
    "parameters_trained", "parameters_total", "steps", "epochs", "stopped", "converged", "targets_per_second",
    "hours_of_original_schedule", "original_schedule", "device", "processor", "cores", "threads", "shared_machine",
    "code", "cell",
)  # fmt: skip


RESUMED = "fit, resumed"
"""The stage of a fit that went on from one that was cut off: its seconds are those of the last stretch."""


def cost_lines(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """One line a stored fit and a stored prediction, in the order of the plan."""
    lines, fitted = [], set[str]()
    for cell in plan.cells:
        if cell.key and store.has_cell(cell.key):
            if cell.key not in fitted:  # others may ask the same fit
                lines.append(_fit(plan, store, cell))
                fitted.add(cell.key)
            lines += [
                _prediction(plan, store, cell, prediction.name, prediction.key)
                for prediction in cell.predictions
                if store.has_prediction(cell.key, prediction.key)
            ]
    return lines


def _common(plan: Plan, cell: Cell, provenance: dict[str, Any]) -> dict[str, Any]:
    spent = ("wall_s", "cpu_s", "peak_memory_mib", "processor", "cores", "threads", "shared_machine", "code")
    return {
        "suite": plan.suite.name,
        "dataset": plan.split.dataset,
        "model": cell.entry.name,
        "label": cell.label,
        "seed": cell.seed,
        "device": plan.device,
        "cell": cell.key,
        **{name: provenance.get(name) for name in spent},
    }


def _fit(plan: Plan, store: Store, cell: Cell) -> dict[str, Any]:
    folder = store.cell(cell.key)
    fit, provenance = read_json(folder / "fit.json"), read_json(folder / "provenance.json")
    learned = ("parameters_trained", "parameters_total", "steps", "epochs", "stopped", "converged")
    return {
        **_common(plan, cell, provenance),
        **({"label": fit["label"]} if cell.asking else {}),
        "stage": RESUMED if provenance.get("resumed") else "fit",
        **{name: fit[name] for name in learned},
        **_schedule(fit["notes"].get("cost")),
    }


def _schedule(cost: dict[str, Any] | None) -> dict[str, Any]:
    """The rate of a model that tells it, and how long its original's schedule would take here, and took its authors."""
    if cost is None:
        return {}
    original = cost["original"]
    hours = ", ".join(
        f"{name} {hours:g} h" for name, hours in sorted(original["hours"].items(), key=lambda item: item[1])
    )
    told = f"{original['epochs']} passes: {hours} on {original['machine']} ({original['dataset']})"
    return {
        **{name: cost[name] for name in ("targets_per_second", "hours_of_original_schedule")},
        "original_schedule": told,
    }


def _prediction(plan: Plan, store: Store, cell: Cell, name: str, key: str) -> dict[str, Any]:
    provenance = read_json(store.prediction(cell.key, key) / "provenance.json")
    requests = len(plan.set_named(name))
    return {**_common(plan, cell, provenance), "stage": "predict", "set": name, "requests": requests}


def cost_grid(plan: Plan, lines: Sequence[dict[str, Any]]) -> Grid:
    """One row a fit: fitting, and predicting for all that ask it, averaged over its seeds."""
    rows = []
    fitted_by = {line["cell"]: line["model"] for line in lines if line["stage"] != "predict"}
    for name in dict.fromkeys(fitted_by.values()):
        own = [line for line in lines if fitted_by[line["cell"]] == name]
        fits, asked = (
            [line for line in own if line["stage"] != "predict"],
            [line for line in own if line["stage"] == "predict"],
        )
        requests = sum(line["requests"] for line in asked)
        answering = sum(line["wall_s"] for line in asked)
        rows.append(
            (
                Place(fits[0]["label"]),
                Place(f"{_mean(fits, 'wall_s'):,.1f}"),
                Place(f"{_mean(fits, 'cpu_s'):,.1f}"),
                Place(f"{answering / len(fits):,.1f}" if asked else NOTHING),
                Place(f"{sum(line['cpu_s'] for line in asked) / len(fits):,.1f}" if asked else NOTHING),
                Place(f"{1000 * answering / requests:.2f}" if requests else NOTHING),
                Place(f"{max(line['peak_memory_mib'] for line in own):,.0f}"),
                Place(f"{fits[0]['parameters_trained']:,}"),
                Place(f"{fits[0]['parameters_total']:,}"),
                Place(f"{_mean(fits, 'steps'):,.0f}"),
                Place(", ".join(sorted({line["stopped"] for line in fits}))),
                Place(", ".join(sorted({line["device"] for line in own}))),
                Place(", ".join(sorted({str(line["threads"] or NOTHING) for line in own}))),
            )
        )
    header = (
        "Model", "Fit, s", "Fit, CPU s", "Predict, s", "Predict, CPU s", "Predict, s per 1,000 requests",
        "Peak memory, MiB", "Parameters trained", "Parameters in total", "Steps", "Ended by", "Device", "Threads",
    )  # fmt: skip
    machines = sorted({f"{line['processor']}, {line['cores']} cores" for line in lines})
    notes = [f"Machine: {'; '.join(machines)}."] if lines else []
    if any(line["shared_machine"] for line in lines):
        notes.append("Cells ran side by side on a shared machine: their seconds are upper bounds.")
    if resumed := sorted({line["label"] for line in lines if line["stage"] == RESUMED}):
        notes.append(f"Went on from an interrupted fit, whose seconds are not counted: {', '.join(resumed)}.")
    notes += [
        f"{line['label']}: {line['targets_per_second']:,.0f} targets a second. The original's schedule would take this "
        f"network {line['hours_of_original_schedule']:.1f} h here; the original's own, {line['original_schedule']}."
        for line in lines
        if line.get("targets_per_second")
    ]
    notes.append(
        "Mean of the training seeds. Fit includes the validation that selects the kept step; predict takes all "
        "validation and test requests. Memory is the peak of the whole process. Threads: as OMP_NUM_THREADS set them."
    )
    title = f"{plan.suite.name}: costs on {plan.split.dataset}"
    return Grid(title, header, (Block("", tuple(rows)),), tuple(notes))


def _mean(lines: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(line[name] for line in lines) / len(lines))
