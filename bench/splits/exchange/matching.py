"""The rows of somebody else's split as events of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data import Dataset
from bench.errors import DataError
from bench.splits.events import Events
from bench.splits.exchange.files import PartFile, read_part
from bench.splits.exchange.ids import Codes

__all__ = ["CALLED", "MatchedPart", "match_rows"]

CALLED = {"train": "training", "valid": "validation", "test": "test"}
"""What messages call the parts."""


@dataclass(frozen=True, eq=False)
class MatchedPart:
    """The rows of one file, as events.

    Attributes
    ----------
    file : PartFile
    at : ndarray of int64, shape (events of the part,)
        Positions of events, strictly increasing.
    repeated : int
        Rows that said again what another one had said.
    ratings, times : int
        Rows that say otherwise than the data set.
    ignored : list of str
        Columns that were not read.
    """

    file: PartFile
    at: NDArray[np.int64]
    repeated: int
    ratings: int
    times: int
    ignored: list[str]


def match_rows(files: Sequence[PartFile], events: Events, dataset: Dataset) -> dict[str, MatchedPart]:
    """Find the event of every row.

    The n-th event of a pair is its n-th row, the training's first and in order of time; where the data set has no
    repeated pairs, every row of a pair is its only event.

    Returns
    -------
    dict
        ``"train"``, ``"valid"``, ``"test"`` -> rows of that part, where there is such a file.

    Raises
    ------
    DataError
        When a file but that of validation has no rows, or a row is no event of the data set.
    """
    users, items = Codes("user", events.users["user_id"]), Codes("item", events.items["item_id"])
    read = [(file, *read_part(file)) for file in files]
    coded = []
    for number, (file, rows, _) in enumerate(read):
        if not rows.height and file.part != "valid":
            raise DataError(f"{file.path}: no rows, so there is nothing for {CALLED[file.part]}")
        rows = rows.with_columns(
            users.look_up(rows["user_id"]).alias("user"), items.look_up(rows["item_id"]).alias("item"), part=number
        )
        for kind in ("user", "item"):
            _refuse_unknown(file, rows, kind, dataset)
        coded.append(rows)
    rows = pl.concat(coded)
    pair = ["user", "item"]
    table = pl.DataFrame({"user": events.user, "item": events.item, "at": np.arange(len(events))})
    if events.repeats:
        turn = pl.int_range(pl.len()).over(pair)
        table = table.with_columns(turn=turn)
        rows = rows.sort("part", "time", "row", nulls_last=True).with_columns(turn=turn)
        found = rows.join(table, on=[*pair, "turn"], how="left")
    else:
        found = rows.join(table, on=pair, how="left")
    return {
        file.part: _part(file, found.filter(pl.col("part") == number), ignored, events, dataset)
        for number, (file, _, ignored) in enumerate(read)
    }


def _refuse_unknown(file: PartFile, rows: pl.DataFrame, kind: str, dataset: Dataset) -> None:
    wrong = rows.filter(pl.col(kind).is_null())
    if wrong.height:
        names = wrong[f"{kind}_id"].unique(maintain_order=True)
        examples = ", ".join(repr(name) for name in names.head(3))
        raise DataError(
            f"{file.path}, row {wrong['row'][0]}: {wrong.height:,} rows name {len(names):,} {kind}s that are not in "
            f"{dataset.name}, for example {examples}; leaving rows out would make another split. Does the data set's "
            "card filter more than the split's authors did? A card over the split's own files knows everyone in them"
        )


def _part(file: PartFile, found: pl.DataFrame, ignored: list[str], events: Events, dataset: Dataset) -> MatchedPart:
    lost = found.filter(pl.col("at").is_null()).sort("row")
    if lost.height:
        row = lost.row(0, named=True)
        raise DataError(
            f"{file.path}, row {row['row']}: {lost.height:,} rows are no events of {dataset.name}; the first: user "
            f"{row['user_id']!r} with item {row['item_id']!r}"
        )
    distinct = found.sort("at", "row").unique("at", keep="first", maintain_order=True)
    at = distinct["at"].to_numpy().astype(np.int64)
    return MatchedPart(
        file=file,
        at=at,
        repeated=found.height - distinct.height,
        ratings=_others(distinct["rating"], None if events.rating is None else events.rating[at], 1e-3),
        # The data set's are whole seconds, the files' perhaps milliseconds.
        times=_others(distinct["time"], None if events.time is None else events.time[at], 1.0, (1, 1000)),
        ignored=ignored,
    )


def _others(
    said: pl.Series, known: NDArray[np.float32] | NDArray[np.int64] | None, near: float, units: Sequence[int] = (1,)
) -> int:
    """How many values are not ``near`` the known ones, in the unit that fits best."""
    if known is None or said.null_count() == len(said):
        return 0
    given = said.to_numpy().astype(np.float64)
    there = ~np.isnan(given)
    return min(int(np.count_nonzero(np.abs(given[there] / unit - known[there]) >= near)) for unit in units)
