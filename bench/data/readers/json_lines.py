"""Files of one JSON object a line, read block by block.

A block in which everything is as it usually is takes a fast road: polars parses it, and the columns are checked at
once. What polars would pass over in silence (a number where a text belongs, a key given twice, half a surrogate
pair) is noticed by counting in the bytes; such a block, and every other with something unusual, is read again row by
row in Python, which gives the same values and says of each unreadable row what is wrong with it.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl

from bench.data.content import Block, Content
from bench.data.readers.base import Ask, Rows
from bench.data.readers.fields import Field, Unreadable, shown
from bench.errors import DataError

__all__ = ["Parse", "json_record", "keys", "literal_record", "read_block", "read_rows", "row_by_row"]

Parse = Callable[[str], Mapping[str, object]]
"""Makes a record of a line, or raises ``Unreadable``."""

_ODD_ESCAPE = re.compile(rb"\\u(?:00[4-7]|[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F]))")
r"""An escaped letter, which may hide a key from counting, and the first half of a surrogate pair without the second."""
_PLAIN_KEY = re.compile("[A-Za-z_]+")
"""Neither to be escaped in JSON nor in a pattern."""
_BRACKETS = 500
"""Before 2.1 polars overflowed the stack, which ends the process, where brackets are nested by the thousand."""
_PYTHON_PARTS = re.compile(
    r"""((?:[^'"\\]++|'[^'"\\]*+')++)"""
    r"""|'(?:[^'\\]|\\.)*+'"""
    r"""|"(?:[^"\\]|\\.)*+\"""",
    re.DOTALL,
)
"""Stretches in which all texts stand in ``'`` and hold neither quotation marks nor backslashes; any other one text."""


def keys(content: Content, ask: Ask, defaults: Mapping[str, str]) -> dict[str, str]:
    """Say which key of the file holds each of our columns: the reader's own, or the card's where it names one."""
    if unknown := sorted(ask.columns.keys() - defaults.keys()):
        raise DataError(f"{content}: this reader knows no column {unknown[0]!r}; it knows: {', '.join(defaults)}")
    return {**defaults, **ask.columns}


def read_rows(
    content: Content, ask: Ask, rows: Rows, fields: Sequence[Field], parse: Parse | None = None
) -> Iterator[pl.DataFrame]:
    """Read a file, one batch a block.

    Parameters
    ----------
    fields : sequence of Field
        The columns wanted.
    parse : callable, optional
        By default ``json_record``.

    Yields
    ------
    polars.DataFrame
        A column for each field, in their order.

    Raises
    ------
    DataError
        A row that cannot be read, unless ``rows`` drops those.
    """
    for block in content.blocks(encoding=ask.reading.encoding):
        yield read_block(block, rows, fields, parse or json_record)


def read_block(block: Block, rows: Rows, fields: Sequence[Field], parse: Parse) -> pl.DataFrame:
    """Read some lines of a file (``read_rows``)."""
    table = _at_once(block, fields)
    if table is None:
        return row_by_row(enumerate(block.lines(), start=block.first_row), rows, fields, parse)
    rows.read += table.height
    return table


def row_by_row(lines: Iterator[tuple[int, str]], rows: Rows, fields: Sequence[Field], parse: Parse) -> pl.DataFrame:
    """Read numbered lines one by one, leaving out and counting, or refusing, those that cannot be read."""
    columns: list[list[Any]] = [[] for _ in fields]
    for row, line in lines:
        rows.read += 1
        try:
            record = parse(line)
            if isinstance(record, _Twice):
                record.refuse(fields)
            values = [field.read(record) for field in fields]
        except Unreadable as defect:
            rows.leave_out(row, defect.reason, defect.problem, column=defect.column)
            continue
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return pl.DataFrame(
        [pl.Series(field.name, column, dtype=field.dtype) for field, column in zip(fields, columns, strict=True)]
    )


def _at_once(block: Block, fields: Sequence[Field]) -> pl.DataFrame | None:
    """Read a block with polars; None if a single value may not be as it usually is."""
    data = block.data
    if not all(field.at_once and _PLAIN_KEY.fullmatch(field.key) for field in fields):
        return None
    if _ODD_ESCAPE.search(data) or _most_brackets(data) > _BRACKETS:
        return None
    try:
        table = pl.read_ndjson(data, schema={field.key: field.raw for field in fields})
    # Of old, errors of the parser had no class of their own.
    except (pl.exceptions.PolarsError, RuntimeError):
        return None
    # Polars passes over blank lines.
    if table.height != data.count(b"\n") + 1 or not _as_counted(data, table, fields):
        return None
    columns = []
    for field in fields:
        if (column := field.column(table[field.key])) is None:
            return None
        columns.append(column.alias(field.name))
    return pl.DataFrame(columns)


def _most_brackets(data: bytes) -> int:
    """How many brackets and braces open on the line where most do."""
    characters = np.frombuffer(data, np.uint8)
    opening = np.flatnonzero((characters | 0x20) == ord("{"))  # the bit that "[" lacks
    lines = np.searchsorted(np.flatnonzero(characters == ord("\n")), opening)
    return int(np.bincount(lines, minlength=1).max())


def _as_counted(data: bytes, table: pl.DataFrame, fields: Sequence[Field]) -> bool:
    """Whether the bytes hold as many keys as the table has values, and before each a text or a number, as it should be.

    Inside a text a quotation mark is escaped, so that ``"key":`` is met only where a key ends, and it is met wherever
    the key stands; hence no count is too low, and where the sum over the keys is right, the count of each is.
    """
    characters = pl.Series([data], dtype=pl.Binary).cast(pl.String)
    values = sum(table.height - table[field.key].null_count() for field in fields)
    texts = [field.key for field in fields if field.raw == pl.String]
    numbers = [field.key for field in fields if field.raw != pl.String]
    typed = [_keys_before(some, first) for some, first in ((texts, '"'), (numbers, "[-0-9]")) if some]
    patterns = (_keys_before(texts + numbers, ""), "|".join(typed))
    return all(characters.str.count_matches(pattern)[0] == values for pattern in patterns)


def _keys_before(some: Sequence[str], first: str) -> str:
    """The pattern of any of the keys, the colon and the first character of its value."""
    return f'"(?:{"|".join(some)})"[ \\t\\r]*:[ \\t\\r]*{first}'


class _Twice(dict[str, object]):
    """A JSON object with a key given twice, of which Python would silently take the last."""

    repeated: frozenset[str]

    def refuse(self, fields: Sequence[Field]) -> None:
        for field in fields:
            if field.key in self.repeated:
                raise Unreadable("column twice", "stands twice in the object", field.key)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    names = [name for name, _ in pairs]
    twice = _Twice(record)
    twice.repeated = frozenset(name for name in record if names.count(name) > 1)
    return twice


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_LENIENT_DECODER = json.JSONDecoder(object_pairs_hook=_object, strict=False)


def json_record(line: str) -> Mapping[str, object]:
    """Parse a JSON object."""
    try:
        record = _DECODER.decode(line)
    except RecursionError as error:
        raise Unreadable("not JSON", "not JSON that can be read (nested too deeply)") from error
    except ValueError as error:
        if not line.strip():
            raise Unreadable("empty line", "empty line") from error
        at = f", character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        said = error.msg if isinstance(error, json.JSONDecodeError) else "a number of thousands of digits"
        raise Unreadable("not JSON", f"not JSON ({said}{at})") from error
    return _is_object(record)


def literal_record(line: str) -> Mapping[str, object]:
    """Parse a JSON object or, where that fails, a Python literal of a dict; nothing in it is ever executed."""
    try:
        return json_record(line)
    except Unreadable as defect:
        if defect.reason != "not JSON":
            raise
        record = _quick_literal(line)
        return _is_object(record if record is not None else _literal(line, defect))


def _is_object(record: object) -> Mapping[str, object]:
    if not isinstance(record, dict):
        raise Unreadable("not an object", f"{shown(record)} is not an object of keys and values")
    return record


def _quick_literal(line: str) -> object:
    """Read a literal by way of JSON, several times faster than Python's own road; None where they may differ.

    Every quoted text is written as JSON would; if the rest (brackets, commas, numbers) is JSON too, it means the same.
    """
    try:
        return _LENIENT_DECODER.decode(_PYTHON_PARTS.sub(_requote, line))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _requote(found: re.Match[str]) -> str:
    part = found[0]
    if found[1] is not None:
        return part.replace("'", '"')
    if "\\" in part:
        with _unwarned():
            return json.dumps(ast.literal_eval(part))
    return '"' + part[1:-1].replace('"', '\\"') + '"'


def _literal(line: str, defect: Unreadable) -> object:
    try:
        with _unwarned():
            tree = ast.parse(line.strip(), mode="eval").body
        value = ast.literal_eval(tree)
        if isinstance(tree, ast.Dict) and isinstance(value, dict):
            names = [ast.literal_eval(key) for key in tree.keys if key is not None]
            return _object([(name, value[name]) for name in names])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise Unreadable("not JSON", f"{defect.problem}, nor a Python literal") from error
    return value


@contextmanager
def _unwarned() -> Iterator[None]:
    """Python warns of a backslash before a character that needs none, and keeps both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
