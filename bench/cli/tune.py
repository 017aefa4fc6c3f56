"""``bench tune``: look for the best settings of every model, each within the same budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import Changes, Dataset, Device, Models, Results, SplitFolder, SuiteName, read_suite
from bench.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from bench.tune import Listener, News, TuneOutcome

__all__ = ["tune"]


def tune(
    suite: SuiteName,
    budget: Annotated[
        str, typer.Option(help="What every model gets: trials=20, or hours=2 of fitting and validating.")
    ],
    dataset: Dataset = None,
    models: Models = None,
    changes: Changes = None,
    split: SplitFolder = None,
    space: Annotated[
        Path | None, typer.Option(help="Settings file to use instead of the shipped one; goes with one model.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    results: Results = Path("results"),
    device: Device = "cpu",
) -> None:
    """Tune a suite's models on validation data; what is found is written to a lock file for `bench run --tuned`.

    The test part is never asked. The first trial of each model is the suite's own settings, and what the suite sets
    explicitly is kept. Stopped, by Ctrl-C or otherwise, the same command goes on where it was.

    Examples: `bench tune --suite coldstart --budget trials=20`; `bench tune --suite quick --dataset amazon-beauty
    --models sasrec,ease --budget hours=2`.
    """
    chosen = read_suite(suite, dataset, models, None, changes, split)
    if space is not None and len(chosen.models) != 1:
        raise UsageError("--space is a settings file for one model: name that one with --models")
    from bench.tune import TuningBudget
    from bench.tune import tune as search

    spent = TuningBudget.parse(budget)
    spaces = {} if space is None else {chosen.models[0].name: space}
    try:
        with _follow(str(spent)) as listener:
            outcome = search(chosen, results, spent, seed=seed, device=device, spaces=spaces, listener=listener)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "interrupted; the trials that ended are kept: the same command goes on from there"
        ) from None
    _show(outcome, suite)
    outcome.raise_failures()


def _show(outcome: TuneOutcome, suite: str) -> None:
    from tabulate import tabulate

    rows = []
    for name, model in outcome.tuned.items():
        found = model.locked
        settings = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in found.settings.items()
        )
        default = "failed" if found.default is None else f"{found.default:.4f}"
        trials = f"{found.trials} ({found.failed} failed)" if found.failed else str(found.trials)
        hours = f"{found.hours:.4f}" if found.hours >= 0.0001 else "<0.0001"
        rows.append([name, trials, hours, found.metric, default, f"{found.value:.4f}", settings])
    headers = ["model", "trials", "hours", "validation", "own settings", "best", "best settings"]
    print(f"budget: {outcome.budget} for every model")
    print(tabulate(rows, headers=headers, disable_numparse=True))
    for name, model in outcome.tuned.items():
        if model.locked.ended != "budget":
            print(f"{name}: ended before the budget: {model.locked.ended}")
        if model.kept:
            print(f"{name}: kept as the suite sets them: {', '.join(model.kept)}")
        if model.locked.at_edge:
            print(f"{name}: at the edge of its range, a wider one may hold a better: {', '.join(model.locked.at_edge)}")
    for name, why in outcome.skipped.items():
        print(f"{name}: not tuned: {why.reason}")
    if outcome.dropped:
        print(f"no longer in the lock file, tuned otherwise than these: {', '.join(outcome.dropped)}")
    if outcome.lock is not None:
        print(f"frozen to {outcome.lock}; to use it: bench run --suite {suite} --tuned {outcome.lock}")


@contextmanager
def _follow(budget: str) -> Iterator[Listener]:
    """Show progress: a bar on a terminal, one line an ended trial everywhere."""
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    task = bar.add_task(f"tuning, {budget} each", total=None, note="")

    def listener(news: News) -> None:
        name = f"{news.model}, trial {news.trial}"
        if news.tried is None:
            bar.update(task, description=name, completed=news.done, total=max(news.total, 1), note=news.note)
            return
        value, best = news.value, news.best
        said = f"failed: {news.tried.reason}" if value is None else f"{value:.4f}"
        line = f"{name}: {said}, {news.tried.seconds:.1f} s" + ("" if best is None else f" (best {best:.4f})")
        if console.is_terminal:
            console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    with bar:
        yield listener
