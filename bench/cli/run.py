"""``bench run``: run a suite and print its table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    Changes,
    Dataset,
    Device,
    Models,
    Results,
    Seeds,
    SplitFolder,
    StoreRoot,
    SuiteName,
    TunedLock,
    read_suite,
)
from bench.errors import InterruptedRunError

__all__ = ["run"]


def run(
    suite: SuiteName,
    dataset: Dataset = None,
    models: Models = None,
    seeds: Seeds = None,
    changes: Changes = None,
    split: SplitFolder = None,
    tuned: TunedLock = None,
    store: StoreRoot = Path("results/runs"),
    results: Results = Path("results"),
    device: Device = "cpu",
    jobs: Annotated[int, typer.Option(min=1, help="Cells run side by side; more than 1 spoils their costs.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and what is cached; run nothing.")] = False,
) -> None:
    """Run a suite: fit what is not stored yet, score it, write and print the tables.

    Examples: `bench run --suite coldstart`; `bench run --suite quick --dataset amazon-beauty --models
    popularity,itemknn,ease`; `bench run --suite quick --set sasrec.hidden_size=128 --seeds 0,1,2`.
    """
    chosen = read_suite(suite, dataset, models, seeds, changes, split, tuned)
    from bench.runs.plan import make_plan
    from bench.runs.store import Store

    place = Store(store)
    if dry_run:
        from bench.cli.display import show_plan

        show_plan(make_plan(chosen, place, device=device))
        return
    from bench.cli.display import follow
    from bench.runs.run import execute

    try:
        with follow() as listener:
            outcome = execute(
                chosen, place, results, device=device, side_by_side=jobs, listener=listener, strict=models is not None
            )
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "interrupted; what was finished is stored: the same command goes on from there"
        ) from None
    from bench.report import print_summary

    print_summary(outcome.folder)
    outcome.raise_failures()
