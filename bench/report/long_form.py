"""The tables as one long CSV: a line per request set, model and metric, every digit kept."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any

from bench.report.values import Row, Table
from bench.runs.plan import Plan

__all__ = ["COLUMNS", "long_form", "write_csv"]

COLUMNS = (
    "suite", "dataset", "split", "task", "quadrant", "shots", "pool", "model", "metric", "mean", "low", "high", "p",
    "p_holm", "effect", "units", "coverage", "seeds", "converged", "label", "block", "unit", "requests", "reference",
    "difference", "difference_low", "difference_high", "mean_ties_expected", "seed_spread", "p_t", "p_wilcoxon", "win",
    "tie", "loss", "smallest_detectable", "stopped", "tuning",
)  # fmt: skip


def long_form(plan: Plan, tables: Iterable[Table]) -> str:
    """Every mean with its interval; tests for the primary metric; cells that do not apply are empty."""
    lines = [line for table in tables for row in table.rows for line in _lines(plan, table, row)]
    return write_csv(COLUMNS, lines)


def write_csv(columns: Iterable[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """CSV text; floats as Python writes them, ``None`` and NaN as nothing."""
    out = StringIO()
    writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({name: _plain(value) for name, value in line.items()})
    return out.getvalue()


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _lines(plan: Plan, table: Table, row: Row) -> Iterator[dict[str, Any]]:
    asked = table.asked
    same = {
        "suite": plan.suite.name,
        "dataset": plan.split.dataset,
        "split": plan.split.identity[:12],
        "task": asked.task,
        "quadrant": asked.quadrant,
        "shots": asked.shots,
        "pool": asked.pool,
        "model": row.model.name,
        "units": table.units,
        "coverage": row.coverage,
        "seeds": row.seeds,
        "converged": row.model.converged,
        "label": row.model.label,
        "block": row.model.block,
        "unit": asked.unit,
        "requests": len(asked),
        "stopped": row.model.stopped,
        "tuning": row.model.tuning,
    }
    primary = plan.suite.primary_for(asked.task)
    for metric in dict.fromkeys((*plan.suite.metrics_for(asked.task), primary)):
        line: dict[str, Any] = {**same, "metric": metric}
        if metric in row.intervals:
            found = row.intervals[metric]
            line |= {
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "seed_spread": found.seed_spread,
                "mean_ties_expected": row.ties_expected[metric],
            }
        if metric == primary and row.comparison is not None:
            line |= _tests(table, row)
        yield line


def _tests(table: Table, row: Row) -> dict[str, Any]:
    found = row.comparison
    assert found is not None
    if row.model.name == table.reference.name:
        return {"reference": table.reference.name}
    return {
        "reference": table.reference.name,
        "p": found.p,
        "p_holm": found.p_corrected,
        "effect": found.effect,
        "difference": found.difference,
        "difference_low": found.diff_low,
        "difference_high": found.diff_high,
        "p_t": found.p_t,
        "p_wilcoxon": found.p_wilcoxon,
        "win": found.win,
        "tie": found.tie,
        "loss": found.loss,
        "smallest_detectable": found.mde,
    }
