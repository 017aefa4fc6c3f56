"""``bench audit``: see whether the numbers of a suite could be owed to a leak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from bench.report.grid import Grid

__all__ = ["audit"]


def audit(
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
    """Probe the split and the stored models of a suite for leaks; nothing is trained.

    Three tables: what the id+1 rule finds under several numberings of the items, how many held-out pairs are training
    rows, and the fingerprint of every stored ranker. They are written to audit.md beside the suite's tables too.
    """
    chosen = read_suite(suite, dataset, models, seeds, changes, split, tuned)
    from bench.report.audit import AUDIT, write_audit
    from bench.runs.plan import make_plan
    from bench.runs.run import folder_name
    from bench.runs.store import Store

    kept = Store(store)
    folder = results / folder_name(chosen, device)
    for grid in write_audit(make_plan(chosen, kept, device=device), kept, folder):
        _print(grid)
    typer.echo(f"written to {folder / AUDIT}")


def _print(grid: Grid) -> None:
    import shutil
    import textwrap

    from tabulate import tabulate

    rows = [
        row
        for block in grid.blocks
        for row in (*([[block.heading]] if block.heading else []), *([cell.text for cell in row] for row in block.rows))
    ]
    typer.echo(f"{grid.title}\n")
    if rows:
        alignment = ("left", *["right"] * (len(grid.header) - 1))
        typer.echo(tabulate(rows, headers=grid.header, colalign=alignment, disable_numparse=True) + "\n")
    width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 120))
    for note in grid.notes:
        typer.echo(textwrap.fill(f"- {note}", width, subsequent_indent="  ", break_long_words=False))
    typer.echo("")
