"""What a person sees of a plan and of a running suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.runs.executors.local import Event
    from bench.runs.plan import Cell, Plan
    from bench.runs.run import Listener

__all__ = ["follow", "show_plan"]


def show_plan(plan: Plan) -> None:
    """Print the cells with what is stored of each."""
    from tabulate import tabulate

    from bench.tasks import grouped

    rows = []
    for cell in plan.cells:
        stored = sum(prediction.cached for prediction in cell.predictions)
        fit = "cannot run" if cell.missing else "stored" if cell.cached else "to do"
        rows.append([cell.entry.name, cell.label, cell.seed, fit, f"{stored}/{len(cell.predictions)}", cell.key])
    print(f"suite {plan.suite.name} on {plan.suite.dataset}: {plan.split.protocol}")
    print(tabulate(rows, headers=["model", "runs as", "seed", "fit", "predictions stored", "key"]))
    for cell in plan.cells:
        if cell.missing:
            print(f"{cell.entry.name}: {cell.missing}")
    for why in grouped(plan.left_out):
        print(f"left out: {why}")
    print(f"{len(plan.to_do)} of {len(plan.cells)} cells to run")


@contextmanager
def follow() -> Iterator[Listener]:
    """Show progress: bars on a terminal, one line a finished cell elsewhere."""
    import sys
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[int, tuple[object, float]] = {}

    def listener(cell: Cell, event: Event) -> None:
        name = cell.name
        if event.job not in tasks:
            tasks[event.job] = (bars.add_task(name, total=1, note=""), time.monotonic())
        task, started = tasks[event.job]
        if event.kind == "progress":
            bars.update(
                task,  # type: ignore[arg-type]
                description=f"{name}: {event.stage}",
                completed=event.done,
                total=max(event.total, 1),
                note=event.note,
            )
            return
        bars.remove_task(task)  # type: ignore[arg-type]
        said = {"done": "done", "missing": "not run", "failed": "FAILED"}[event.kind]
        last = event.reason.strip().splitlines()[-1:] if event.kind != "done" else []
        line = f"{name}: {said} after {time.monotonic() - started:.0f} s" + "".join(f": {text}" for text in last)
        if console.is_terminal:
            console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    with bars:
        yield listener
