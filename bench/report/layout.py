"""Which columns a reader gets, and what is bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.metrics import parse
from bench.report import notes, wording
from bench.report.grid import NOTHING, Block, Cell, Grid, Mark, interval, number, p_value, percent, signed
from bench.report.values import Model, Row, Table
from bench.runs.plan import Plan

__all__ = ["detail", "main_tables", "shown_metrics"]

SMOKE = "smoke-trained"


def shown_metrics(metrics: Sequence[str]) -> list[str]:
    """The metrics worth a column: at rank 1 all are the hit rate; of MRR only the deepest. The CSV has all."""
    if len(metrics) <= 6:
        return list(metrics)
    parsed = {metric: parse(metric) for metric in metrics}
    deepest = max((measure.k for measure in parsed.values() if measure.name == "MRR"), default=0)
    return [
        metric
        for metric, measure in parsed.items()
        if measure.k == 0 or measure.name == "HR" or (measure.k > 1 and (measure.name != "MRR" or measure.k == deepest))
    ]


def main_tables(plan: Plan, tables: Sequence[Table], absent: Sequence[str]) -> list[Grid]:
    """The suite's primary metric at a glance: one table, or one a task where columns would be too many."""
    chosen = _at_a_glance(tables)

    def key(table: Table) -> str:
        """Columns of one metric stand together, unless there are too many."""
        task = table.asked.task
        return plan.suite.primary_for(task) if len(chosen) <= 6 else task

    groups = [[table for table in chosen if key(table) == which] for which in dict.fromkeys(map(key, chosen))]
    return [_main(plan, group, absent, leaves_out=len(chosen) < len(tables)) for group in groups]


def _at_a_glance(tables: Sequence[Table]) -> list[Table]:
    """All test sets, but of cold users with cold items only the most shots, among the cold items."""
    both = [table.asked for table in tables if table.asked.quadrant == "cold-cold"]
    shots = max((asked.shots or 0 for asked in both), default=0)
    pool = "cold" if any(asked.pool == "cold" for asked in both) else both[0].pool if both else ""
    return [
        table
        for table in tables
        if table.asked.quadrant != "cold-cold" or ((table.asked.shots or 0) == shots and table.asked.pool == pool)
    ]


def _main(plan: Plan, tables: Sequence[Table], absent: Sequence[str], *, leaves_out: bool) -> Grid:
    asked = [table.asked for table in tables]
    primary = plan.suite.primary_for(asked[0].task)
    headings = [wording.column(one, asked) for one in asked]
    columns = []
    for table in tables:
        values = _best_in_bold(table.rows, primary)
        columns.append({row.model.line: _glance(row, table, values[row.model.name]) for row in table.rows})
    models = {row.model.line: row.model for table in tables for row in table.rows}
    ordered = [models[entry.name] for entry in plan.entries if entry.name in models]
    rows = {
        model.name: (Cell(model.title), *(column.get(model.line, Cell("")) for column in columns)) for model in ordered
    }
    references = [row.model.title for table in tables for row in table.rows if row.model.name == table.reference.name]
    said = notes.legend(primary, list(dict.fromkeys(references)), asked[0].answers)
    untested = [heading for heading, table in zip(headings, tables, strict=True) if table.reference.name is None]
    if untested:
        said.append(f"Without a reference, and so untested: {'; '.join(untested)}.")
    if leaves_out:
        said.append("Both cold: the other k, and the ranking among all items, stand in the tables below.")
    said += [
        *notes.about_requests(tables),
        *notes.about_prompts(tables),
        *notes.about_data(plan),
        *notes.about_training(plan, tables),
        *absent,
    ]
    only = f" ({wording.task(asked[0].task)})" if len({one.task for one in asked}) == 1 else ""
    heading = f"{plan.suite.name}: {primary} on {plan.split.dataset}{only}"
    return Grid(heading, ("Model", *headings), _blocks(ordered, rows), tuple(said))


def _glance(row: Row, table: Table, value: Cell) -> Cell:
    return Cell(value.text, value.bold, _mark(row, table), "" if row.coverage == 1 else f"[{percent(row.coverage)}]")


def detail(plan: Plan, table: Table, absent: Sequence[str]) -> Grid:
    """One test set with its metrics, intervals, tests and coverage."""
    task = table.asked.task
    rows, tested = table.rows, table.comparisons > 0
    # Some do not exist for every set: diversity needs two texts, say.
    served = [row for row in rows if row.served]
    exist = [name for name in plan.suite.metrics_for(task) if all(name in row.intervals for row in served)]
    primary, metrics = plan.suite.primary_for(task), shown_metrics(exist)
    ties_matter = any(number(row.ties_expected[primary]) != number(row.mean(primary)) for row in served)
    header = ["Model", *metrics, f"{primary}: 95%"]
    header += [f"{primary}, ties expected"] if ties_matter else []
    header += ["Difference", "Difference: 95%", "p (Holm)", "d_z"] if tested else []
    header += ["Coverage", "Seeds", "Converged"]

    values = {metric: _best_in_bold(rows, metric) for metric in metrics}
    filled = {}
    for row in rows:
        name, own = row.model.name, row.intervals.get(primary)
        cells = [Cell(row.model.label), *(values[metric][name] for metric in metrics)]
        if primary in metrics:
            place = 1 + metrics.index(primary)
            cells[place] = replace(cells[place], mark=_mark(row, table))
        cells.append(Cell(interval(own.low, own.high) if own else NOTHING))
        if ties_matter:
            cells.append(Cell(number(row.ties_expected[primary]) if own else NOTHING))
        if tested:
            cells += _against_reference(row, table)
        cells += [Cell(percent(row.coverage)), Cell(_seeds(row, plan, primary)), Cell(_converged(row.model))]
        filled[name] = tuple(cells)

    said = [
        *wording.shown(task),
        *notes.about_requests([table]),
        *notes.about_tests(plan, table),
        *notes.about_metrics(metrics),
        *notes.about_prompts([table]),
        *notes.about_data(plan),
        *notes.about_training(plan, [table]),
    ]
    partial = [f"{row.model.label} {percent(row.coverage)}" for row in rows if 0 < row.coverage < 1]
    if partial:
        counted = notes.UNSERVED[type(table.asked.answers)].removesuffix(" there is")
        said.append(f"Served in part, the unanswered requests counted as {counted}: {', '.join(partial)}.")
    if table.asked.requests.candidates is not None:
        said.append(notes.SAMPLED)
    if table.absent:
        said.append(f"Does not do the {table.asked.task} task, or was not asked yet: {', '.join(table.absent)}.")
    blocks = _blocks([row.model for row in rows], filled)
    return Grid(wording.title(table.asked), tuple(header), blocks, (*said, *absent))


def _against_reference(row: Row, table: Table) -> list[Cell]:
    """Difference, its interval, p and d_z."""
    if row.comparison is None:
        return [Cell(NOTHING)] * 4
    if row.model.name == table.reference.name:
        return [Cell("reference"), *[Cell(NOTHING)] * 3]
    found = row.comparison
    apart = interval(found.diff_low, found.diff_high, sign=True)
    return [
        Cell(signed(found.difference)),
        Cell(apart),
        Cell(p_value(found.p_corrected)),
        Cell(signed(found.effect, 2)),
    ]


def _seeds(row: Row, plan: Plan, primary: str) -> str:
    """``3 (sd 0.0012)``; ``2 of 3`` where one is missing."""
    asked = len(plan.suite.seeds)
    text = str(row.seeds) if row.seeds == asked else f"{row.seeds} of {asked}"
    return f"{text} (sd {number(row.intervals[primary].seed_spread)})" if row.served and row.seeds > 1 else text


def _converged(model: Model) -> str:
    if not model.converged:
        return f"no ({model.stopped})"
    return model.stopped if model.stopped == "closed form" else "yes"


def _blocks(models: Sequence[Model], rows: Mapping[str, tuple[Cell, ...]]) -> tuple[Block, ...]:
    main = tuple(rows[model.name] for model in models if model.block == "main")
    smoke = tuple(rows[model.name] for model in models if model.block != "main")
    return tuple(Block(heading, block) for heading, block in (("", main), (SMOKE, smoke)) if block)


def _best_in_bold(rows: Sequence[Row], metric: str) -> dict[str, Cell]:
    """Per model its number; bold are all that print the best one of the main block."""
    higher = parse(metric).higher_is_better
    reached = [row.mean(metric) for row in rows if row.ranked]
    best = number((max if higher else min)(reached, default=0.0))
    cells = {}
    for row in rows:
        text = number(row.mean(metric)) if row.served else NOTHING
        cells[row.model.name] = Cell(text, bold=row.ranked and text == best and (not higher or float(best) > 0))
    return cells


def _mark(row: Row, table: Table) -> Mark:
    if row.comparison is None:
        return ""
    if row.model.name == table.reference.name:
        return "reference"
    if row.comparison.p_corrected < notes.ALPHA and row.comparison.better is not None:
        return "better" if row.comparison.better else "worse"
    return ""
