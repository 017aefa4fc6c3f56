"""The main table on the console, read from the report."""

from __future__ import annotations

import re
from pathlib import Path

from tabulate import tabulate

from bench.report.markdown import unescape

__all__ = ["print_summary"]

_NOTES = 3
"""How many notes (how the table is read) are shown below it."""


def print_summary(folder: Path) -> None:
    """Print the first table of ``table.md``; ``*`` marks what is bold there."""
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    stop = next(at for at in range(start, len(lines) + 1) if at == len(lines) or not lines[at].startswith("|"))
    header, _, *rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[start:stop]]
    notes = [line for line in lines[stop:] if line.startswith("- ")][:_NOTES]
    print(unescape(lines[0].lstrip("# ")), end="\n\n")
    print(
        tabulate(
            [[_plain(cell) for cell in row] for row in rows],
            headers=[unescape(head.strip()).replace(", ", ",\n") for head in header],
            disable_numparse=True,
            colalign=["left"] + ["right"] * (len(header) - 1),
        )
    )
    print()
    for note in notes:
        print(unescape(note).replace("Bold: best", "*: best"))


def _plain(cell: str) -> str:
    text = cell.strip()
    if text.startswith("*") and not text.startswith("**"):
        return unescape(text.strip("*"))
    return ("*" if text.startswith("**") else "") + unescape(text)
