"""Grids as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from bench.report.grid import Cell, Grid

__all__ = ["MARKS", "bullets", "escape", "markdown", "unescape"]

MARKS = {"": "", "reference": "ʳ", "better": "⁺", "worse": "⁻"}


def markdown(grid: Grid, *, level: int = 2) -> str:
    """Write one grid: heading, table, notes."""
    rows: list[list[str]] = []
    for block in grid.blocks:
        if block.heading:
            rows.append([f"*{escape(block.heading)}*"] + [""] * (len(grid.header) - 1))
        rows += [[_cell(cell) for cell in row] for row in block.rows]
    table = tabulate(
        rows,
        headers=[escape(head) for head in grid.header],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] + ["right"] * (len(grid.header) - 1),
    )
    return f"{'#' * level} {escape(grid.title)}\n\n{table}\n\n{bullets(grid.notes)}"


def bullets(notes: Sequence[str]) -> str:
    """A list, one note a line."""
    return "".join(f"- {escape(note)}\n" for note in notes)


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    text = f"**{text}**" if cell.bold else text
    return f"{text}{MARKS[cell.mark]}{' ' if cell.suffix else ''}{escape(cell.suffix)}"


def escape(text: str) -> str:
    """Make plain text safe in a Markdown table."""
    return re.sub(r"([\\`*_|<>])", r"\\\1", text).replace("\n", " ")


def unescape(text: str) -> str:
    """Undo :func:`escape` and bold."""
    return re.sub(r"\\([\\`*_|<>])", r"\1", text.replace("**", ""))
