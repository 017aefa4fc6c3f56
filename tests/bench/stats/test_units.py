from __future__ import annotations

import numpy as np
import pytest

from bench.errors import DataError, UsageError
from bench.stats import Units, intervals, spread


def test_by_user_averages_a_users_requests_first():
    units = Units.by_user(np.array([7, 3, 7, 7]))
    cells = units.to_cells([1.0, 0.0, 0.0, 0.5])
    assert str(units) == "2 users"
    assert cells.tolist() == [[0.0, 0.5]]
    assert intervals({"m": [1.0, 0.0, 0.0, 0.5]}, units)["m"].mean == 0.25


def test_crossed_takes_the_plain_mean_over_requests():
    units = Units.crossed(np.array([7, 3, 7, 7]), np.array([1, 1, 2, 9]))
    assert str(units) == "2 users x 3 items"
    assert units.cells == 4
    assert intervals({"m": [1.0, 0.0, 0.0, 0.5]}, units)["m"].mean == 0.375


def test_of_knows_the_two_designs_and_suggests_the_nearest():
    user, item = np.array([0, 1]), np.array([0, 0])
    assert Units.of("user", user, item).kind == "user"
    assert str(Units.of("user x item", user, item)) == "2 users x 1 item"
    with pytest.raises(UsageError, match="did you mean 'user'"):
        Units.of("users", user, item)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_place(bad):
    units = Units.by_user(np.arange(3))
    with pytest.raises(DataError, match=r"bpr: the value of request 2 under seed 1 is .*miss"):
        intervals({"bpr": [[0.0, 0.0, 0.0], [0.0, 0.0, bad]]}, units)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"expected .seeds, 3 requests"):
        Units.by_user(np.arange(3)).to_cells(np.zeros((2, 4)), "bpr")
    with pytest.raises(DataError, match="2 requests have a user, but 3 have an item"):
        Units.crossed(np.arange(2), np.arange(3))
    with pytest.raises(DataError, match="non-empty"):
        Units.by_user(np.empty(0, np.int32))
    with pytest.raises(DataError, match="integer"):
        Units.by_user(np.array([0.5, 1.0]))


def test_spread_by_user_is_the_textbook_standard_error():
    values = np.random.default_rng(0).random((3, 40))
    error = spread(values, Units.by_user(np.arange(40)))
    np.testing.assert_allclose(error.standard_error, values.std(axis=1, ddof=1) / np.sqrt(40))
    np.testing.assert_allclose(error.df, 39)


def test_spread_of_balanced_crossed_data_estimates_the_known_variance():
    # Full 30 x 20 table of a_u + b_i + e: the variance of its mean is s_a^2 / 30 + s_b^2 / 20 + s_e^2 / 600.
    rng = np.random.default_rng(1)
    user, item = np.divmod(np.arange(600), 20)
    draws = 1500
    values = (
        1.0 * rng.standard_normal((draws, 30))[:, user]
        + 2.0 * rng.standard_normal((draws, 20))[:, item]
        + 3.0 * rng.standard_normal((draws, 600))
    )
    error = spread(values, Units.crossed(user, item))
    assert error.variance.mean() == pytest.approx(1 / 30 + 4 / 20 + 9 / 600, rel=0.04)


def test_spread_with_unequal_clusters_is_unbiased_and_its_df_match_its_variance():
    # Items alone matter, and a few of them carry most requests: 2 V^2 / df is the variance of an estimate of V.
    rng = np.random.default_rng(2)
    item = np.repeat(np.arange(25), np.geomspace(1, 60, 25).astype(int))
    share = np.bincount(item) / len(item)
    values = rng.standard_normal((4000, 25))[:, item]
    error = spread(values, Units.crossed(np.arange(len(item)), item))
    true = (share**2).sum()
    assert error.variance.mean() == pytest.approx(true, rel=0.03)
    assert 2 * true**2 / error.variance.var() == pytest.approx(np.median(error.df), rel=0.1)
    assert np.median(error.df) < 12


def test_a_single_user_or_item_supports_no_interval():
    for units in (Units.by_user(np.zeros(5, int)), Units.crossed(np.arange(5), np.zeros(5, int))):
        interval = intervals({"m": np.arange(5.0)}, units)["m"]
        assert interval.mean == 2.0
        assert np.isnan([interval.low, interval.high, interval.standard_error]).all()


def test_pooled_users_take_the_plain_mean_and_resample_users():
    rng = np.random.default_rng(3)
    user = np.repeat(np.arange(50), rng.integers(1, 9, 50))
    effect = rng.normal(0, 1, 50)
    values = effect[user] + rng.normal(0, 0.1, len(user))
    units = Units.pooled(user)
    assert str(units) == "50 users"
    assert units.cells == len(user)
    found = intervals({"m": values}, units)["m"]
    assert found.mean == pytest.approx(values.mean())
    # The brute-force cluster bootstrap of the ratio of sums, and far from the error of independent requests.
    totals, sizes = np.bincount(user, values), np.bincount(user)
    draws = rng.integers(0, 50, (4000, 50))
    brute = (totals[draws].sum(axis=1) / sizes[draws].sum(axis=1)).std()
    assert found.standard_error == pytest.approx(brute, rel=0.12)
    assert found.standard_error > 2 * values.std() / np.sqrt(len(user))
    assert found.low < values.mean() < found.high
