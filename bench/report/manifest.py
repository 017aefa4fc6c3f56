"""What a report was made from, and whether it still says what the store says.

Nothing here imports the statistics: looking whether a report is current must cost next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.hashing import digest, file_sha256
from bench.metrics import TEXT_LIBRARIES
from bench.report.costs import cost_lines
from bench.report.sources import sources
from bench.report.tuning import tuning_of
from bench.runs.plan import library_versions
from bench.tasks import TEXT_TASKS

if TYPE_CHECKING:
    from bench.runs.plan import Plan
    from bench.runs.store import Store

__all__ = ["MANIFEST", "VERSION", "Failures", "command", "is_current", "make_manifest", "reasons"]

VERSION = "3"
"""Raised whenever the same store would give another report."""

MANIFEST = "manifest.json"

Failures = Mapping[str, str] | Mapping[str, Path]
"""Cell name -> why it failed, or the folder with its traceback."""

_LIBRARIES = ("matplotlib", "numpy", "polars", "scipy", "statsmodels", "tabulate")


def reasons(failed: Failures) -> dict[str, str]:
    """Why each cell failed: the last line of its traceback where a folder is given."""
    return {
        name: found if isinstance(found, str) else _last_line(found / "traceback.txt") for name, found in failed.items()
    }


def _last_line(trace: Path) -> str:
    lines = trace.read_text(encoding="utf-8").strip().splitlines() if trace.is_file() else []
    return lines[-1].strip() if lines else "no traceback was kept"


def _key(plan: Plan, store: Store, failed: Mapping[str, str], missing: Mapping[str, str]) -> str:
    """Digest of everything a report is made from, costs included."""
    texts = any(asked.task in TEXT_TASKS for asked in plan.sets)
    return digest(
        {
            "report": VERSION,
            "libraries": library_versions((*_LIBRARIES, *(TEXT_LIBRARIES if texts else ()))),
            "suite": plan.suite.model_dump(mode="json"),
            "tuning": [tuning_of(entry) for entry in plan.suite.models],
            "split": [plan.split.dataset, plan.split.protocol, plan.split.identity, *plan.split.notes],
            "sets": [asked.identity for asked in plan.sets],
            "cells": _cells(plan, store),
            "costs": cost_lines(plan, store),
            "published": [table.model_dump(mode="json") for asked in plan.sets for table in sources(plan, asked)],
            "failed": dict(failed),
            "missing": dict(missing),
        }
    )


def _cells(plan: Plan, store: Store) -> list[dict[str, Any]]:
    return [
        {
            "model": cell.entry.name,
            "label": cell.label,
            "seed": cell.seed,
            "cell": cell.key if cell.key and store.has_cell(cell.key) else None,
            "model_version": cell.spec["model_version"],
            "missing": cell.missing,
            "predictions": {
                prediction.name: prediction.key
                for prediction in cell.predictions
                if store.has_prediction(cell.key, prediction.key)
            },
        }
        for cell in plan.cells
    ]


def command(plan: Plan, folder: Path) -> str:
    """What makes the report in ``folder`` again, from the suite that is kept beside it."""
    device = "" if plan.device == "cpu" else f" --device {plan.device}"
    return f"bench run --suite results/{folder.name}/suite.yaml{device}"


def make_manifest(
    plan: Plan,
    store: Store,
    folder: Path,
    files: Iterable[Path],
    *,
    failed: Mapping[str, str],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """Describe a report whose files are written; free of times and paths of this machine."""
    return {
        "report_version": VERSION,
        "report_key": _key(plan, store, failed, missing),
        "command": command(plan, folder),
        "suite": plan.suite.model_dump(mode="json"),
        "device": plan.device,
        "split": {
            "dataset": plan.split.dataset,
            "protocol": plan.split.protocol,
            "identity": plan.split.identity,
            "notes": list(plan.split.notes),
        },
        "sets": [
            {"name": asked.name, "identity": asked.identity, "unit": asked.unit, "requests": len(asked)}
            for asked in plan.sets
        ],
        "cells": _cells(plan, store),
        "failed": dict(failed),
        "missing": dict(missing),
        "files": {path.name: file_sha256(path) for path in files},
    }


def is_current(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    failed: Failures | None = None,
    missing: Mapping[str, str] | None = None,
) -> bool:
    """Whether ``folder`` holds the report of this plan and store, with no file missing or changed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {folder / name: sha256 for name, sha256 in manifest["files"].items()}
        made_from = manifest["report_key"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
    if any(not path.is_file() or file_sha256(path) != sha256 for path, sha256 in files.items()):
        return False
    return bool(made_from == _key(plan, store, reasons(failed or {}), missing or {}))
