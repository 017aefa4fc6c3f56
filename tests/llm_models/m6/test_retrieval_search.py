"""Search, against plain sorting, and FAISS against exact search."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import MissingInputError
from bench.models import Ragged
from llm_models.m6 import search
from llm_models.m6.search import FAISS_FROM, Index, best


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 11),
    st.integers(0, 2**31),
)
def test_best_is_a_stable_sort(queries, items, k, seed):
    scores = np.random.default_rng(seed).integers(-2, 3, size=(queries, items)).astype(np.float32)
    scores[scores == -2] = np.nan
    found = best(scores, k)
    for row in range(queries):
        order = sorted((-scores[row, c], c) for c in range(items) if not np.isnan(scores[row, c]))[:k]
        assert found.rows[row].tolist() == [c for _, c in order]
    np.testing.assert_array_equal(found.scores, scores[found.rows.row_of, found.rows.values])


def vectors(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def test_exact_search_lists_the_largest_products_and_leaves_out_what_is_excluded(monkeypatch):
    items, queries = vectors(50, 0), vectors(7, 1)
    exclude = Ragged.from_lists([[int(i)] for i in (queries @ items.T).argmax(axis=1)])
    whole = Index(items).top(queries, 5, exclude=exclude)
    monkeypatch.setattr(search, "_BLOCK", 100)  # two queries at a time
    found = Index(items).top(queries, 5, exclude=exclude)
    products = queries @ items.T
    for row in range(7):
        assert found.rows[row].tolist() == np.argsort(-products[row])[1:6].tolist()
    np.testing.assert_array_equal(found.rows.values, whole.rows.values)
    np.testing.assert_allclose(found.scores, whole.scores, rtol=1e-5)
    assert Index(items).top(queries[:0], 3).scores.shape == (0,)
    assert Index(items[:2]).top(queries, 5).rows.lengths.tolist() == [2] * 7


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is an extra: pip install faiss-cpu")
def test_faiss_finds_what_exact_search_finds():
    items, queries = vectors(300, 2), vectors(20, 3)
    exclude = Ragged.from_lists([np.random.default_rng(row).choice(300, size=row, replace=False) for row in range(20)])
    exact, faiss = Index(items), Index(items, faiss_from=300)
    assert (exact.method, faiss.method) == ("exact", "faiss")
    left, right = exact.top(queries, 10, exclude=exclude), faiss.top(queries, 10, exclude=exclude)
    np.testing.assert_array_equal(left.rows.values, right.rows.values)
    np.testing.assert_array_equal(left.rows.offsets, right.rows.offsets)
    np.testing.assert_allclose(left.scores, right.scores, rtol=1e-5)


def test_without_faiss_a_large_catalogue_says_what_to_install(monkeypatch):
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match="faiss"):
        Index(np.zeros((FAISS_FROM, 1), np.float32))
    assert Index(np.zeros((FAISS_FROM - 1, 1), np.float32)).method == "exact"
