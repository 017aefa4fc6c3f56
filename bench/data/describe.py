"""The figures a person wants to see before trusting a data set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from bench.data.dataset import Dataset
from bench.data.ties import tie_statistics

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe"]


def describe(dataset: Dataset) -> pd.DataFrame:
    """Summarise a data set.

    Returns
    -------
    pandas.DataFrame
        Columns ``figure`` and ``value``, both text, in the order of reading.
    """
    import pandas as pd

    rows = [*_size(dataset), *_ratings(dataset), *_times(dataset), *_texts(dataset)]
    return pd.DataFrame(rows, columns=["figure", "value"])


def _size(dataset: Dataset) -> list[tuple[str, str]]:
    events = dataset.interactions
    users, items = events["user_id"].n_unique(), dataset.items.height
    rows = [
        ("users", f"{users:,}"),
        ("items", f"{items:,}"),
        ("interactions", f"{events.height:,}"),
        ("density", f"{events.height / (users * items):.3%}"),
    ]
    for figure, column in (("history length", "user_id"), ("events per item", "item_id")):
        lengths = events.group_by(column).len()["len"].to_numpy()
        spread = f"min {lengths.min()}, median {np.median(lengths):g}, mean {lengths.mean():.1f}, max {lengths.max()}"
        rows.append((figure, spread))
    rows += [(f"dropped: {reason}", f"{count:,}") for reason, count in dataset.dropped.items()]
    return rows


def _ratings(dataset: Dataset) -> list[tuple[str, str]]:
    ratings = dataset.interactions["rating"].drop_nulls().to_numpy()
    if not len(ratings):
        return [("ratings", "none")]
    values, counts = np.unique(ratings, return_counts=True)
    shares = (f"{value:g}: {count / len(ratings):.1%}" for value, count in zip(values, counts, strict=True))
    spread = ", ".join(shares) if len(values) <= 20 else f"{values[0]:g} to {values[-1]:g}"
    return [("ratings", spread), ("mean rating", f"{ratings.mean(dtype=np.float64):.2f}")]


def _times(dataset: Dataset) -> list[tuple[str, str]]:
    ties = tie_statistics(dataset.interactions)
    if ties is None:
        return [("times", "none: only the order of each user's events is known")]
    span = dataset.interactions.select(pl.col("time").min().alias("first"), pl.col("time").max().alias("last"))
    return [
        ("first event", _date(span["first"].item())),
        ("last event", _date(span["last"].item())),
        ("users whose last two events are tied", f"{ties.users_last_two:.1%}"),
        ("events tied with another of their user", f"{ties.events:.1%}"),
    ]


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s (outside the calendar: are these seconds?)"


def _texts(dataset: Dataset) -> list[tuple[str, str]]:
    items = dataset.items
    names = items["categories"].drop_nulls().explode()
    return [
        ("items with a title", f"{1 - items['title'].null_count() / items.height:.1%}"),
        ("items with categories", f"{1 - items['categories'].null_count() / items.height:.1%}"),
        ("distinct categories", f"{names.n_unique() if len(names) else 0:,}"),
    ]
