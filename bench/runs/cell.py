"""One cell, inside its own process: fit (or load), then predict and count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl

from bench.metrics import Counts, parse
from bench.models import Recommender, Settings, model_class
from bench.runs.plan import Cell, Plan, make_plan, put_as, selected_on
from bench.runs.predict import Measured, measure, validation
from bench.runs.provenance import environment, timed
from bench.runs.refit import refit
from bench.runs.store import Store, read_json, write_json
from bench.runs.suite import Suite
from bench.tasks import Answers, RequestSet

__all__ = ["Job", "Report", "run_cell"]

Report = Callable[[str, int, int, str], None]
"""Called with a stage, how much of it is done, out of how much, and a note."""


@dataclass(frozen=True)
class Job:
    """What a worker process needs to run one cell."""

    suite: Suite
    store: Path
    device: str
    name: str
    seed: int
    shared_machine: bool = False

    def run(self, report: Report) -> None:
        """Run what is missing of the cell."""
        run_cell(self, report)


def run_cell(job: Job, report: Report) -> None:
    """Run what is missing of a cell; everything it makes is in the store when it returns.

    The plan is made again here rather than sent over: the keys must come out the same in both processes.
    """
    store = Store(job.store)
    plan = make_plan(job.suite, store, device=job.device)
    cell = next(cell for cell in plan.cells if cell.entry.name == job.name and cell.seed == job.seed)
    model = _load(store, cell, job) if cell.cached else _fit(store, plan, cell, job, report)
    for number, prediction in enumerate(cell.predictions):
        if not prediction.cached:
            _predict(store, plan, cell, number, model, job, report)
    report("predict", len(cell.predictions), len(cell.predictions), "")


def _load(store: Store, cell: Cell, job: Job) -> Recommender:
    model = model_class(cell.entry.model)
    return model.load(store.cell(cell.key) / "model", cell.entry.parsed_settings(), device=job.device)


def _fit(store: Store, plan: Plan, cell: Cell, job: Job, report: Report) -> Recommender:
    """Fit with all that only asks at its default, store, and make the model ready to be asked as the entry says."""
    fitting = cell.entry.parsed_settings().fitting()
    with store.unfinished(cell.key, lambda: report("fit", 0, 1, "waiting: another run fits it")) as scratch:
        if store.has_cell(cell.key):  # that other run has stored it
            return _load(store, cell, job)
        model, is_stored = _fit_and_store(store, plan, cell, fitting, scratch, job, report)
    if is_stored and fitting == cell.entry.parsed_settings():
        return model
    del model  # two of them may not fit into memory
    return _load(store, cell, job)


def _fit_and_store(
    store: Store, plan: Plan, cell: Cell, fitting: Settings, scratch: Path, job: Job, report: Report
) -> tuple[Recommender, bool]:
    """Fit and store; also says whether it is this fit that is stored."""
    suite = job.suite
    model = model_class(cell.entry.model)(fitting, device=job.device)
    metric, tasks = selected_on(plan.asked, model.capable(fitting).tasks)
    sets = [asked for asked in plan.sets if asked.task in tasks]
    validate = validation(sets, parse(metric), k=suite.depth, limit=suite.validation_requests)

    def progress(done: int, total: int, note: str = "") -> None:
        report("fit", done, total, note)

    def keep_below(name: str) -> None:
        model.scratch = scratch / name
        model.scratch.mkdir(exist_ok=True)

    resumed = any(path.is_file() for path in scratch.rglob("*"))
    progress(0, 1)
    with timed() as cost:
        keep_below("fit")
        fitted = model.fit(
            plan.split.training, validate=validate, budget=cell.entry.budget, seed=cell.seed, progress=progress
        )
        if suite.refit:
            keep_below("refit")
            fitted = refit(model, plan, fitted, budget=cell.entry.budget, seed=cell.seed, progress=progress)
    provenance = {**environment(), **cost, "shared_machine": job.shared_machine, "run": uuid4().hex}
    provenance |= {"resumed": True} if resumed else {}
    with store.writing(store.cell(cell.key)) as folder:
        write_json(folder / "spec.json", cell.spec)
        write_json(folder / "fit.json", {**asdict(fitted), "label": model.label(fitting)})
        write_json(folder / "provenance.json", provenance)
        write_json(folder / "about.json", about(plan, cell))
        (folder / "model").mkdir()
        model.save(folder / "model")
    # Where locks do not hold (some network file systems), another process may have stored the same cell first: its
    # predictions must all come from the fit that is stored.
    return model, read_json(store.cell(cell.key) / "provenance.json").get("run") == provenance["run"]


def about(plan: Plan, cell: Cell) -> dict[str, str]:
    """Readable names of what a cell's key hashes."""
    return {
        "name": cell.entry.name,
        "label": cell.label,
        "dataset": plan.split.dataset,
        "protocol": plan.split.protocol,
        "suite": plan.suite.name,
    }


def _predict(store: Store, plan: Plan, cell: Cell, number: int, model: Recommender, job: Job, report: Report) -> None:
    prediction = cell.predictions[number]
    asked = plan.set_named(prediction.name)

    def progress(done: int, total: int, note: str = "") -> None:
        report("predict", number * total + done, len(cell.predictions) * total, note or asked.name)

    progress(0, len(asked))
    with timed() as cost:
        found = measure(model, asked, k=job.suite.depth, progress=progress)
    with store.writing(store.prediction(cell.key, prediction.key)) as folder:
        write_json(folder / "spec.json", prediction.spec)
        if cell.asking:
            label = model.label(put_as(model.settings, model.capable(model.settings), asked.task))
            write_json(folder / "about.json", {"name": cell.entry.name, "label": label})
        write_json(folder / "provenance.json", {**environment(), **cost, "shared_machine": job.shared_machine})
        _measurements(plan, asked, found).write_parquet(folder / "measurements.parquet")
        if isinstance(found, Counts):
            _lists(plan, found).write_parquet(folder / "lists.parquet")


def _measurements(plan: Plan, asked: RequestSet, found: Measured) -> pl.DataFrame:
    users, items = plan.split.users["user_id"], plan.split.items["item_id"]
    item = asked.answers.item if isinstance(asked.answers, Answers) else asked.requests.item
    assert item is not None
    return pl.DataFrame(
        {
            "request": np.arange(len(asked), dtype=np.int32),
            "user_id": users[asked.requests.user],
            "item_id": items[item],
            **found.columns(),
        }
    )


def _lists(plan: Plan, counts: Counts) -> pl.DataFrame:
    items = plan.split.items["item_id"]
    place = np.arange(len(counts.top.values)) - np.repeat(counts.top.offsets[:-1], counts.top.lengths)
    return pl.DataFrame(
        {
            "request": counts.top.row_of.astype(np.int32),
            "rank": (place + 1).astype(np.int32),
            "item_id": items[counts.top.values],
            "score": counts.top_scores,
        }
    )
