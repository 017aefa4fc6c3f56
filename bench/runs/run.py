"""Running a suite: what the command line does, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.data import card_names
from bench.data.hashing import digest
from bench.errors import ModelError, UsageError
from bench.models import model_class
from bench.runs.cell import Job
from bench.runs.executors.local import Event, run_jobs
from bench.runs.plan import Cell, Plan, make_plan
from bench.runs.store import Store
from bench.runs.suite import Suite, load_suite

__all__ = ["Listener", "Outcome", "execute", "report_only", "run"]

Listener = Callable[[Cell, Event], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    plan : Plan
        Made after the run: its cells say what is stored.
    folder : Path
        Where the tables are.
    ran : int
        Cells run now; the others came from the store.
    missing : dict
        Cell name -> what the model lacks and how to get it.
    failed : dict
        Cell name -> folder with the traceback and the log.
    strict : bool
        Whether a missing input is a failure (the models were named by the user).
    """

    plan: Plan
    folder: Path
    ran: int = 0
    missing: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Path] = field(default_factory=dict)
    strict: bool = False

    def raise_failures(self) -> None:
        """Raise ModelError (exit code 4) if a model failed, or one that was asked for by name lacks something."""
        lines = [
            f"{', '.join(name for name, its in self.failed.items() if its == folder)} failed; the traceback and the "
            f"log are in {folder}"
            for folder in dict.fromkeys(self.failed.values())  # one for all who share a fit
        ]
        if self.strict:
            lines += [f"{name} was not run: {reason}" for name, reason in self.missing.items()]
        if lines:
            raise ModelError("\n".join(lines))


def run(
    suite: str | Suite,
    *,
    dataset: str | None = None,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    changes: Mapping[str, Any] | None = None,
    split: str | Path | None = None,
    tuned: str | Path | None = None,
    store: str | Path = "results/runs",
    results: str | Path = "results",
    device: str = "cpu",
    side_by_side: int = 1,
    listener: Listener | None = None,
) -> Outcome:
    """Run a suite, as ``bench run`` does.

    Parameters
    ----------
    suite : str or Suite
        A shipped suite's name, a YAML file, or a suite.
    dataset, models, seeds, changes, split, tuned
        As ``--dataset``, ``--models``, ``--seeds``, ``--set``, ``--split`` and ``--tuned``.
    store, results : path
        Where runs are kept and tables are written.
    device : str
    side_by_side : int
        Cells run at the same time; more than 1 spoils their costs.
    listener : callable, optional
        Told of each cell's progress.

    Returns
    -------
    Outcome
        Failures are in it; call ``raise_failures`` to turn them into an exception.
    """
    chosen = load_suite(suite) if isinstance(suite, str) else suite
    chosen = chosen.narrowed(
        dataset=dataset,
        models=None if models is None else list(models),
        seeds=None if seeds is None else list(seeds),
        changes=dict(changes or {}),
        split=None if split is None else Path(split),
        tuned=None if tuned is None else Path(tuned),
    )
    return execute(
        chosen,
        Store(Path(store)),
        Path(results),
        device=device,
        side_by_side=side_by_side,
        listener=listener,
        strict=models is not None,
    )


def execute(
    suite: Suite,
    store: Store,
    results: Path,
    *,
    device: str = "cpu",
    side_by_side: int = 1,
    listener: Listener | None = None,
    strict: bool = False,
) -> Outcome:
    """Run every cell that the store does not have, then write the tables if they are not there already.

    Failures are kept under ``attempts/`` and do not stop the other cells.
    """
    store.sweep()
    plan = make_plan(suite, store, device=device)
    cells = plan.to_do
    missing = {cell.name: cell.missing for cell in plan.cells if cell.missing}
    failed: dict[str, Path] = {}
    if cells:
        _run_cells(plan, cells, store, side_by_side, listener, missing, failed)
        plan = make_plan(suite, store, device=device)
    ran = sum(cell.name not in failed and cell.name not in missing for cell in cells)
    outcome = Outcome(plan, results / folder_name(suite, device), ran, missing, failed, strict)
    _write(outcome, store, fresh=False)
    return outcome


def report_only(suite: Suite, store: Store, results: Path, *, device: str = "cpu") -> Outcome:
    """Write a suite's tables from what is stored; what is not stored is named under them."""
    plan = make_plan(suite, store, device=device)
    missing = {cell.name: cell.missing or "not all of it is stored yet" for cell in plan.cells if not cell.done}
    if len(missing) == len(plan.cells):
        raise ModelError(f"nothing of suite {suite.name} is stored in {store.root}; `bench run --suite ...` runs it")
    outcome = Outcome(plan, results / folder_name(suite, device), 0, missing)
    _write(outcome, store, fresh=True)
    return outcome


def _run_cells(
    plan: Plan,
    cells: list[Cell],
    store: Store,
    side_by_side: int,
    listener: Listener | None,
    missing: dict[str, str],
    failed: dict[str, Path],
) -> None:
    """Run the cells; of those that share a fit the first one fits, and the others wait until it is stored."""
    leader: dict[str, Cell] = {}
    waiting = [cell for cell in cells if leader.setdefault(cell.key, cell) is not cell and not cell.cached]
    preload = sorted({module for cell in cells for module in model_class(cell.entry.model).preload})
    begun = 0

    def run_now(ready: list[Cell]) -> None:
        nonlocal begun
        jobs = [Job(plan.suite, store.root, plan.device, one.entry.name, one.seed, side_by_side > 1) for one in ready]
        events = run_jobs(jobs, preload=preload, side_by_side=side_by_side)
        try:
            for event in events:
                cell = ready[event.job]
                if event.kind == "failed":
                    failed[cell.name] = store.record_failure(cell.key, cell.spec, event.reason, event.log)
                elif event.kind == "missing":
                    missing[cell.name] = event.reason
                if listener is not None:
                    listener(cell, replace(event, job=begun + event.job))
        finally:
            events.close()
            store.sweep()
        begun += len(ready)

    run_now([cell for cell in cells if cell not in waiting])
    for cell in waiting:
        if not store.has_cell(cell.key):
            name = leader[cell.key].name
            outcome: dict[str, Any] = failed if name in failed else missing
            outcome[cell.name] = outcome[name]
    if ready := [cell for cell in waiting if store.has_cell(cell.key)]:
        run_now(ready)


def _write(outcome: Outcome, store: Store, *, fresh: bool) -> None:
    from bench.report import is_current, write_report

    failed, missing = outcome.failed, outcome.missing
    if fresh or not is_current(outcome.plan, store, outcome.folder, failed=failed, missing=missing):
        write_report(outcome.plan, store, outcome.folder, failed=failed, missing=missing)


def folder_name(suite: Suite, device: str = "cpu") -> str:
    """Name the folder of a suite's tables: what is not the shipped suite as it is never writes over its tables.

    Another shipped dataset is named; anything else (a suite or a dataset of one's own, changed settings, another
    device) adds a hash of all that was asked.
    """
    whole = digest({"suite": suite.model_dump(mode="json"), "device": device})[:8]
    try:
        shipped = load_suite(suite.name)
    except UsageError:
        return f"{suite.name}-{whole}"
    name = suite.name if suite.dataset == shipped.dataset else f"{suite.name}-{Path(suite.dataset).stem}"
    known = suite.dataset in card_names() and device == "cpu"
    return name if known and suite.narrowed() == shipped.narrowed(dataset=suite.dataset) else f"{name}-{whole}"
