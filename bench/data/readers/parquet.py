"""Parquet tables, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from bench.data.content import Content
from bench.data.readers import text
from bench.data.readers.base import Rows
from bench.errors import DataError

__all__ = ["Parquet", "is_parquet"]

_MAGIC = b"PAR1"
_BATCH_ROWS = 1 << 16

_Wanted = tuple[str, ...]
_KINDS: Mapping[str, _Wanted] = {
    "user": ("text", "whole numbers"),
    "item": ("text", "whole numbers"),
    "rating": ("text", "whole numbers", "numbers"),
    "price": ("text", "whole numbers", "numbers"),
    "time": ("text", "whole numbers", "numbers", "dates"),
    "year": ("text", "whole numbers", "numbers"),
    "categories": ("text", "lists of text"),
}
"""What each of our columns may hold; the others hold text."""


def is_parquet(content: Content) -> bool:
    """Whether the content is Parquet, told by its first bytes."""
    with content.open() as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


class Parquet:
    """A Parquet file; rows count from 1, since it has no header.

    Attributes
    ----------
    header : list of str
        Names of the columns.
    """

    def __init__(self, content: Content) -> None:
        import pyarrow.parquet as pq

        with content.path.open("rb") as stream:
            plain = content.member is None and stream.read(len(_MAGIC)) == _MAGIC
        if not plain:
            raise DataError(f"{content}: Parquet inside an archive or a compressed file: unpack it first")
        self._content = content
        with self._explained():
            self._file = pq.ParquetFile(content.path)
            self.header: list[str] = list(self._file.schema_arrow.names)

    def batches(self, names: Mapping[str, str], rows: Rows) -> Iterator[pl.DataFrame]:
        """Read columns (our name -> the file's).

        Yields
        ------
        polars.DataFrame
            ``row`` (Int64) and each of our names: ids, texts and years in String, others as they are stored.

        Raises
        ------
        DataError
            Damaged, or a column of a type that cannot hold what it should.
        """
        first = 1
        columns = list(dict.fromkeys(names.values()))
        stored = self._batches(columns)
        for frame in stored:
            rows.read += frame.height
            numbers = pl.int_range(first, first + frame.height, eager=True).alias("row")
            first += frame.height
            yield pl.DataFrame([numbers, *(self._typed(frame[name], ours) for ours, name in names.items())])

    def _batches(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        import pyarrow as pa

        with self._explained():
            for batch in self._file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                # Texts that are not UTF-8 would break whoever reads them later.
                batch.validate(full=True)
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame), "a table has columns"
                yield frame

    def _typed(self, cells: pl.Series, ours: str) -> pl.Series:
        kind = _kind(cells.dtype)
        allowed = _KINDS.get(ours, ("text",))
        if kind != "nulls" and kind not in allowed:
            hint = ""
            if ours in ("user", "item") and kind == "numbers":
                hint = " (1.0 or 1?): store ids as whole numbers or as text"
            raise DataError(
                f"{self._content}, column {text.shown(cells.name)}: {kind} ({cells.dtype}) where {ours} needs "
                f"{' or '.join(allowed)}{hint}"
            )
        if kind == "text" or kind == "nulls" or (ours in ("user", "item", "year") and kind == "whole numbers"):
            cells = cells.cast(pl.String)
        elif kind == "lists of text":
            cells = cells.cast(pl.List(pl.String))
        return cells.alias(ours)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            said = " ".join(str(error).split())
            raise DataError(
                f"{self._content}: damaged or unreadable Parquet ({said[:200]}): replace the file"
            ) from error


def _kind(dtype: pl.DataType) -> str:
    if dtype == pl.Null:
        return "nulls"
    if dtype.is_integer():
        return "whole numbers"
    if dtype.is_float() or dtype.is_decimal():
        return "numbers"
    if isinstance(dtype, pl.Date | pl.Datetime):
        return "dates"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "text"
    if isinstance(dtype, pl.List | pl.Array) and (dtype.inner == pl.Null or _kind(dtype.inner) == "text"):  # type: ignore[arg-type]
        return "lists of text"
    return "values of another type"
