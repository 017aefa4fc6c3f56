"""Grids as LaTeX tables; the packages booktabs and graphicx are needed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.report.grid import Cell, Grid

__all__ = ["escape", "itemized", "latex"]

_MARKS = {"": "", "reference": "$^{r}$", "better": "$^{+}$", "worse": "$^{-}$"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # a row that starts with a bracket would be read as the option of the line break before it
    "]": "{]}",
    '"': "''",
    "\n": " ",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def escape(text: str) -> str:
    """Make plain text safe in LaTeX; whatever is not ASCII is left to UTF-8."""
    return _PATTERN.sub(lambda found: _SPECIAL[found[0]], text)


def latex(grids: Iterable[Grid], *, label: str) -> str:
    """Write grids as floats, labelled ``tab:<label>-1`` and on."""
    parts = ["% Needs \\usepackage{booktabs,graphicx} and UTF-8.\n"]
    parts += [_float(grid, f"tab:{label}-{place}") for place, grid in enumerate(grids, 1)]
    return "\n".join(parts)


def itemized(title: str, notes: Iterable[str]) -> str:
    """Write notes as a list of their own, outside any float."""
    items = [f"  \\item {escape(note)}" for note in notes]
    return "\n".join([f"\\paragraph{{{escape(title)}}}", r"\begin{itemize}", *items, r"\end{itemize}", ""])


def _float(grid: Grid, label: str) -> str:
    wide = len(grid.header) > 6
    lines = [
        r"\begin{table}[htbp]",
        r"  \centering",
        f"  \\caption{{{escape(grid.title)}}}",
        f"  \\label{{{label}}}",
        *([r"  \resizebox{\textwidth}{!}{%"] if wide else []),
        f"  \\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
        r"    \toprule",
        _line(escape(head) for head in grid.header),
    ]
    for block in grid.blocks:
        lines.append(r"    \midrule")
        if block.heading:
            lines.append(f"    \\multicolumn{{{len(grid.header)}}}{{l}}{{\\emph{{{escape(block.heading)}}}}} \\\\")
        lines += [_line(map(_cell, row)) for row in block.rows]
    lines += [r"    \bottomrule", r"  \end{tabular}}" if wide else r"  \end{tabular}", r"  \par\medskip"]
    lines.append(r"  \begin{minipage}{\textwidth}\footnotesize")
    lines += [f"    {escape(note)}\\par" for note in grid.notes]
    lines += [r"  \end{minipage}", r"\end{table}", ""]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    text = f"\\textbf{{{text}}}" if cell.bold else text
    return f"{text}{_MARKS[cell.mark]}{'~' if cell.suffix else ''}{escape(cell.suffix)}"
