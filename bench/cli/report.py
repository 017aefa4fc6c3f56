"""``bench report``: write a suite's tables again from the store."""

from __future__ import annotations

from pathlib import Path

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

__all__ = ["report"]


def report(
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
) -> None:
    """Write the tables and figures of a suite from what is stored; nothing is trained.

    Models that are not stored are named under the tables.
    """
    chosen = read_suite(suite, dataset, models, seeds, changes, split, tuned)
    from bench.report import print_summary
    from bench.runs.run import report_only
    from bench.runs.store import Store

    outcome = report_only(chosen, Store(store), results, device=device)
    print_summary(outcome.folder)
