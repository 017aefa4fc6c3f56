"""Behaviour as text: users, clicks, searches and candidates in segments, by the templates in ``behaviour.yaml``.

Texts are short, complete in themselves, and made of what the data has; an id is never shown.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from bench.errors import UsageError, nearest
from bench.models import Ragged
from llm_models.m6.counting import positions
from llm_models.m6.statistics import BANDS, Figures, Statistics
from llm_models.m6.templates import Template, _fields, _tidy

__all__ = ["Behaviour", "Segments", "Writer", "behaviour_names", "load_behaviour", "raw_behaviours", "short"]

_OF_ITEM = ("popularity", "reception", "habit", "category", "liking")
_OF_USER = ("activity", "leaning")
# "Stupids, The", as catalogues file it.
_FILED = re.compile(r"(.+?), (The|A|An|La|Le|Les|L'|Il|Der|Die|Das|El)( \(.+\))?$")
_GAP = re.compile(r"\s+([,;])")
_TRAILING = " ,;:-(&/"
_ELIDED = "'"


@dataclass(frozen=True, eq=False)
class Segments:
    """Requests as ordered segments of text, every distinct text once.

    Attributes
    ----------
    texts : tuple of str
        Distinct and never empty.
    user : Ragged
        Per request positions in ``texts``, in reading order: the profile, clicks (newest last), searches (newest
        last). Empty where nothing is known.
    candidate : ndarray of int64, shape (requests,)
        Position in ``texts`` of what is said of the item; -1 where it has no text.
    """

    texts: tuple[str, ...]
    user: Ragged
    candidate: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.candidate)


class Behaviour(BaseModel):
    """How segments are written; see ``behaviour.yaml`` for how parts are joined.

    Attributes
    ----------
    profile, click, query, candidate : tuple of str
        Parts of the segments, with fields in braces; without parts the segment is not written.
    statistic : tuple of str
        Parts about figures that end a candidate that is written for a user.
    words : mapping
        Figure -> what its bands are called, lowest first (:data:`llm_models.m6.statistics.BANDS`).
    limits : mapping
        Segment -> field -> characters.
    separator : str
        Between a candidate and its figures, and between the segments of a user where they are joined.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: tuple[str, ...]
    click: tuple[str, ...]
    query: tuple[str, ...]
    candidate: tuple[str, ...]
    statistic: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    limits: dict[str, dict[str, int]]
    separator: str

    @field_validator("profile", "click", "query", "candidate", "statistic")
    @classmethod
    def _parts_are_in_order(cls, parts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if parts:
            Template(item=parts, user="{items}", separator="")  # refuses ids and what is no plain field
        named = {name for part in parts for name in _fields(part)}
        if info.field_name == "statistic" and (other := named - set(_OF_ITEM)):
            raise ValueError(f"{sorted(other)} are no figures of an item: there are {', '.join(_OF_ITEM)}")
        if info.field_name in {"click", "query"} and (figures := named & {*_OF_ITEM, *_OF_USER}):
            raise ValueError(f"{sorted(figures)} are figures: only a profile and a candidate can show some")
        return parts

    @field_validator("words")
    @classmethod
    def _words_fit_the_bands(
        cls, words: dict[str, tuple[str, ...]], info: ValidationInfo
    ) -> dict[str, tuple[str, ...]]:
        for figure, names in words.items():
            if figure not in BANDS:
                raise ValueError(f"{figure!r} is no figure: there are {', '.join(BANDS)}")
            if len(names) != BANDS[figure]:
                raise ValueError(f"{figure!r} has {BANDS[figure]} bands, not {len(names)}")
        parts = (*info.data.get("profile", ()), *info.data.get("statistic", ()))
        unnamed = {name for part in parts for name in _fields(part)} & set(BANDS) - set(words)
        if unnamed:
            raise ValueError(f"no words for the bands of {', '.join(sorted(unnamed))}")
        return words

    @property
    def digest(self) -> str:
        """sha256 of the content."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    @property
    def counts(self) -> bool:
        """Whether any figure is shown."""
        shown = {name for part in (*self.profile, *self.statistic) for name in _fields(part)}
        return bool(shown & {*_OF_ITEM, *_OF_USER})

    def write(self, segment: str, rows: pl.DataFrame) -> list[str]:
        """Write a segment (``"click"``, say) of every row of a table; empty where it has no field of any part."""
        parts = getattr(self, segment)
        limits = self.limits.get("candidate" if segment == "statistic" else segment, {})
        wanted = dict.fromkeys(name for part in parts for name in _fields(part) if name in rows.columns)
        if not wanted:
            return [""] * len(rows)
        table = {
            name: pl.Series([_cell(value, name, limits.get(name)) for value in rows[name].to_list()], dtype=pl.String)
            for name in wanted
        }
        written = Template(item=parts, user="{items}", separator="").write_items(pl.DataFrame(table))
        return [_clean(text) for text in written]


class Writer:
    """Writes requests by a behaviour.

    Parameters
    ----------
    behaviour : Behaviour
    statistics : Statistics or None
        Without, parts that show figures are left out.
    window : int
        Clicks of a history that are written: the latest with text.
    """

    def __init__(self, behaviour: Behaviour, statistics: Statistics | None, *, window: int) -> None:
        self.behaviour, self.statistics, self.window = behaviour, statistics, window

    def click_rows(
        self,
        user: NDArray[np.integer],
        history: Ragged,
        item: NDArray[np.integer],
        text: pl.DataFrame,
        users: pl.DataFrame | None = None,
        queries: pl.DataFrame | None = None,
        *,
        pairs: NDArray[np.integer] | None = None,
    ) -> Segments:
        """Write requests about one item each.

        Parameters
        ----------
        user, item : ndarray of int, shape (requests,)
            Codes.
        history : Ragged
            Item codes that each user chose before, oldest first: all of them, the writer cuts its window.
        text : polars.DataFrame
            Columns as in ``Catalogue.text``: the items of ``item`` and of ``history``.
        users : polars.DataFrame, optional
            ``user`` (codes) and any fields of a profile.
        queries : polars.DataFrame, optional
            ``row`` (position of the request) and ``query`` (text): what had been searched for by then, oldest first.
        pairs : ndarray of int, shape (requests,), optional
            Where the rows are training pairs: their positions, so that figures do not tell a pair its own label (see
            :meth:`llm_models.m6.statistics.Statistics.figures`). Without, rows are requests, asked after training.

        Raises
        ------
        UsageError
            When ``users`` or ``queries`` lack a column, or ``pairs`` does not name these rows.
        """
        pool = _Pool()
        text = text.sort("item")
        figures = None
        if self.behaviour.counts and self.statistics is not None:
            figures = self.statistics.figures(user, item, history, text, pairs)
        profile = self._profiles(pool, user, users, figures)
        clicks = self._clicks(pool, history, text)
        row, searches = self._queries(pool, queries, len(user))
        candidate = self._candidates(pool, item, text, figures)
        # A stable sort by row leaves the kinds in reading order.
        owner = np.concatenate([np.arange(len(user)), clicks.row_of, row])
        place = np.concatenate([profile, clicks.values, searches])
        order = np.argsort(owner, kind="stable")
        order = order[place[order] >= 0]
        lengths = np.bincount(owner[order], minlength=len(user))
        return Segments(pool.texts, Ragged.from_lengths(lengths, place[order]), candidate)

    def item_texts(self, rows: pl.DataFrame) -> list[str]:
        """Write items of a text table as candidates without a user, in order; empty where an item has no text."""
        return self.behaviour.write("candidate", rows)

    def joined(self, segments: Segments) -> tuple[list[str], list[str]]:
        """Per request the user and the candidate as one text each; empty where there is none.

        The newest click stands last, so a text that is too long is to be cut at its beginning.
        """
        texts = segments.texts
        users = [self.behaviour.separator.join(texts[place] for place in row.tolist()) for row in segments.user]
        return users, [texts[place] if place >= 0 else "" for place in segments.candidate.tolist()]

    def _profiles(
        self, pool: _Pool, user: NDArray[np.integer], users: pl.DataFrame | None, figures: Figures | None
    ) -> NDArray[np.int64]:
        codes, place = np.unique(user, return_inverse=True)
        table = pl.DataFrame({"user": codes.astype(np.int64)})
        if users is not None:
            _has(users, "users", "user")
            known = users.with_columns(pl.col("user").cast(pl.Int64)).unique("user", keep="first", maintain_order=True)
            table = table.join(known, on="user", how="left", maintain_order="left")
        bands = {} if figures is None else {name: getattr(figures, name) for name in _OF_USER}
        first, which = _distinct(place, *bands.values())
        rows = table[place[first]].with_columns(self._named(bands, first))
        return pool.add(self.behaviour.write("profile", rows))[which]

    def _clicks(self, pool: _Pool, history: Ragged, text: pl.DataFrame) -> Ragged:
        codes = text["item"].to_numpy()
        written = self.behaviour.write("click", text)
        has_text = np.array([bool(part) for part in written], bool)
        place = positions(codes, history.values)
        known = place >= 0
        known[known] = has_text[place[known]]
        shown = Ragged.from_lengths(history.lengths, place).keep(known).last(self.window)
        used, at = np.unique(shown.values, return_inverse=True)
        return Ragged(shown.offsets, pool.add([written[row] for row in used.tolist()])[at].astype(np.int32))

    def _queries(
        self, pool: _Pool, queries: pl.DataFrame | None, requests: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if queries is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        _has(queries, "queries", "row", "query")
        row = queries["row"].to_numpy().astype(np.int64)
        if len(row) and not 0 <= row.min() <= row.max() < requests:
            raise UsageError(f"queries: `row` must be the position of one of the {requests} requests")
        return row, pool.add(self.behaviour.write("query", queries))

    def _candidates(
        self, pool: _Pool, item: NDArray[np.integer], text: pl.DataFrame, figures: Figures | None
    ) -> NDArray[np.int64]:
        behaviour, place = self.behaviour, positions(text["item"].to_numpy(), item)
        shown = {name for part in behaviour.statistic for name in _fields(part)}
        bands = {} if figures is None else {name: getattr(figures, name) for name in _OF_ITEM if name in shown}
        # Items and combinations of figures are written once each, and only then put together.
        items = behaviour.write("candidate", text)
        counted, combination = _distinct(np.zeros(len(place), np.int64), *bands.values())
        names = () if figures is None else figures.names
        columns = self._named(bands, counted, names)
        said = behaviour.write("statistic", pl.DataFrame(columns)) if columns else [""] * len(counted)
        first, which = _distinct(place, combination)
        written = [
            items[row] and _clean(f"{items[row]}{behaviour.separator}{said[figure]}") if row >= 0 else ""
            for row, figure in zip(place[first].tolist(), combination[first].tolist(), strict=True)
        ]
        return pool.add(written)[which]

    def _named(
        self, bands: dict[str, NDArray[Any]], rows: NDArray[np.int64], categories: Sequence[str] = ()
    ) -> list[pl.Series]:
        """Columns of words: null where there is nothing to say, or a behaviour has no words for it."""
        columns = []
        for name, band in bands.items():
            words = categories if name == "category" else self.behaviour.words.get(name, ())
            told = [words[place] if words and place >= 0 else None for place in band[rows].tolist()]
            columns.append(pl.Series(name, told, dtype=pl.String))
        return columns


def short(text: str, limit: int | None) -> str:
    """Cut a text between words so that it has at most ``limit`` characters (one word is kept whatever its length).

    A bracket that the cut would leave open goes, too.
    """
    if limit is None or len(text) <= limit:
        return text
    head = text[: limit + 1]
    cut = (head.rsplit(" ", 1)[0] if " " in head else text.split(" ", 1)[0]).rstrip(_TRAILING)
    opened = cut.rfind("(") if cut.count("(") > cut.count(")") else 0
    return cut[:opened].rstrip(_TRAILING) if opened > 0 else cut


def _clean(text: str) -> str:
    return _GAP.sub(r"\1", text).lstrip(" ,;-").rstrip(_TRAILING)


def _cell(value: object, name: str, limit: int | None) -> str:
    """A field as tidy text within its limit; of a list the last entries that fit, at least one."""
    if isinstance(value, list):
        kept, left = [], limit
        for entry in filter(None, (_tidy(entry) for entry in reversed(value))):
            if kept and left is not None and len(entry) > left:
                break
            kept.append(short(entry, limit))
            left = None if left is None else left - len(entry) - 2
        return ", ".join(reversed(kept))
    text = _tidy(value)
    if name == "title" and (filed := _FILED.match(text)):
        name, article, rest = filed.groups(default="")
        text = f"{article}{'' if article.endswith(_ELIDED) else ' '}{name}{rest}"
    return short(text, limit)


class _Pool:
    """Distinct texts in order of first use."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}

    def add(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Position of each text, shape (texts,); -1 for an empty one."""
        place = self._place
        return np.array([place.setdefault(text, len(place)) if text else -1 for text in texts], np.int64)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._place)


def _distinct(*columns: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row of every combination of integers from -1, and which of them each row has, shape (rows,)."""
    key = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        key = key * (int(column.max(initial=-1)) + 2) + column + 1
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return first, which


def _has(table: pl.DataFrame, name: str, *columns: str) -> None:
    if missing := [column for column in columns if column not in table.columns]:
        raise UsageError(f"{name}: the table lacks {', '.join(missing)}; it has {', '.join(table.columns)}")


@cache
def raw_behaviours() -> dict[str, Any]:
    """``behaviour.yaml`` as it is."""
    raw: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("behaviour.yaml").read_text(encoding="utf-8"))
    return raw


@cache
def _behaviours() -> dict[str, Behaviour]:
    return {name: Behaviour.model_validate(content) for name, content in raw_behaviours()["behaviours"].items()}


def behaviour_names() -> list[str]:
    """Names of the shipped behaviours."""
    return list(_behaviours())


def load_behaviour(name: str) -> Behaviour:
    """The shipped behaviour of that name.

    Raises
    ------
    UsageError
        For an unknown name; suggests the nearest.
    """
    if name not in _behaviours():
        raise nearest("behaviour", name, _behaviours())
    return _behaviours()[name]
