from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from baselines.content.mapping import learn_mapping

ITEMS, WORDS, FACTORS = 60, 25, 4


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    dense = rng.random((ITEMS, WORDS)) * (rng.random((ITEMS, WORDS)) < 0.3)
    return dense / np.linalg.norm(dense, axis=1, keepdims=True)


def test_it_is_the_ridge_regression_times_one_number(rows):
    factors = np.random.default_rng(1).normal(size=(ITEMS, FACTORS)) + 1
    found = learn_mapping(csr_array(rows), factors, ridge=0.7, rng=np.random.default_rng(2))
    exact = Ridge(alpha=0.7, solver="cholesky").fit(rows, factors)
    # By the normal equations of the centred problem, as a third opinion.
    centred = rows - rows.mean(0)
    weight = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(WORDS), centred.T @ (factors - factors.mean(0)))
    np.testing.assert_allclose(exact.coef_.T, weight, atol=1e-10)
    stretch = found.intercept[0] / exact.intercept_[0]
    assert stretch > 1, "a regression on noise shrinks"
    np.testing.assert_allclose(found.weight, stretch * weight, atol=2e-3)
    np.testing.assert_allclose(found(csr_array(rows)), stretch * exact.predict(rows), atol=2e-3)


def test_mapped_factors_of_unseen_items_are_as_long_as_trained_ones():
    rng = np.random.default_rng(3)
    rows = rng.random((1000, WORDS)) * (rng.random((1000, WORDS)) < 0.3)
    factors = rows @ rng.normal(size=(WORDS, FACTORS)) + rng.normal(size=(1000, FACTORS)) * 2
    length = np.square(factors[500:]).sum()
    plain = Ridge(alpha=3.0).fit(rows[:500], factors[:500]).predict(rows[500:])
    mapped = learn_mapping(csr_array(rows[:500]), factors[:500], ridge=3.0, rng=rng)(csr_array(rows[500:]))
    assert np.square(plain).sum() / length < 0.5
    assert np.square(mapped).sum() / length == pytest.approx(1, abs=0.15)


def test_a_map_that_text_determines_is_found(rows):
    factors = rows @ np.random.default_rng(4).normal(size=(WORDS, FACTORS)) + 2
    found = learn_mapping(csr_array(rows), factors, ridge=1e-6, rng=np.random.default_rng(5))
    np.testing.assert_allclose(found(csr_array(rows)), factors, atol=0.02)


def test_so_few_items_that_none_can_be_set_aside(rows):
    factors = np.arange(8.0).reshape(2, FACTORS)
    found = learn_mapping(csr_array(rows[:2]), factors, ridge=1e-6, rng=np.random.default_rng(6))
    np.testing.assert_allclose(found(csr_array(rows[:2])), factors, atol=1e-3)
