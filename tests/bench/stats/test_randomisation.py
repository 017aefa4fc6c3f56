from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats import Units, randomisation_p


def users(count: int) -> Units:
    return Units.by_user(np.arange(count))


def test_agrees_with_scipys_permutation_test():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 200))
    one += 0.06
    theirs = stats.permutation_test(
        (one, other),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=50_000,
        rng=1,
    ).pvalue
    ours = randomisation_p((one - other)[None], users(200), permutations=50_000)[0]
    assert 0.005 < theirs < 0.2
    assert ours == pytest.approx(theirs, abs=0.004)


def test_few_clusters_are_enumerated_exactly_as_scipy_does():
    one, other = np.random.default_rng(1).random((2, 9))
    theirs = stats.permutation_test(
        (one, other), lambda x, y: np.mean(x - y), permutation_type="samples", vectorized=False
    ).pvalue
    assert randomisation_p((one - other)[None], users(9), permutations=512)[0] == pytest.approx(theirs, abs=1e-12)


def test_the_draws_include_the_observation_so_p_is_never_0():
    clear = 1 + np.random.default_rng(2).random((1, 500))
    assert randomisation_p(clear, users(500), permutations=999)[0] == 1 / 1000
    assert randomisation_p(clear[:, :5], users(5))[0] == 2 / 32


def test_nothing_differs():
    zeros = np.zeros((1, 50))
    assert randomisation_p(zeros, users(50))[0] == 1
    assert randomisation_p(zeros, Units.crossed(np.arange(50) % 7, np.arange(50) % 9))[0] == 1


def test_one_cluster_proves_nothing():
    assert randomisation_p(np.ones((1, 1)), users(1))[0] == 1
    assert randomisation_p(np.ones((1, 60)), Units.crossed(np.arange(60), np.zeros(60, int)))[0] == 1


def test_crossed_data_need_both_factors_to_agree():
    # 400 users each prefer the model on the one popular item, not on the seven others: users agree, items do not.
    user = np.arange(800) % 400
    item = np.where(np.arange(800) < 400, 0, 1 + np.arange(800) % 7)
    difference = np.where(item == 0, 1.0, -0.5)[None] + 0.1 * np.random.default_rng(3).standard_normal((1, 800))
    by_user = np.stack([difference[0, :400] + difference[0, 400:]])
    assert randomisation_p(by_user, users(400))[0] < 0.001
    assert randomisation_p(difference, Units.crossed(user, item))[0] > 0.2


def test_crossed_p_is_no_smaller_than_by_either_factor():
    rng = np.random.default_rng(4)
    user, item = rng.integers(0, 40, 500), rng.integers(0, 30, 500)
    differences = rng.standard_normal((20, 500)) + 0.06
    crossed = Units.crossed(user, item)
    joint = randomisation_p(differences, crossed)
    for factor in crossed.factors:
        totals = factor.totals(differences)
        assert (joint >= randomisation_p(totals, users(totals.shape[1])) - 0.02).all()


def test_chunks_change_nothing_but_memory(monkeypatch):
    differences = np.random.default_rng(5).standard_normal((2, 64))
    whole = randomisation_p(differences, users(64), permutations=1000)
    monkeypatch.setattr("bench.stats.randomisation._CHUNK_BYTES", 8 * 64 * 90)
    np.testing.assert_array_equal(randomisation_p(differences, users(64), permutations=1000), whole)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 5), st.integers(-3, 3)), min_size=1, max_size=40),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_properties(rows, crossed, seed):
    user, item, difference = (np.array(column) for column in zip(*rows, strict=True))
    units = Units.of("user x item" if crossed else "user", user, item)
    cells = units.to_cells(difference)
    p = randomisation_p(cells, units, permutations=200)[0]
    assert 1 / 201 <= p <= 1
    assert randomisation_p(-cells, units, permutations=200)[0] == p
    assert randomisation_p(3 * cells, units, permutations=200)[0] == pytest.approx(p)

    order = np.random.default_rng(seed).permutation(len(user))
    again = Units.of(units.kind, user[order], item[order])
    assert randomisation_p(again.to_cells(difference[order]), again, permutations=200)[0] == pytest.approx(p)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=7), st.integers(0, 6))
def test_flipping_a_whole_cluster_leaves_the_reference_distribution_alone(values, flipped):
    # The draws depend on the clusters' absolute values only: flip one, and p counts the new mean among the same.
    cells = np.array([values], float)
    cells[0, flipped % len(values)] *= -1
    signs = 1 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
    sums = np.abs(signs @ np.abs(values))
    expected = np.mean(sums >= abs(cells.sum()))
    assert randomisation_p(cells, users(len(values)), permutations=1000)[0] == pytest.approx(expected)
