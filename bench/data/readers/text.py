"""Small steps that the readers share: fields of lines, checked ids and numbers, tidy text.

The checks take a batch (a frame with the column ``row``, the row of the file) and give it back without the rows that
``Rows`` counted as dropped, the checked column in its final type.
"""

from __future__ import annotations

import difflib
import html
import json
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from bench.data.content import Content
from bench.data.readers.base import Rows
from bench.errors import DataError

__all__ = [
    "NUL",
    "categories",
    "columns_at",
    "once",
    "parse_json",
    "prose",
    "require_ids",
    "shown",
    "split",
    "title",
    "to_float",
    "to_seconds",
    "to_whole",
]

NUL = "NUL character in an id"
"""What damage leaves in text files; refused, or counted under this reason."""

_SHOWN_CHARACTERS = 60


def split(lines: Sequence[str], first_row: int, rows: Rows, delimiter: str, width: int, wanted: str) -> pl.DataFrame:
    """Split lines without quoting into ``width`` text columns ``field_0``, ``field_1``, ... and ``row``.

    Parameters
    ----------
    lines : sequence of str
    first_row : int
        Row of the first line.
    wanted : str
        What ``width`` is, for the error: ``"the header has 4"``.
    """
    rows.read += len(lines)
    texts = pl.Series("line", lines, dtype=pl.String)
    numbers = pl.int_range(first_row, first_row + len(lines), eager=True).alias("row")
    fields = texts.str.count_matches(delimiter, literal=True) + 1
    stay = rows.keep(
        fields != width, numbers, "wrong number of fields", lambda at: f"{fields[at]} fields where {wanted}"
    )
    cells = texts.filter(stay).str.split_exact(delimiter, width - 1).struct.unnest()
    return cells.with_columns(numbers.filter(stay))


def columns_at(content: Content, header: Sequence[str], wanted: Mapping[str, str], advice: str = "") -> dict[str, int]:
    """Say where in the header each wanted column stands: our name -> position.

    Parameters
    ----------
    advice : str
        Ends the message about a missing time.

    Raises
    ------
    DataError
        A column that is missing (the nearest name is suggested) or stands there twice.
    """
    for ours, name in wanted.items():
        if (times := header.count(name)) == 1:
            continue
        problem = "stands twice in the header" if times else "is missing"
        close = [] if times else difflib.get_close_matches(name, header, n=1, cutoff=0.5)
        hint = f": did you mean {shown(close[0])}?" if close else ";"
        names = ", ".join(shown(other) for other in header[:30])
        end = f"; {advice}" if advice and ours == "time" and not times else ""
        raise DataError(f"{content}, row 1: column {shown(name)} {problem}{hint} the file has: {names}{end}")
    return {ours: header.index(name) for ours, name in wanted.items()}


def require_ids(frame: pl.DataFrame, rows: Rows, columns: Mapping[str, str]) -> pl.DataFrame:
    """Keep rows whose ids are neither empty, nor white space alone, nor broken by a NUL; all stay exactly as written.

    Parameters
    ----------
    columns : mapping
        Our name (``user``, ``item``) -> the file's, for messages.
    """
    for ours, name in columns.items():
        empty = frame[ours].fill_null("").str.strip_chars() == ""
        frame = frame.filter(rows.keep(empty, frame["row"], "empty id", lambda _: "empty id", column=name))
        broken = frame[ours].str.contains("\0", literal=True)
        frame = frame.filter(
            rows.keep(broken, frame["row"], NUL, lambda _: f"{NUL}: is the file damaged?", column=name)
        )
    return frame


def once(frame: pl.DataFrame, rows: Rows, seen: dict[str, int], name: str) -> pl.DataFrame:
    """Keep the first row of every id of the column ``name``.

    Parameters
    ----------
    seen : dict
        Id -> its row, for the rows before this batch; those of this batch are added.
    """
    firsts = [
        seen.setdefault(value, row) for value, row in zip(frame[name].to_list(), frame["row"].to_list(), strict=True)
    ]
    repeated = pl.Series(firsts, dtype=pl.Int64) != frame["row"]

    def problem(at: int) -> str:
        return f"{name} {shown(frame[name][at])} stands on row {firsts[at]} already"

    return frame.filter(rows.keep(repeated, frame["row"], f"repeated {name}", problem))


def to_float(frame: pl.DataFrame, rows: Rows, name: str, column: str) -> pl.DataFrame:
    """Make a column Float32: an empty cell is null, anything else must be a finite number (``5``, ``+5``, ``5e-1``)."""
    cells = frame[name]
    if cells.dtype == pl.String:
        cells = cells.str.strip_chars()
        cells = cells.set(cells == "", None)
    values = cells.cast(pl.Float64, strict=False).cast(pl.Float32)
    wrong = cells.is_not_null() & ~values.is_finite().fill_null(False)
    return _converted(frame, rows, name, values, wrong, "a finite number", column)


def to_whole(frame: pl.DataFrame, rows: Rows, name: str, wanted: str, column: str) -> pl.DataFrame:
    """Make a column Int64: no cell may be empty or hold a fraction, but ``10.0`` and ``1e9`` are whole.

    Parameters
    ----------
    wanted : str
        What a cell must be, for the error.
    """
    cells = frame[name].str.strip_chars() if frame[name].dtype == pl.String else frame[name]
    approximate = cells.cast(pl.Float64, strict=False)
    # Beyond 2^53 a float no longer tells neighbouring integers apart.
    near = approximate.is_finite() & (approximate == approximate.floor()) & (approximate.abs() < 2.0**53)
    rounded = approximate.set(~near.fill_null(False), None).cast(pl.Int64)
    # Floats and decimals would be cut to integers silently.
    precise = cells.dtype == pl.String or cells.dtype.is_integer()
    exact = cells.cast(pl.Int64, strict=False) if precise else rounded
    values = pl.select(pl.coalesce(exact, rounded)).to_series()
    return _converted(frame, rows, name, values, values.is_null(), wanted, column)


def to_seconds(frame: pl.DataFrame, rows: Rows, name: str, column: str) -> pl.DataFrame:
    """Make a column Int64 Unix seconds (``to_whole``)."""
    return to_whole(frame, rows, name, "a whole number of seconds", column)


def _converted(
    frame: pl.DataFrame, rows: Rows, name: str, values: pl.Series, wrong: pl.Series, wanted: str, column: str
) -> pl.DataFrame:
    """Put ``values`` in the place of the column, without the wrong ones."""
    cells = frame[name]

    def problem(at: int) -> str:
        return f"{shown(cells[at])} is not {wanted}"

    stay = rows.keep(wrong, frame["row"], f"{name} is not {wanted}", problem, column=column)
    return frame.with_columns(values.alias(name)).filter(stay)


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and not endless."""
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f"{value[:_SHOWN_CHARACTERS]!r}... ({len(value):,} characters)"
    return "null" if value is None else repr(value)


def parse_json(line: str) -> object:
    r"""Parse JSON.

    Raises
    ------
    ValueError
        Not JSON, nested too deeply, a number of thousands of digits, or half a surrogate pair (``\ud83d`` alone),
        which is no character and cannot be stored.
    """
    try:
        value: object = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if "\\ud" in line.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half a surrogate pair") from error
    return value


def title(text: str | None) -> str | None:
    """Unescape HTML entities and collapse white space; nothing left is null."""
    return None if text is None else " ".join(html.unescape(text).split()) or None


def prose(text: str | None) -> str | None:
    """Unescape HTML entities and leave everything else as written; white space alone is null."""
    return None if text is None or not text.strip() else html.unescape(text)


def categories(names: Iterable[str]) -> list[str] | None:
    """Tidy names, each once, in the order of their first appearance; none at all is null."""
    tidy = (title(name) for name in names)
    return list(dict.fromkeys(name for name in tidy if name is not None)) or None
