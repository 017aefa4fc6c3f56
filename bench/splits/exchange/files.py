"""Somebody else's split: a folder with one file for training, one for the test and, mostly, one for validation.

The files may be CSV, TSV, Parquet or RecBole's ``.inter``, the text ones gzipped too. A file belongs to a part by a
word of its name (``Beauty.train.csv``, ``valid.parquet``, ``ml-dev.tsv``); its columns are known by the names that are
common in the field. Where that is not enough, a ``split.yaml`` in the folder says it::

    files: {train: a.csv, valid: b.csv, test: c.csv}
    columns: {user: who, item: what, rating: stars, time: when}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import DataError

__all__ = ["SETTINGS", "PartFile", "find_parts", "read_part"]

SETTINGS = "split.yaml"

PartName = Literal["train", "valid", "test"]

_WORDS: Mapping[str, PartName] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
_SUFFIXES = (".csv", ".tsv", ".inter", ".parquet")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "user", "userid", "uid", "reviewerid", "reviewer_id"),
    "item": ("item_id", "item", "itemid", "iid", "parent_asin", "asin", "movie_id", "movieid", "business_id"),
    "rating": ("rating", "ratings", "overall", "stars"),
    "time": ("timestamp", "time", "unixreviewtime", "unix_review_time"),
}
"""Our column -> what others call it, first choice first; letter case does not matter."""


@dataclass(frozen=True)
class PartFile:
    """One file of a split.

    Attributes
    ----------
    columns : mapping
        Our column -> the file's, where ``split.yaml`` says so.
    """

    part: PartName
    path: Path
    columns: Mapping[str, str]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[PartName, str] = {}
    columns: dict[Literal["user", "item", "rating", "time"], str] = {}


def find_parts(folder: Path) -> tuple[PartFile, ...]:
    """Say which file holds which part, in the order of training, validation and test.

    Raises
    ------
    DataError
        When training or test is nowhere, a part is ambiguous, or ``split.yaml`` is wrong.
    """
    settings = _settings(folder / SETTINGS)
    found: dict[PartName, Path] = {}
    for path in sorted(folder.iterdir()):
        part = _part(path.name)
        if part is None or part in settings.files or not path.is_file():
            continue
        if part in found:
            raise DataError(
                f"{folder}: both {found[part].name} and {path.name} look like the {part} part: "
                f"say which one it is in {SETTINGS}, e.g. files: {{{part}: {path.name}}}"
            )
        found[part] = path
    for part, name in settings.files.items():
        found[part] = _inside(folder, name)
    needed: tuple[PartName, ...] = ("train", "test")
    for part in needed:
        if part not in found:
            raise DataError(
                f"{folder}: no file of the {part} part: its name should hold the word {part!r} and end in "
                f"{', '.join(_SUFFIXES)} (text also .gz), or {SETTINGS} name it: files: {{{part}: my-file.csv}}"
            )
    order: tuple[PartName, ...] = ("train", "valid", "test")
    columns: dict[str, str] = dict(settings.columns.items())
    return tuple(PartFile(part, found[part], columns) for part in order if part in found)


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{folder / SETTINGS}: files: {name} lies outside the folder")
    if not path.is_file():
        raise DataError(f"{folder / SETTINGS}: files: there is no {name} in the folder")
    return path


def _part(name: str) -> PartName | None:
    stem = name.lower().removesuffix(".gz")
    if not stem.endswith(_SUFFIXES):
        return None
    parts = {_WORDS[word] for word in re.split(r"[^a-z0-9]+", stem) if word in _WORDS}
    return parts.pop() if len(parts) == 1 else None


def _settings(path: Path) -> _Settings:
    if not path.is_file():
        return _Settings()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _Settings.model_validate({} if content is None else content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not YAML in UTF-8: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}") from error


def read_part(file: PartFile) -> tuple[pl.DataFrame, list[str]]:
    """Read one part.

    Returns
    -------
    rows : polars.DataFrame
        ``user_id``, ``item_id`` (String), ``rating`` (Float64), ``time`` (Float64, in the file's unit), null where the
        file has none, and ``row`` (from 1; 2 for the first after a header), in the order of the file.
    ignored : list of str
        Columns that are not read.

    Raises
    ------
    DataError
        With file, row and column.
    """
    table = _read(file.path)
    columns = _columns(file, table.columns)
    texts = {ours: _text(file, table[name]) for ours, name in columns.items()}
    first = 1 if _is_parquet(file.path) else 2
    for kind in ("user", "item"):
        _refuse(file, first, columns[kind], texts[kind].fill_null("") == "", f"no {kind}")
    numbers = {kind: pl.repeat(None, table.height, dtype=pl.Float64, eager=True) for kind in ("rating", "time")}
    for kind in ("rating", "time"):
        if kind not in columns:
            continue
        given = texts[kind].str.strip_chars()
        read = given.cast(pl.Float64, strict=False)
        wrong = (given.fill_null("") != "") & ~read.is_finite().fill_null(False)
        if kind == "time" and wrong.any() and read.null_count() == table.height:
            # Dates in words, say: times are only compared with the data set's, so nothing hangs on them.
            del columns[kind]
            continue
        _refuse(file, first, columns[kind], wrong, "not a number", values=given)
        numbers[kind] = read
    rows = pl.DataFrame(
        {
            "user_id": texts["user"],
            "item_id": texts["item"],
            "rating": numbers["rating"],
            "time": numbers["time"],
            "row": pl.int_range(first, first + table.height, dtype=pl.Int64, eager=True),
        }
    )
    used = set(columns.values())
    return rows, [name for name in table.columns if name not in used]


def _text(file: PartFile, column: pl.Series) -> pl.Series:
    """A column as text; moments as Unix seconds."""
    try:
        if column.dtype in (pl.Datetime, pl.Date):
            column = column.dt.epoch("s")
        return column.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file.path}, column {column.name!r}: cannot be read as text ({column.dtype})") from error


def _refuse(
    file: PartFile, first: int, column: str, wrong: pl.Series, problem: str, *, values: pl.Series | None = None
) -> None:
    """Raise for the first wrong row, if there is one; ``first`` is the file's row of the first."""
    if wrong.any():
        at = int(wrong.arg_true()[0])
        said = problem if values is None else f"{values[at]!r} is {problem}"
        more = f" (and {wrong.sum() - 1:,} more rows)" if wrong.sum() > 1 else ""
        raise DataError(f"{file.path}, row {first + at}, column {column!r}: {said}{more}")


def _columns(file: PartFile, header: list[str]) -> dict[str, str]:
    """Our column -> the file's; user and item are a must."""
    for name in header:
        # What polars makes of a name that stands twice.
        base = re.sub(r"_duplicated_\d+$", "", name)
        if base != name and base in header:
            raise DataError(f"{file.path}, row 1: column {base!r} stands twice")
    bare = {re.sub(r":[a-z_]+$", "", name.strip().lstrip("\ufeff")).casefold(): name for name in reversed(header)}
    chosen: dict[str, str] = {}
    for ours, known in _NAMES.items():
        if ours in file.columns:
            named = file.columns[ours]
            if named not in header and named.casefold() not in bare:
                raise DataError(f"{file.path}: no column {named!r}, which {SETTINGS} names; found {', '.join(header)}")
            chosen[ours] = named if named in header else bare[named.casefold()]
            continue
        called = next((bare[name] for name in known if name in bare), None)
        if called is not None:
            chosen[ours] = called
        elif ours in ("user", "item"):
            raise DataError(
                f"{file.path}, row 1: no column of the {ours} among {', '.join(map(repr, header))}: name it in "
                f"{file.path.parent / SETTINGS}: columns: {{{ours}: my-column}}"
            )
    return chosen


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(".parquet")


def _read(path: Path) -> pl.DataFrame:
    name = path.name.lower().removesuffix(".gz")
    comma = name.endswith(".csv")
    try:
        if _is_parquet(path):
            return pl.read_parquet(path)
        return pl.read_csv(
            path,
            separator="," if comma else "\t",
            # Only CSV has quotes: in the others they are letters like any other.
            quote_char='"' if comma else None,
            infer_schema=False,
        )
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read: {said}") from error
