from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from bench.errors import DataError, UsageError
from bench.stats import Units, compare_all, correct, intervals, randomisation_p


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    base = rng.random(300)
    return {
        "popularity": base * 0.8,
        "ease": base + 0.02 * rng.standard_normal((1, 300)),
        "p5": base + 0.05 + 0.3 * rng.standard_normal((3, 300)),
    }


@pytest.fixture(scope="module")
def by_user() -> Units:
    return Units.by_user(np.arange(300))


def test_a_row_agrees_with_scipy_and_statsmodels(values, by_user):
    row = {row.model: row for row in compare_all(values, by_user, reference="ease")}["p5"]
    p5, ease = values["p5"].mean(axis=0), values["ease"][0]
    apart = p5 - ease
    assert row.mean == pytest.approx(p5.mean())
    assert row.difference == pytest.approx(apart.mean())
    assert row.p_t == pytest.approx(stats.ttest_rel(p5, ease).pvalue)
    assert row.p == pytest.approx(row.p_t, abs=0.01)
    assert row.p_wilcoxon == pytest.approx(stats.wilcoxon(p5, ease).pvalue)
    assert row.effect == pytest.approx(apart.mean() / apart.std(ddof=1))
    assert (row.win, row.tie, row.loss) == ((apart > 0).sum(), 0, (apart < 0).sum())
    assert row.mde / apart.std(ddof=1) == pytest.approx(
        TTestPower().solve_power(nobs=300, alpha=0.05, power=0.8), rel=0.01
    )
    assert row.seed_spread == pytest.approx(values["p5"].mean(axis=1).std(ddof=1))
    assert (row.seeds, row.units) == (3, "300 users")
    assert row.diff_low < row.difference < row.diff_high


def test_rows_keep_the_order_and_the_intervals_of_the_models(values, by_user):
    rows = compare_all(values, by_user, reference="ease", replicates=500)
    alone = intervals(values, by_user, replicates=500)
    assert [row.model for row in rows] == list(values)
    for row in rows:
        assert (row.mean, row.low, row.high) == dataclasses.astuple(alone[row.model])[:3]


def test_the_reference_is_not_tested_and_does_not_count_as_a_comparison(values, by_user):
    rows = {row.model: row for row in compare_all(values, by_user, reference="ease")}
    reference = rows["ease"]
    assert all(math.isnan(x) for x in (reference.p, reference.p_corrected, reference.p_t, reference.p_wilcoxon))
    assert math.isnan(reference.mde)
    assert (reference.difference, reference.diff_low, reference.diff_high, reference.effect) == (0, 0, 0, 0)
    assert (reference.win, reference.tie, reference.loss, reference.better) == (0, 300, 0, None)
    others = [rows["popularity"].p, rows["p5"].p]
    np.testing.assert_allclose([rows["popularity"].p_corrected, rows["p5"].p_corrected], correct(others))


def test_a_paired_interval_is_narrower_than_the_difference_of_two(values, by_user):
    row = {row.model: row for row in compare_all(values, by_user, reference="ease")}["popularity"]
    assert row.diff_high - row.diff_low < 0.5 * (row.high - row.low)


def test_lower_is_better_turns_wins_around_but_not_the_difference(values, by_user):
    up = compare_all(values, by_user, reference="ease")[0]
    down = compare_all(values, by_user, reference="ease", higher_is_better=False)[0]
    assert (down.win, down.tie, down.loss) == (up.loss, up.tie, up.win)
    assert (up.better, down.better) == (False, True)
    assert (down.difference, down.p, down.effect) == (up.difference, up.p, up.effect)


def test_swapping_model_and_reference_mirrors_the_row(values, by_user):
    one = {row.model: row for row in compare_all(values, by_user, reference="ease", correction="none")}["p5"]
    other = {row.model: row for row in compare_all(values, by_user, reference="p5", correction="none")}["ease"]
    assert (one.p, one.p_t) == pytest.approx((other.p, other.p_t))
    assert (one.win, one.loss) == (other.loss, other.win)
    assert (one.diff_low, one.diff_high) == pytest.approx((-other.diff_high, -other.diff_low))


def test_identical_models_differ_by_nothing():
    same = np.random.default_rng(1).random(40)
    for units in (Units.by_user(np.arange(40)), Units.crossed(np.arange(40) % 8, np.arange(40) % 5)):
        row = compare_all({"a": same, "b": same.copy()}, units, reference="a")[1]
        assert (row.p, row.p_corrected, row.p_t, row.p_wilcoxon) == (1, 1, 1, 1)
        assert (row.difference, row.diff_low, row.diff_high, row.effect) == (0, 0, 0, 0)
        assert (row.win, row.tie, row.loss, row.better) == (0, 40, 0, None)


def test_rounding_in_the_last_digit_is_a_tie():
    seeds = np.array([[0.1] * 30, [0.2] * 30, [0.3] * 30])  # their mean is not exactly .2
    row = compare_all({"a": np.full(30, 0.2), "b": seeds}, Units.by_user(np.arange(30)), reference="a")[1]
    assert (row.win, row.tie, row.loss) == (0, 30, 0)
    assert row.p == 1


def test_a_constant_difference():
    row = compare_all({"a": np.zeros(30), "b": np.ones(30)}, Units.by_user(np.arange(30)), reference="a")[1]
    assert row.p == 1 / 10_001
    assert row.p_t == 0
    assert row.effect == math.inf
    assert math.isnan(row.mde)
    assert (row.diff_low, row.diff_high) == (1, 1)


def test_one_user():
    units = Units.by_user(np.zeros(4, int))
    row = compare_all({"a": np.zeros(4), "b": np.ones(4)}, units, reference="a")[1]
    assert (row.difference, row.p, row.p_wilcoxon, row.win) == (1, 1, 1, 1)
    assert all(math.isnan(x) for x in (row.low, row.high, row.diff_low, row.p_t, row.effect, row.mde))


def test_crossed_rows_use_the_two_way_test_and_error():
    rng = np.random.default_rng(2)
    user, item = rng.integers(0, 90, 1200), rng.integers(0, 40, 1200)
    apart = 0.3 * rng.standard_normal(40)[item] + 0.1 * rng.standard_normal(1200)
    units = Units.crossed(user, item)
    row = compare_all({"a": np.zeros(1200), "b": apart}, units, reference="a")[1]
    assert row.units == "90 users x 40 items"
    assert row.p == randomisation_p(apart[None], units)[0]
    assert row.win + row.tie + row.loss == 1200
    # Items decide: nearly the same as a test over the 40 items, and nothing like one over 1,200 requests.
    over_items = stats.ttest_1samp(np.bincount(item, apart) / np.bincount(item), 0).pvalue
    assert row.p_t == pytest.approx(over_items, abs=0.15)
    assert row.p_t > 30 * stats.ttest_1samp(apart, 0).pvalue
    assert row.p_wilcoxon >= stats.wilcoxon(np.bincount(item, apart) / np.bincount(item)).pvalue


def test_a_model_wins_on_ease_of_detection_at_the_mde():
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((400, 60))
    units = Units.by_user(np.arange(60))
    models = {"a": np.zeros(60)} | {str(k): row for k, row in enumerate(noise)}
    mde = np.nanmean([row.mde for row in compare_all(models, units, reference="a", permutations=10, replicates=10)])
    assert np.mean(randomisation_p(noise + mde, units, permutations=2000) <= 0.05) == pytest.approx(0.8, abs=0.06)


def test_unknown_names_and_bad_values_are_refused(values, by_user):
    with pytest.raises(UsageError, match="did you mean 'ease'"):
        compare_all(values, by_user, reference="eas")
    with pytest.raises(UsageError, match="unknown correction 'bonferroni'"):
        compare_all(values, by_user, reference="ease", correction="bonferroni")
    with pytest.raises(DataError, match="p5: the value of request 4"):
        compare_all(values | {"p5": np.where(np.arange(300) == 4, np.nan, 0)}, by_user, reference="ease")
