"""Text tables with quoting (RFC 4180), read in bounded memory, with the rows of the file in messages."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from bench.data.content import Content
from bench.data.readers import text
from bench.data.readers.base import Rows
from bench.errors import DataError

__all__ = ["DELIMITERS", "Delimited"]

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
"""Those that are recognised in a header; a card may name any other character."""

_ROW_CHARACTERS = 64 << 20
"""No row may be longer: a quote that never closes would else swallow the rest of a file of any size."""
_NEVER_CLOSES = "a quote opens here and never closes"


class Delimited:
    r"""A text table: a header, then rows.

    A row may take several lines, inside quotes; messages name its first. Line breaks inside quotes become ``\n``. A
    quote inside a field that does not begin with one is part of the field.

    Attributes
    ----------
    header : list of str
    """

    def __init__(self, content: Content, delimiter: str | None, encoding: str, wanted: Sequence[str]) -> None:
        """Read the header.

        Parameters
        ----------
        delimiter : str or None
            None: recognised in the header.
        wanted : sequence of str
            Columns that must be there; they tell which of several possible delimiters it is.
        """
        if delimiter is not None and delimiter in '"\r\n\0':
            raise DataError(f"{content}: {delimiter!r} (reading.delimiter) cannot stand between columns")
        # The limit holds for the whole process and is only ever raised here.
        csv.field_size_limit(max(csv.field_size_limit(), _ROW_CHARACTERS))
        self._content, self._encoding = content, encoding
        head = next(content.blocks(encoding=encoding)).lines()
        self._delimiter = delimiter or self._recognised(head, wanted)
        self.header, self._header_lines = self._header(head, self._delimiter)

    def _header(self, lines: Sequence[str], delimiter: str) -> tuple[list[str], int]:
        """Names of the columns, and how many lines they take."""
        reader = csv.reader(_ended(lines), delimiter=delimiter, strict=True)
        try:
            return next(reader), reader.line_num
        except csv.Error as error:
            raise self._broken(1, delimiter, error) from error

    def _recognised(self, lines: Sequence[str], wanted: Sequence[str]) -> str:
        headers: dict[str, list[str]] = {}
        problem: DataError | None = None
        for delimiter in DELIMITERS:
            try:
                names, _ = self._header(lines, delimiter)
            except DataError as error:
                problem = error
                continue
            if len(names) > 1:
                headers[delimiter] = names
        fitting = [delimiter for delimiter, names in headers.items() if set(wanted) <= set(names)]
        for candidates in (list(headers), fitting):
            if len(candidates) == 1:
                return candidates[0]
        if not headers and problem is not None:
            raise problem
        found = " and ".join(DELIMITERS[delimiter] for delimiter in headers)
        said = f"may be separated by {found}" if headers else "is a single column, or has an unusual delimiter"
        raise DataError(
            f"{self._content}, row 1: the header {said}: set reading: {{delimiter: ...}} to the character between "
            "the columns"
        )

    def batches(self, names: Mapping[str, str], rows: Rows) -> Iterator[pl.DataFrame]:
        """Read columns (our name -> the file's, in the header).

        Yields
        ------
        polars.DataFrame
            ``row`` (Int64) and, in String, each of our names.

        Raises
        ------
        DataError
            Broken quoting, dropping or not: where the next row begins is then unknown.
        """
        width = len(self.header)
        places = {ours: self.header.index(name) for ours, name in names.items()}
        # Lines of a row that goes on in the next block.
        first_row, held = self._header_lines + 1, list[str]()
        for block in self._content.blocks(encoding=self._encoding):
            lines = block.lines()
            if block.first_row == 1:
                lines = lines[self._header_lines :]
            if held or any('"' in line or "\r" in line for line in lines):
                lines = held + lines
                frame, read = self._quoted(lines, first_row, places, rows)
                first_row, held = first_row + read, lines[read:]
                if sum(map(len, held)) > _ROW_CHARACTERS:
                    break
                yield frame
            else:
                cells = text.split(lines, first_row, rows, self._delimiter, width, f"the header has {width}")
                first_row += len(lines)
                yield cells.select("row", *(pl.col(f"field_{at}").alias(ours) for ours, at in places.items()))
        if held:
            raise self._broken(first_row, self._delimiter, csv.Error(_NEVER_CLOSES))

    def _quoted(
        self, lines: Sequence[str], first_row: int, places: Mapping[str, int], rows: Rows
    ) -> tuple[pl.DataFrame, int]:
        """Read rows with quotes; also says how many lines they take: the rest begins a row that is not complete."""
        width = len(self.header)
        numbers: list[int] = []
        columns: dict[str, list[str]] = {ours: [] for ours in places}
        # Kept as pairs: a loop over every row of the file.
        targets = [(cells, places[ours]) for ours, cells in columns.items()]
        reader = csv.reader(_ended(lines), delimiter=self._delimiter, strict=True)
        read = 0
        try:
            for record in reader:
                rows.read += 1
                if len(record) == width:
                    numbers.append(first_row + read)
                    for cells, at in targets:
                        cells.append(record[at])
                else:
                    problem = f"{len(record) or 1} fields where the header has {width}"
                    rows.leave_out(first_row + read, "wrong number of fields", problem)
                read = reader.line_num
        except csv.Error as error:
            if "unexpected end" not in str(error):
                raise self._broken(first_row + read, self._delimiter, error) from error
        frame = pl.DataFrame({"row": numbers, **columns}, schema={"row": pl.Int64, **dict.fromkeys(columns, pl.String)})
        return frame, read

    def _broken(self, row: int, delimiter: str, error: csv.Error) -> DataError:
        said = str(error)
        if said == _NEVER_CLOSES or "unexpected end" in said or "field limit" in said:
            problem = _NEVER_CLOSES
        elif "new-line" in said:
            problem = "a carriage return stands inside the row: end lines with line feeds"
        else:
            problem = f"broken quoting ({said}): a field in quotes ends with its quote, a quote inside is written twice"
        hint = "; text separated by tabs without quoting is read by recbole-atomic" if delimiter == "\t" else ""
        return DataError(f"{self._content}, row {row}: {problem}{hint}")


def _ended(lines: Iterable[str]) -> Iterator[str]:
    """Lines as the csv module wants them: those within quotes belong together, with their ends."""
    return (line + "\n" for line in lines)
