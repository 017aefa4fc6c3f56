"""What every reader offers, and how rows that cannot be read are refused or counted.

A reader turns source files into batches of rows, so that memory does not grow with the file:

=============  ===========================================================================================
events         ``user_id``, ``item_id`` (String, never null or empty), ``rating`` (Float32), ``time`` (Int64, Unix
               seconds; never null) or, for sequences, ``position`` (Int64, from 0 within the user); and, where the
               file has them and the card wants them, ``headline``, ``text`` and ``reviewer`` (String, null where
               there is none)
items          ``item_id``, ``title`` (String), ``categories`` (List of String) and, where the format has them,
               ``year``, ``brand``, ``description`` (String), ``price`` (Float32); null where unknown
users          ``user_id``, ``reviewer`` (String)
=============  ===========================================================================================

Titles, brands, categories and descriptions are tidied (``bench.data.readers.text``); the texts of reviews are kept as
written, HTML entities unescaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from bench.data.card import Reading
from bench.data.content import Content
from bench.errors import DataError

__all__ = ["EVENT_TEXTS", "Ask", "Reader", "Rows"]

EVENT_TEXTS = ("headline", "text", "reviewer")
"""Columns of a review's texts, in the order they are kept."""


@dataclass
class Rows:
    """Follows one file: how many rows it had, and which of them were left out, and why.

    Attributes
    ----------
    content : Content
        The file, for messages.
    drop : bool
        Whether rows that cannot be read are left out and counted; if not, the first of them is an error.
    read : int
        Rows met so far, the dropped ones included.
    dropped : Counter
        Reason -> rows.
    """

    content: Content
    drop: bool = False
    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def refuse(self, row: int, problem: str, *, column: str | None = None) -> DataError:
        """Make the error for one row: file, row and column, and what is wrong."""
        where = f"{self.content}, row {row}" + (f", column {column!r}" if column is not None else "")
        return DataError(f"{where}: {problem}")

    def leave_out(self, row: int, reason: str, problem: str, *, column: str | None = None) -> None:
        """Count one unreadable row under ``reason``, or refuse it."""
        if not self.drop:
            raise self.refuse(row, problem, column=column)
        self.dropped[reason] += 1

    def keep(
        self,
        wrong: pl.Series,
        rows: pl.Series,
        reason: str,
        problem: Callable[[int], str],
        *,
        column: str | None = None,
    ) -> pl.Series:
        """Say which rows of a batch stay.

        Parameters
        ----------
        wrong : polars.Series of Boolean
            Rows that cannot be read; null counts as wrong.
        rows : polars.Series of integers
            The row of the file that each row of the batch came from.
        reason : str
            What the dropped rows are counted under: the same for every value.
        problem : callable
            Position in the batch -> what is wrong there, for the error.

        Returns
        -------
        polars.Series of Boolean
            ``~wrong``.
        """
        bad = wrong.fill_null(True)
        if bad.any():
            if not self.drop:
                at = bad.arg_true()[0]
                more = f" (and {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
                raise self.refuse(int(rows[at]), problem(at) + more, column=column)
            self.dropped[reason] += int(bad.sum())
        return ~bad


@dataclass(frozen=True)
class Ask:
    """What is wanted of a file.

    Attributes
    ----------
    columns : mapping
        Our column -> the file's, from the card; empty for the reader's own names.
    reading : Reading
    """

    columns: Mapping[str, str]
    reading: Reading

    @property
    def texts(self) -> tuple[str, ...]:
        """Which of a review's texts are wanted."""
        wanted = ("headline", "text") if self.reading.reviews else ()
        return (*wanted, "reviewer") if self.reading.reviews and self.reading.reviewer_names else wanted


class Reader(Protocol):
    """What a module of ``bench.data.readers`` offers.

    ``VERSION`` is raised whenever the same file would be read otherwise: what was read before is then read again.
    """

    VERSION: str

    def read_interactions(self, content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
        """Read events in batches."""

    def read_items(self, content: Content, ask: Ask, rows: Rows) -> Iterator[pl.DataFrame]:
        """Read what is known of the items, in batches; an item may come once only."""
