"""Training data written down in a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from bench.models import Ragged, Training

MakeTraining = Callable[..., Training]


@pytest.fixture(scope="session")
def make_training() -> MakeTraining:
    """Sequences of item codes, one a user; titles and categories by code, the id of code 7 is ``i7``."""

    def make(
        sequences: Sequence[Sequence[int]],
        titles: dict[int, str | None] | None = None,
        categories: dict[int, list[str]] | None = None,
        leak: Sequence[Sequence[int]] | None = None,
    ) -> Training:
        codes = sorted({item for row in sequences for item in row} | set(titles or {}))
        items = pl.DataFrame(
            {
                "item": pl.Series(codes, dtype=pl.Int32),
                "item_id": [f"i{code}" for code in codes],
                "title": pl.Series([(titles or {}).get(code) for code in codes], dtype=pl.String),
                "categories": pl.Series([(categories or {}).get(code) for code in codes], dtype=pl.List(pl.String)),
            }
        )
        return Training(
            user=np.arange(10, 10 + len(sequences), dtype=np.int32),
            sequences=Ragged.from_lists(sequences),
            time=None,
            rating=None,
            items=items,
            leak=None if leak is None else Ragged.from_lists(leak),
        )

    return make


@pytest.fixture(scope="session")
def rows_of() -> Callable[[dict[int, str | None]], pl.DataFrame]:
    """A text table, as requests carry it."""

    def make(titles: dict[int, str | None]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "item": pl.Series(list(titles), dtype=pl.Int32),
                "item_id": [f"i{code}" for code in titles],
                "title": pl.Series(list(titles.values()), dtype=pl.String),
            }
        )

    return make
