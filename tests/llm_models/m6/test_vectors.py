from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.models import Ragged
from llm_models.m6.vectors import pool_recent, unit

histories = st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=5)


@given(rows=histories, window=st.integers(1, 9), half_life=st.none() | st.floats(0.5, 50))
def test_pooling_agrees_with_its_definition(rows, window, half_life):
    items = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    pooled = pool_recent(items, Ragged.from_lists(rows), window=window, half_life=half_life)
    assert pooled.dtype == np.float32
    for row, vector in zip(rows, pooled, strict=True):
        recent = row[-window:]
        weights = [1.0 if half_life is None else 0.5 ** (ago / half_life) for ago in range(len(recent))][::-1]
        expected = np.average(items[recent], axis=0, weights=weights) if recent else np.zeros(3)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_unit_rows():
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]], np.float32)), [[0.6, 0.8], [0, 0]], atol=1e-7)
