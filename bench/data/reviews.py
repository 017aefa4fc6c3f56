"""Texts of reviews, kept on disk until someone reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Reviews"]


@dataclass(frozen=True, eq=False)
class Reviews:
    """The texts that came with events, one row an event.

    Attributes
    ----------
    path : Path
        A Parquet file with the columns ``columns`` (String, null where an event has no such text).
    rows : ndarray of uint32, shape (events,)
        The row of that file that belongs to each event.
    columns : tuple of str
        ``"headline"`` and ``"text"``, and ``"reviewer"`` where the card keeps names.
    """

    path: Path
    rows: NDArray[np.uint32]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[np.integer]) -> Reviews:
        """Select events by position."""
        return Reviews(self.path, self.rows[rows], self.columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Reviews]) -> Reviews:
        """Join texts that lie in one file."""
        return cls(parts[0].path, np.concatenate([part.rows for part in parts]), parts[0].columns)

    def frame(self) -> pl.DataFrame:
        """Read the texts: one row an event, in order; only wanted rows are held in memory."""
        import pyarrow.parquet as pq

        wanted = np.unique(self.rows)
        parts, start = [pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))], 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=list(self.columns)):
                first, last = np.searchsorted(wanted, [start, start + batch.num_rows])
                if first < last:
                    here = pl.DataFrame(pl.from_arrow(batch))
                    parts.append(here.select(self.columns)[wanted[first:last] - start])
                start += batch.num_rows
        return pl.concat(parts)[np.searchsorted(wanted, self.rows)]
