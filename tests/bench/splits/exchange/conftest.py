"""Small data sets made without files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from bench.data import Dataset
from bench.data.card import Card
from bench.data.events import CodedEvents
from bench.data.hashing import digest, digest_frame

Row = tuple[str, str, float, int]


def made_dataset(
    rows: Sequence[Row], *, name: str = "tiny", sequence: bool = False, rated: bool = True, titles: bool = True
) -> Dataset:
    """A data set of (user, item, rating, time) rows; with ``sequence`` the times are places."""
    order = "sequence" if sequence else "time"
    filters = [{"filter": "repeats", "keep": "all"}] if len({row[:2] for row in rows}) < len(rows) else []
    card = Card.model_validate(
        {
            "name": name,
            "title": "Made by a test",
            "description": "Made by a test.",
            "licence": "none",
            "citation": "none",
            "reader": "s3rec" if sequence else "recbole-atomic",
            "order": order,
            "files": {"interactions": {"path": ["none"]}},
            "filters": filters,
            "notes": ["made by a test"],
        }
    )
    columns: dict[str, Any] = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "time": pl.Int64}
    table = pl.DataFrame(list(rows), schema=columns, orient="row").sort("user_id", "time", "item_id", "rating")
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("user_id")
    table = table.with_columns(position=place if sequence else pl.lit(None, pl.Int64))
    if sequence:
        table = table.with_columns(time=pl.lit(None, pl.Int64))
    if not rated:
        table = table.with_columns(rating=pl.lit(None, pl.Float32))
    items = table.select(pl.col("item_id").unique()).sort("item_id")
    title = pl.format('The "{}"\tof titles', "item_id") if titles else pl.lit(None, pl.String)
    some = pl.int_range(pl.len()) % 3 > 0
    items = items.with_columns(
        title=pl.when(some).then(title),
        categories=pl.when(some).then(pl.lit(["Hair Care", "NA"])) if titles else pl.lit(None, pl.List(pl.String)),
    )
    identity = digest({"interactions": digest_frame(table), "items": digest_frame(items)})
    return Dataset(
        name=name,
        card=card,
        events=CodedEvents.of(table),
        items=items,
        order=order,
        identity=identity,
        warnings=(),
        dropped={},
        missing=(),
        sources={},
    )


@pytest.fixture(scope="session")
def dataset() -> Callable[..., Dataset]:
    return made_dataset


@pytest.fixture(scope="session")
def random_rows() -> list[Row]:
    """40 users with 3 to 12 of 30 items, many of the events in one second."""
    import random

    rng = random.Random(3)
    return [
        (f"u{user}", f"i{item}", float(rng.randint(1, 5)), 1_000_000_000 + rng.randint(0, 40) * 1000)
        for user in range(40)
        for item in rng.sample(range(30), rng.randint(3, 12))
    ]
