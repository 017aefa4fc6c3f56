"""Running a suite: what the command line does, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.models import model_class
from bench.runs.cell import Job
from bench.runs.executors.local import Event, run_jobs
from bench.runs.plan import Cell, Plan, make_plan
from bench.runs.store import Store
from bench.runs.suite import Suite

__all__ = ["Outcome", "run_suite"]

Listener = Callable[[Cell, Event], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    plan : Plan
        Made again after the run: its cells say what is now stored.
    ran : int
        Cells run now; the others came from the store.
    missing : dict
        Cell name -> what the model lacks and how to get it.
    failed : dict
        Cell name -> folder with the traceback and the log.
    """

    plan: Plan
    ran: int
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Path] = field(default_factory=dict)


def run_suite(
    suite: Suite, store: Store, *, device: str = "cpu", side_by_side: int = 1, listener: Listener | None = None
) -> Outcome:
    """Run every cell of ``suite`` that the store does not have yet.

    Failures are kept under ``attempts/`` and do not stop the other cells.
    """
    store.sweep()
    plan = make_plan(suite, store, device=device)
    cells = plan.to_do
    missing = {_name(cell, suite): cell.missing for cell in plan.cells if cell.missing}
    if not cells:
        return Outcome(plan, 0, missing)
    jobs = [Job(suite, store.root, device, cell.entry.name, cell.seed, side_by_side > 1) for cell in cells]
    preload = sorted({module for cell in cells for module in model_class(cell.entry.model).preload})
    failed: dict[str, Path] = {}
    events = run_jobs(jobs, pythons=[cell.entry.python for cell in cells], preload=preload, side_by_side=side_by_side)
    try:
        for event in events:
            cell = cells[event.job]
            if event.kind == "failed":
                failed[_name(cell, suite)] = store.record_failure(cell.key, cell.spec, event.reason, event.log)
            elif event.kind == "missing":
                missing[_name(cell, suite)] = event.reason
            if listener is not None:
                listener(cell, event)
    finally:
        events.close()
        store.sweep()
    after = make_plan(suite, store, device=device)
    return Outcome(after, len(cells) - len(failed), missing, failed)


def _name(cell: Cell, suite: Suite) -> str:
    return cell.entry.name if len(suite.seeds) == 1 else f"{cell.entry.name} (seed {cell.seed})"
