"""A table ready to be written: cells with their marks, in blocks, with notes. Markdown and LaTeX say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "Cell", "Grid", "Mark", "count", "interval", "number", "p_value", "percent", "signed"]

Mark = Literal["", "reference", "better", "worse"]

NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """What stands in one place.

    Attributes
    ----------
    bold : bool
        The best of its column.
    mark : str
        How it compares with the reference of its column, where that is tested.
    suffix : str
        Printed after the mark: a coverage below 100%, say.
    """

    text: str
    bold: bool = False
    mark: Mark = ""
    suffix: str = ""


@dataclass(frozen=True)
class Block:
    """Rows under a common heading (empty: none)."""

    heading: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Grid:
    """A titled table."""

    title: str
    header: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


def number(value: float) -> str:
    """Four decimals."""
    return NOTHING if math.isnan(value) else f"{value:.4f}"


def signed(value: float, decimals: int = 4) -> str:
    """With its sign."""
    return NOTHING if math.isnan(value) else f"{value:+.{decimals}f}"


def interval(low: float, high: float, *, sign: bool = False) -> str:
    """``[0.0412, 0.0534]``."""
    if math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"[{signed(low)}, {signed(high)}]" if sign else f"[{number(low)}, {number(high)}]"


def p_value(p: float) -> str:
    """Three decimals, never 0."""
    if math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float) -> str:
    """Whole percents; 0% and 100% only where they are exact."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def count(number: int, noun: str) -> str:
    """``1 user``, ``1,682 items``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
