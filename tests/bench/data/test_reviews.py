"""Review texts: only the rows that are asked for, in the order they are asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.reviews import Reviews


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Reviews:
    path = tmp_path_factory.mktemp("reviews") / "reviews.parquet"
    frame = pl.DataFrame(
        {"headline": [f"h{n}" if n % 3 else None for n in range(500)], "text": [f"t{n}" for n in range(500)]}
    )
    frame.write_parquet(path, row_group_size=64)
    return Reviews(path, np.arange(500, dtype=np.uint32), ("headline", "text"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.integers(0, 499), max_size=40))
def test_rows_come_in_the_order_they_are_asked_for(texts, rows):
    taken = texts.take(np.array(rows, np.int64))
    assert len(taken) == len(rows)
    found = taken.frame()
    assert found.columns == ["headline", "text"]
    assert found["text"].to_list() == [f"t{row}" for row in rows]
    assert found["headline"].to_list() == [f"h{row}" if row % 3 else None for row in rows]


def test_joined_texts_are_those_of_the_parts(texts):
    both = Reviews.concatenate([texts.take(np.array([3, 1])), texts.take(np.array([499]))])
    assert both.frame()["text"].to_list() == ["t3", "t1", "t499"]
