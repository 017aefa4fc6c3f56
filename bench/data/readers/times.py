"""When an event happened: Unix seconds from the ways a user's own table may write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl

from bench.data.readers import text
from bench.data.readers.base import Rows

__all__ = ["EARLIEST_S", "LATEST_S", "format_problem", "to_times"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
EARLIEST_S = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _SECOND
"""First second of 1900; earlier dates are mistakes."""
LATEST_S = (datetime(2301, 1, 1, tzinfo=UTC) - _EPOCH) // _SECOND - 1
"""Last second of 2300; later times are mistakes, mostly of the unit."""

_WHOLE = {"seconds": ("a whole number of seconds", 1), "milliseconds": ("a whole number of milliseconds", 1000)}


def format_problem(time_format: str) -> str | None:
    """Say what is wrong with ``reading.time_format``; None if nothing is."""
    if time_format in _WHOLE or time_format == "iso":
        return None
    if "%" not in time_format:
        return "is none of seconds, milliseconds, iso, nor a strptime pattern such as '%d.%m.%Y %H:%M'"
    if "%Z" in time_format.replace("%%", ""):
        return "has %Z, but names of time zones are ambiguous: give offsets (%z), or times in UTC"
    try:
        datetime.strptime(datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).strftime(time_format), time_format)
    except (ValueError, re.error) as error:
        return f"is no strptime pattern ({error})"
    return None


def to_times(frame: pl.DataFrame, rows: Rows, time_format: str, column: str) -> pl.DataFrame:
    """Make the column ``time`` Int64 Unix seconds.

    Numbers are whole seconds or milliseconds since 1970, none of them negative. Times that are written out, or are
    stored as dates, may lie before 1970; those without a zone are UTC. Fractions of a second are cut off (downwards)
    where the form has them: milliseconds, dates. Nothing before 1900 or after 2300 is believed.

    Parameters
    ----------
    frame : polars.DataFrame
        ``row`` and ``time``: text, numbers, or polars dates.
    time_format : str
        As on the card; dates need none.
    """
    cells = frame["time"]
    if cells.dtype.is_temporal():
        values = _dates(cells)
        frame = _placed(frame, rows, values, values.is_null(), "not a time", lambda _: "null is not a time", column)
    elif time_format in _WHOLE:
        wanted, unit = _WHOLE[time_format]
        frame = text.to_whole(frame, rows, "time", wanted, column)
        values = frame["time"]

        def negative(at: int) -> str:
            return f"negative time {values[at]}"

        frame = _placed(frame, rows, values, values < 0, "negative time", negative, column)
        frame = frame.with_columns(pl.col("time") // unit)
    else:
        values = _written(cells.cast(pl.String), time_format)
        form = "an ISO 8601 time" if time_format == "iso" else f"a time of the form {time_format}"

        def unreadable(at: int) -> str:
            return f"{text.shown(cells[at])} is not {form}"

        frame = _placed(frame, rows, values, values.is_null(), "time is not of the format", unreadable, column)
    seconds = frame["time"]

    def outside(at: int) -> str:
        hint = ": are these milliseconds? then set reading: {time_format: milliseconds}"
        said = f"{seconds[at]} seconds since 1970 are not between the years 1900 and 2300"
        return said + (hint if time_format == "seconds" else "")

    beyond = (seconds < EARLIEST_S) | (seconds > LATEST_S)
    return frame.filter(rows.keep(beyond, frame["row"], "time out of range", outside, column=column))


def _placed(
    frame: pl.DataFrame,
    rows: Rows,
    values: pl.Series,
    wrong: pl.Series,
    reason: str,
    problem: Callable[[int], str],
    column: str,
) -> pl.DataFrame:
    stay = rows.keep(wrong, frame["row"], reason, problem, column=column)
    return frame.with_columns(values.alias("time")).filter(stay)


def _dates(cells: pl.Series) -> pl.Series:
    """Polars dates and datetimes as seconds, rounded down."""
    if isinstance(cells.dtype, pl.Datetime):
        # What is inside counts from 1970 in UTC, whatever the zone; floor division rounds down before 1970 too.
        per_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[cells.dtype.time_unit]
        return cells.to_physical() // per_second
    return cells.cast(pl.Date, strict=False).to_physical().cast(pl.Int64) * 86_400


def _written(cells: pl.Series, time_format: str) -> pl.Series:
    """Times written out, as seconds, rounded down; null where unreadable."""
    known = {cell: _seconds(cell, time_format) for cell in cells.unique() if cell is not None}
    return pl.Series("time", [known.get(cell) for cell in cells], dtype=pl.Int64)


def _seconds(cell: str, time_format: str) -> int | None:
    written = cell.strip()
    # strptime takes digits of every script, and no calendar means that.
    if any(character.isdigit() and not character.isascii() for character in written):
        return None
    try:
        iso = time_format == "iso"
        moment = datetime.fromisoformat(written) if iso else datetime.strptime(written, time_format)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _SECOND
