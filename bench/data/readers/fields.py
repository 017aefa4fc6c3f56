"""What a column must hold: one rule, for a value (with the reason where it fails) and for a whole column at once."""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import polars as pl

from bench.data.readers import text

__all__ = [
    "Field",
    "Identity",
    "Milliseconds",
    "Moment",
    "Prose",
    "Rating",
    "Seconds",
    "Unreadable",
    "event_fields",
    "shown",
    "whole_text",
]

_BLANK = r"^[\s\x1c-\x1f]*$"
"""What ``str.strip`` leaves nothing of; the regular expressions of polars do not count the last four."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-5][0-9]$"
_DAY_OR_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2})?")
_SHOWN = 80
_EXACT_FLOAT = 2**53
"""From here on a float no longer tells neighbouring integers apart."""
_INT64 = 2**63
_FIRST_MS, _LAST_MS = 10**11, 10**13
"""Milliseconds of 1973 and 2286: what lies outside is another unit, or a mistake."""


class Unreadable(Exception):
    """What is wrong with one row: what it is counted under, the words for the message, and the file's column."""

    def __init__(self, reason: str, problem: str, column: str | None = None) -> None:
        super().__init__(problem)
        self.reason, self.problem, self.column = reason, problem, column


@dataclass(frozen=True)
class Field(ABC):
    """One column.

    Attributes
    ----------
    name : str
        Our column.
    key : str
        The file's.
    dtype : polars data type
        Of our column.
    raw : polars data type
        Of the file's, as it usually is.
    """

    name: str
    key: str
    dtype: ClassVar[Any] = pl.String
    raw: ClassVar[Any] = pl.String

    def read(self, record: Mapping[str, object]) -> Any:
        """Take the value from one row.

        Raises
        ------
        Unreadable
        """
        return self._value(record.get(self.key))

    @property
    def at_once(self) -> bool:
        """Whether there is a rule for columns."""
        return type(self)._column is not Field._column

    def column(self, raw: pl.Series) -> pl.Series | None:
        """Make a column of type ``raw`` ours; None if a single value is not as it usually is."""
        return self._column(raw)

    @abstractmethod
    def _value(self, raw: object) -> Any:
        """Make one value ours, or raise ``Unreadable``."""

    def _column(self, raw: pl.Series) -> pl.Series | None:
        return None

    def wrong(self, reason: str, problem: str) -> Unreadable:
        """Make the error for a value of this column."""
        return Unreadable(reason, problem, self.key)


class Identity(Field):
    """A user or an item: a text that is not blank, kept exactly as written.

    Numbers are refused: who turned an id into a number may have cut its leading zeros.
    """

    def _value(self, raw: object) -> str:
        if raw is None:
            raise self.wrong("empty id", "missing")
        if not isinstance(raw, str):
            raise self.wrong("id is not a text", f"{shown(raw)} is not a text, as an id must be")
        if not raw.strip():
            raise self.wrong("empty id", "empty id")
        return whole_text(self, raw)

    def _column(self, raw: pl.Series) -> pl.Series | None:
        return None if raw.has_nulls() or raw.str.contains(_BLANK).any() else raw


class Rating(Field):
    """A finite number, also one written as a text (``"5.0"``)."""

    dtype = pl.Float32
    raw = pl.Float64

    def _value(self, raw: object) -> float:
        found = _number(raw)
        try:
            if found is None:
                raise OverflowError
            single: float = struct.unpack("f", struct.pack("f", found))[0]
        except OverflowError:
            single = float("nan")
        if single - single != 0:  # NaN or infinite
            problem = "missing" if raw is None else f"{shown(raw)} is not a finite number"
            raise self.wrong("rating is not a finite number", problem)
        return single

    def _column(self, raw: pl.Series) -> pl.Series | None:
        ratings = raw.cast(pl.Float32)
        return ratings if not ratings.has_nulls() and ratings.is_finite().all() else None


class Seconds(Field):
    """Whole seconds since 1970, not before; ``10``, ``10.0`` and ``"10"`` are whole."""

    dtype = pl.Int64
    raw = pl.Float64
    unit: ClassVar[str] = "a whole number of seconds"

    def _value(self, raw: object) -> int:
        found = _number(raw)
        if isinstance(found, float):
            found = int(found) if found.is_integer() and abs(found) < _EXACT_FLOAT else None
        if found is None or abs(found) >= _INT64:
            problem = "missing" if raw is None else f"{shown(raw)} is not {self.unit}"
            raise self.wrong(f"time is not {self.unit}", problem)
        if found < 0:
            raise self.wrong("negative time", f"negative time {found}")
        return found

    def _column(self, raw: pl.Series) -> pl.Series | None:
        usual = (raw >= 0) & (raw < _EXACT_FLOAT) & (raw == raw.floor())
        return raw.cast(pl.Int64) if not raw.has_nulls() and usual.all() else None


class Milliseconds(Seconds):
    """Whole milliseconds since 1970, as seconds rounded down.

    Twelve or thirteen digits (1973 to 2286), so that seconds are noticed and never guessed at.
    """

    unit = "a whole number of milliseconds"

    def _value(self, raw: object) -> int:
        found = super()._value(raw)
        if not _FIRST_MS <= found < _LAST_MS:
            hint = " (is it in seconds?)" if found < _FIRST_MS else ""
            problem = f"{found} is not a time in milliseconds, which has 12 or 13 digits{hint}"
            raise self.wrong("time is not in milliseconds", problem)
        return found // 1000

    def _column(self, raw: pl.Series) -> pl.Series | None:
        found = super()._column(raw)
        if found is None or not ((found >= _FIRST_MS) & (found < _LAST_MS)).all():
            return None
        return found // 1000


class Moment(Field):
    """``YYYY-MM-DD HH:MM:SS``, or a day alone (its first second), taken as UTC; not before 1970."""

    dtype = pl.Int64

    def _value(self, raw: object) -> int:
        moment = None
        if isinstance(raw, str) and _DAY_OR_MOMENT.fullmatch(raw):
            try:
                moment = datetime.fromisoformat(raw).replace(tzinfo=UTC)
            except ValueError:
                moment = None
        if moment is None:
            problem = "missing" if raw is None else f"{shown(raw)} is not a time YYYY-MM-DD HH:MM:SS"
            raise self.wrong("time is not YYYY-MM-DD HH:MM:SS", problem)
        if moment.year < 1970:
            raise self.wrong("negative time", f"{shown(raw)} is before 1970")
        return int(moment.timestamp())

    def _column(self, raw: pl.Series) -> pl.Series | None:
        if raw.has_nulls() or not raw.str.contains(_MOMENT).all():
            return None
        seconds = raw.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms", strict=False).dt.epoch("s")
        return seconds if not seconds.has_nulls() and (seconds >= 0).all() else None


class Prose(Field):
    """A review's text: HTML entities unescaped, else as written; null where there is none, or only white space."""

    def _value(self, raw: object) -> str | None:
        if raw is None:
            return None
        if not isinstance(raw, str):
            raise self.wrong(f"{self.name} is not a text", f"{shown(raw)} is not a text")
        return text.prose(whole_text(self, raw)) or None

    def _column(self, raw: pl.Series) -> pl.Series | None:
        touched = (raw.str.contains("&", literal=True) | raw.str.contains(_BLANK)).fill_null(False).arg_true()
        if touched.is_empty():
            return raw
        prose = pl.Series([self._value(one) for one in raw.gather(touched)], dtype=pl.String)
        return raw.clone().scatter(touched, prose)


def shown(raw: object) -> str:
    """A value as a message shows it: on one line, and not endless."""
    if raw is None or isinstance(raw, str):
        return text.shown(raw)
    try:
        written = repr(raw)
    except (ValueError, RecursionError):  # thousands of digits; nested deeply
        return f"a value too large to show ({type(raw).__name__})"
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."


def whole_text(field: Field, raw: str) -> str:
    r"""Refuse a text with half a surrogate pair (``\ud83d`` alone), which is no character and cannot be stored."""
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError as error:
            raise field.wrong("half a surrogate pair", f"{shown(raw)} holds half a surrogate pair") from error
    return raw


def _number(raw: object) -> int | float | None:
    """A JSON number, or the text of one; anything else is None."""
    if isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        cell = raw.strip()
        # Python refuses to convert thousands of digits; no number here has them.
        return (int(cell) if cell.lstrip("+-").isdigit() else float(cell)) if len(cell) < 1000 else None
    return raw if isinstance(raw, int | float) and not isinstance(raw, bool) else None


def event_fields(key: Mapping[str, str], texts: Iterable[str], time: type[Field]) -> list[Field]:
    """Make the columns of events: who, what, how many stars, when, and those of ``texts`` that the file has.

    Parameters
    ----------
    key : mapping
        ``user``, ``item``, ``rating``, ``time`` and texts -> the file's columns.
    time : type of Field
        How the file writes times.
    """
    return [
        Identity("user_id", key["user"]),
        Identity("item_id", key["item"]),
        Rating("rating", key["rating"]),
        time("time", key["time"]),
        *(Prose(name, key[name]) for name in texts if name in key),
    ]
