from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats import Units, intervals
from bench.stats.bootstrap import resample


def ndcg_like(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Mostly zeros, some values up to 1: what a ranking metric looks like."""
    return rng.random(shape) * (rng.random(shape) < 0.2)


def test_by_user_agrees_with_scipys_percentile_bootstrap():
    values = ndcg_like(np.random.default_rng(0), 900)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    ours = intervals({"m": values}, Units.by_user(np.arange(900)), replicates=20_000)["m"]
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)
    assert ours.standard_error == pytest.approx(stats.sem(values))


def test_few_users_get_the_width_of_students_t():
    values = np.random.default_rng(1).standard_normal(8)
    ours = intervals({"m": values}, Units.by_user(np.arange(8)), replicates=50_000)["m"]
    theirs = stats.ttest_1samp(values, 0).confidence_interval()
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.08)


def test_pigeonhole_replicates_weigh_a_request_by_both_of_its_clusters():
    # A 2 x 2 table has 9 equally simple outcomes; with y = [1, 0, 0, 0] the mean is w_u w_i / 4, w ~ binomial(2, 1/2).
    user, item = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    drawn = resample(np.array([[1.0, 0, 0, 0]]), Units.crossed(user, item), replicates=40_000, seed=0)[:, 0]
    support, counts = np.unique(drawn, return_counts=True)
    assert support.tolist() == [0, 0.25, 0.5, 1]
    np.testing.assert_allclose(counts / 40_000, [7 / 16, 1 / 4, 1 / 4, 1 / 16], atol=0.01)


def test_replicates_that_drew_no_request_fall_back_to_the_mean():
    diagonal = Units.crossed(np.arange(2), np.arange(2))
    drawn = resample(np.array([[0.0, 1.0]]), diagonal, replicates=500, seed=0)
    assert set(drawn.ravel()) == {0.0, 0.5, 1.0}


def test_columns_share_resamples_and_rows_do_not_depend_on_company():
    rng = np.random.default_rng(2)
    units = Units.crossed(rng.integers(0, 30, 400), rng.integers(0, 20, 400))
    values = {"a": ndcg_like(rng, 3, 400), "b": ndcg_like(rng, 400), "c": ndcg_like(rng, 2, 400)}
    together = intervals(values, units)
    for name, own in values.items():
        alone = intervals({name: own}, units)[name]
        assert together[name].low == pytest.approx(alone.low, abs=1e-12)
        assert together[name].high == pytest.approx(alone.high, abs=1e-12)
    cells = ndcg_like(rng, 2, 400)
    shifted = resample(np.vstack([cells, cells + 1]), units, replicates=50, seed=0)
    np.testing.assert_allclose(shifted[:, 2:], shifted[:, :2] + 1)


def test_the_seed_decides():
    values = {"m": ndcg_like(np.random.default_rng(3), 100)}
    units = Units.by_user(np.arange(100))
    assert intervals(values, units, seed=1) == intervals(values, units, seed=1)
    assert intervals(values, units, seed=1)["m"].low != intervals(values, units, seed=2)["m"].low


def test_memory_is_bounded_by_chunks_that_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    units = Units.crossed(rng.integers(0, 30, 400), rng.integers(0, 20, 400))
    cells = ndcg_like(rng, 2, 400)
    whole = resample(cells, units, replicates=100, seed=0)
    monkeypatch.setattr("bench.stats.bootstrap._CHUNK_BYTES", 8 * 400 * 7)
    np.testing.assert_allclose(resample(cells, units, replicates=100, seed=0), whole)


def test_seeds_are_a_second_level():
    rng = np.random.default_rng(5)
    base = ndcg_like(rng, 500)
    units = Units.by_user(np.arange(500))
    same = intervals({"m": np.stack([base] * 3)}, units)["m"]
    apart = intervals({"m": np.stack([base - 0.05, base, base + 0.05])}, units)["m"]
    one = intervals({"m": base}, units)["m"]
    assert same.seed_spread == 0
    assert np.isnan(one.seed_spread)
    assert (same.low, same.high) == pytest.approx((one.low, one.high))
    assert apart.seed_spread == pytest.approx(0.05)
    assert apart.standard_error**2 == pytest.approx(one.standard_error**2 + 0.05**2 / 3)
    assert apart.high - apart.low > 3 * (one.high - one.low)  # three seeds: Student's t with little more than 2 df


def test_intervals_of_several_seeds_cover():
    rng = np.random.default_rng(6)
    draws, seeds, users = 600, 4, 60
    values = (
        0.1 * rng.standard_normal((draws, seeds, 1))
        + rng.standard_normal((draws, 1, users))
        + 0.5 * rng.standard_normal((draws, seeds, users))
    )
    found = intervals({str(k): v for k, v in enumerate(values)}, Units.by_user(np.arange(users)), replicates=800)
    assert 0.93 <= np.mean([interval.low <= 0 <= interval.high for interval in found.values()]) <= 0.975


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(0, 2**32 - 1), st.booleans())
def test_properties(user, seed, crossed):
    rng = np.random.default_rng(seed)
    user = np.array(user)
    item = rng.integers(0, 4, len(user))
    kind = "user x item" if crossed else "user"
    values = ndcg_like(rng, len(user))
    found = intervals({"m": values}, Units.of(kind, user, item), replicates=100)["m"]
    order = rng.permutation(len(user))
    shuffled = intervals({"m": values[order]}, Units.of(kind, user[order], item[order]), replicates=100)["m"]
    assert vars(shuffled) == pytest.approx(vars(found), nan_ok=True, abs=1e-9)
    if not np.isnan(found.low):
        assert 0 <= found.low <= found.high <= 1
    else:
        assert len(np.unique(user)) == 1 or (crossed and len(np.unique(item)) == 1)
