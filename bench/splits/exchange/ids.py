"""Between codes, which mean nothing outside one run, and ids, which files carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from bench.errors import DataError

__all__ = ["Codes", "flat_lists", "id_lists"]


def id_lists(rows: Ragged, ids: pl.Series) -> pl.Series:
    """Rows of codes as lists of ids.

    Parameters
    ----------
    ids : polars.Series of String
        The id of every code.

    Returns
    -------
    polars.Series of List(String), length len(rows)
    """
    values = ids.gather(rows.values).to_arrow()
    made = pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(rows.offsets, pa.int64()), values))
    assert isinstance(made, pl.Series)
    return made


def flat_lists(lists: pl.Series) -> tuple[NDArray[np.int64], pl.Series]:
    """Lengths of lists, and their values in a row; a null counts as an empty list."""
    lengths = lists.list.len().fill_null(0)
    return lengths.to_numpy().astype(np.int64), lists.filter(lengths > 0).explode()


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of known ids.

    Attributes
    ----------
    kind : str
        ``"user"`` or ``"item"``, for messages.
    ids : polars.Series of String
        Code ``c`` belongs to ``ids[c]``.
    """

    kind: str
    ids: pl.Series

    def look_up(self, ids: pl.Series) -> pl.Series:
        """Codes (Int32) of ``ids``; null where an id is unknown."""
        codes = pl.Series(np.arange(len(self.ids), dtype=np.int32))
        return ids.replace_strict(self.ids, codes, default=None, return_dtype=pl.Int32)

    def of(self, ids: pl.Series, where: str) -> NDArray[np.int32]:
        """Codes of ``ids``, all of which must be known.

        Raises
        ------
        DataError
            Naming ``where``, with the number of unknown ids and an example.
        """
        codes = self.look_up(ids)
        if codes.null_count():
            unknown = ids.filter(codes.is_null()).unique().sort()
            raise DataError(
                f"{where}: {len(unknown):,} {self.kind}s are not in the data set, for example {unknown[0]!r}"
            )
        return codes.to_numpy()

    def ragged(self, lists: pl.Series, where: str) -> Ragged:
        """Lists of ids as rows of codes; see :meth:`of`."""
        lengths, values = flat_lists(lists)
        return Ragged.from_lengths(lengths, self.of(values, where))
