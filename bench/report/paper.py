"""The "paper" column beside "ours": published figures next to this run's, where both answer the same question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.published import PublishedTable
from bench.report import notes, wording
from bench.report.grid import NOTHING, Block, Cell, Grid, interval, number, percent, signed
from bench.report.sources import sources
from bench.report.values import Row, Table
from bench.runs.plan import Plan
from bench.tasks import Answers

__all__ = ["COLUMNS", "Beside", "beside", "paper_grids", "paper_lines", "source_notes"]

COLUMNS = (
    "suite", "dataset", "split", "task", "quadrant", "pool", "metric", "published_as", "source", "year", "paper",
    "model", "label", "block", "ours", "low", "high", "difference", "coverage", "seeds",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Beside:
    """One model: as published, as run here, or both.

    Attributes
    ----------
    published_as : str
        What the source calls the model; empty where nobody published figures.
    source : PublishedTable or None
    figures : mapping of str to float
        Metric -> what the source prints.
    row : Row or None
        The same model in this run; ``None`` where it was not run.
    """

    published_as: str
    source: PublishedTable | None
    figures: Mapping[str, float]
    row: Row | None

    def ours(self, metric: str) -> float | None:
        """The mean of this run; ``None`` where the model was not run or served nothing."""
        return self.row.mean(metric) if self.row is not None and self.row.served else None

    def difference(self, metric: str) -> float | None:
        """Ours minus paper, where there are both."""
        ours, paper = self.ours(metric), self.figures.get(metric)
        return None if ours is None or paper is None else ours - paper

    @property
    def label(self) -> str:
        """What the model is called here."""
        if self.row is None:
            return NOTHING
        model = self.row.model
        return model.label if model.block == "main" else f"{model.label} ({model.block})"


def beside(plan: Plan, table: Table) -> list[Beside]:
    """Everything comparable on one test set: the models of the run in its order, then those that were not run."""
    published = [
        (source, name, figures)
        for source in sources(plan, table.asked)
        for name, figures in source.of(plan.split.dataset).items()
    ]
    lines: list[Beside] = []
    if not published:
        return lines
    run = set()
    for row in table.rows:
        entry_point = row.model.cells[0].entry.model
        run.add(entry_point)
        own = [
            Beside(name, source, figures, row)
            for source, name, figures in published
            if entry_point in source.models[name]
        ]
        lines += own or [Beside("", None, {}, row)]
    lines += [
        Beside(name, source, figures, None) for source, name, figures in published if not run & {*source.models[name]}
    ]
    return lines


def _metrics(plan: Plan, table: Table) -> list[str]:
    """What both the sources and this run measure, in the order of the sources."""
    asked = {*plan.suite.metrics_for(table.asked.task), plan.suite.primary_for(table.asked.task)}
    named = dict.fromkeys(metric for source in sources(plan, table.asked) for metric in source.metrics)
    return [metric for metric in named if metric in asked]


def paper_grids(plan: Plan, tables: Iterable[Table], *, command: str) -> list[Grid]:
    """Two grids a test set of which something is published: all at a glance, and what stands on both sides.

    ``command`` made the figures of this run.
    """
    grids = []
    for table in tables:
        lines, metrics = beside(plan, table), _metrics(plan, table)
        if not lines or not metrics:
            continue
        about = f"{table.asked.task} on {plan.split.dataset}{_ranking(table)}"
        title = f"Published and ours: {about}"
        grids.append(_glance(title, lines, metrics, _notes(plan, table, command)))
        if any(line.difference(metric) is not None for line in lines for metric in metrics):
            grids.append(_differences(f"Ours minus published: {about}", lines, metrics))
    return grids


def _ranking(table: Table) -> str:
    return f", ranking {wording.pool(table.asked)}" if isinstance(table.asked.answers, Answers) else ""


def _glance(title: str, lines: Sequence[Beside], metrics: Sequence[str], said: Sequence[str]) -> Grid:
    header = (
        "Model",
        "Source",
        "Run here as",
        *(f"{metric}: {side}" for metric in metrics for side in ("paper", "ours")),
    )
    parts = {
        "Run here": [line for line in lines if line.row is not None],
        "Not run here": [line for line in lines if line.row is None],
    }
    blocks = tuple(
        Block(heading, tuple((*_named(line), *_pairs(line, metrics)) for line in part))
        for heading, part in parts.items()
        if part
    )
    return Grid(title, header, blocks, tuple(said))


def _named(line: Beside) -> tuple[Cell, ...]:
    source = NOTHING if line.source is None else line.source.short
    return Cell(line.published_as or line.label), Cell(source), Cell(line.label)


def _pairs(line: Beside, metrics: Sequence[str]) -> Iterator[Cell]:
    for metric in metrics:
        yield _number(line.figures.get(metric))
        yield _number(line.ours(metric))


def _number(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else number(value))


def _differences(title: str, lines: Sequence[Beside], metrics: Sequence[str]) -> Grid:
    header = ("Model", "Source", "Run here as", "Paper", "Ours", "Ours: 95%", "Ours - paper")
    blocks = {
        metric: tuple(_apart(line, metric) for line in lines if line.difference(metric) is not None)
        for metric in metrics
    }
    said = (
        "Ours - paper is no test: published figures come without intervals, from other code, tuning and seeds.",
        "[43%]: share of the requests that the model can answer, where it is not all of them.",
    )
    return Grid(title, header, tuple(Block(metric, rows) for metric, rows in blocks.items() if rows), said)


def _apart(line: Beside, metric: str) -> tuple[Cell, ...]:
    row, ours, difference = line.row, line.ours(metric), line.difference(metric)
    assert row is not None
    assert ours is not None
    assert difference is not None
    found = row.intervals[metric]
    return (
        *_named(line),
        _number(line.figures[metric]),
        Cell(number(ours), suffix="" if row.coverage == 1 else f"[{percent(row.coverage)}]"),
        Cell(interval(found.low, found.high)),
        Cell(signed(difference)),
    )


def _notes(plan: Plan, table: Table, command: str) -> list[str]:
    masks = isinstance(table.asked.answers, Answers)
    return [
        f"Ours was made by: {command}",
        "Paper: the figure as its source prints it. Only figures of the same data set, held-out events, task, "
        f"candidates and metric stand here. {NOTHING}: not published, or not run here. The sources stand at the end.",
        *(["Ours masks every item that a user had met, for all models alike."] if masks else []),
        *notes.about_data(plan),
        *notes.about_training(plan, [table]),
    ]


def source_notes(plan: Plan, tables: Iterable[Table]) -> list[str]:
    """A note a source: where its figures come from, how they were made, and what to know before comparing."""
    return [
        f"{source.short}, {source.task}{f' 1 of {source.negatives + 1}' if source.negatives else ''}: "
        + " ".join((f"{source.source}.", source.setup, *source.caveats_of(plan.split.dataset)))
        for table in tables
        for source in sources(plan, table.asked)
        if {*_metrics(plan, table)} & {*source.metrics}
    ]


def paper_lines(plan: Plan, tables: Iterable[Table]) -> list[dict[str, Any]]:
    """The same in long form, every digit kept: a line a model and metric that either side has."""
    return [
        _long(plan, table, line, metric)
        for table in tables
        for metric in _metrics(plan, table)
        for line in beside(plan, table)
        if metric in line.figures or line.ours(metric) is not None
    ]


def _long(plan: Plan, table: Table, line: Beside, metric: str) -> dict[str, Any]:
    asked, source, row = table.asked, line.source, line.row
    long: dict[str, Any] = {
        "suite": plan.suite.name,
        "dataset": plan.split.dataset,
        "split": plan.split.identity[:12],
        "task": asked.task,
        "quadrant": asked.quadrant,
        "pool": asked.pool,
        "metric": metric,
        "published_as": line.published_as,
        "paper": line.figures.get(metric),
        "ours": line.ours(metric),
        "difference": line.difference(metric),
    }
    if source is not None:
        long |= {"source": source.short, "year": source.year}
    if row is not None:
        long |= {"model": row.model.name, "label": row.model.label, "block": row.model.block}
        long |= {"coverage": row.coverage, "seeds": row.seeds}
        if row.served:
            long |= {"low": row.intervals[metric].low, "high": row.intervals[metric].high}
    return long
