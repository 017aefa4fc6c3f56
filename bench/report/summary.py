"""The main table on the console, read from the report."""

from __future__ import annotations

import re
import shutil
import textwrap
from itertools import takewhile
from pathlib import Path

from tabulate import tabulate

from bench.report.markdown import unescape

__all__ = ["print_summary"]

_HEAD = 20
"""Letters of a heading on one line."""


def print_summary(folder: Path) -> None:
    """Print the first table of ``table.md``; ``*`` stands for bold."""
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    stop = next(at for at in range(start, len(lines) + 1) if at == len(lines) or not lines[at].startswith("|"))
    header, _, *rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[start:stop]]
    notes = takewhile(lambda line: line.startswith("- "), lines[stop + 1 :])
    print(unescape(lines[0].lstrip("# ")), end="\n\n")
    print(
        tabulate(
            [[_plain(cell) for cell in row] for row in rows],
            headers=[_head(head) for head in header],
            disable_numparse=True,
            colalign=["left"] + ["right"] * (len(header) - 1),
        )
    )
    print()
    width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 120))
    for note in notes:
        text = unescape(note).replace("Bold: best", "*: best")
        print(textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False))


def _head(cell: str) -> str:
    """A column's heading on narrow lines."""
    parts = unescape(cell.strip()).replace(", ", ",\n").split("\n")
    return "\n".join(textwrap.fill(part, _HEAD) for part in parts)


def _plain(cell: str) -> str:
    text = cell.strip()
    if text.startswith("*") and not text.startswith("**"):
        return unescape(text.strip("*"))
    return ("*" if text.startswith("**") else "") + unescape(text)
