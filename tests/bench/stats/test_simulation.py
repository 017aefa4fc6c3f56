"""Do p-values and intervals keep their word on cold-item data: users x items, both with effects of their own?

Two models differ by nothing but noise: the difference of a request is a user effect, an item effect and noise, all with
mean 0. Requests spread over items as unevenly as they do over held-out items of MovieLens.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.stats import Units, intervals, randomisation_p

DATASETS = 1500
# Standard deviations of user effect, item effect and noise.
REGIMES = {
    "items dominate": (0.05, 0.6, 0.8),
    "users dominate": (1.0, 0.05, 0.8),
    "balanced": (0.6, 0.5, 1.0),
    "weak effects": (0.15, 0.1, 1.0),
    "noise alone": (0.0, 0.0, 1.0),
}


@pytest.fixture(scope="module")
def asked() -> tuple[np.ndarray, np.ndarray]:
    """Users and items of about 1,500 requests: 94 users, 84 items of very unequal popularity."""
    rng = np.random.default_rng(0)
    share = np.outer(rng.lognormal(0, 0.5, 94), rng.lognormal(0, 0.7, 84))
    return np.nonzero(rng.random(share.shape) < 0.19 * share / share.mean())


def simulate(regime: str, asked: tuple[np.ndarray, np.ndarray], datasets: int = DATASETS) -> np.ndarray:
    """Differences of two models that are equally good, shape (datasets, requests)."""
    user, item = asked
    rng = np.random.default_rng(1)
    of_user, of_item, noise = REGIMES[regime]
    return (
        of_user * rng.standard_normal((datasets, user.max() + 1))[:, user]
        + of_item * rng.standard_normal((datasets, item.max() + 1))[:, item]
        + noise * rng.standard_normal((datasets, len(user)))
    )


def coverage(differences: np.ndarray, units: Units) -> float:
    found = intervals({str(k): row for k, row in enumerate(differences)}, units, replicates=800)
    return float(np.mean([interval.low <= 0 <= interval.high for interval in found.values()]))


@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_cover_and_tests_reject_as_they_say(regime, asked):
    differences, units = simulate(regime, asked), Units.crossed(*asked)
    assert 0.93 <= coverage(differences, units) <= 0.97
    p = randomisation_p(differences, units, permutations=2000)
    # Two standard errors of a share of .05 (.01) in 1,500 datasets are .011 (.005).
    assert np.mean(p <= 0.05) <= 0.061
    assert np.mean(p <= 0.01) <= 0.015


def test_p_values_are_uniform_where_items_decide(asked):
    p = randomisation_p(simulate("items dominate", asked), Units.crossed(*asked), permutations=2000)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("regime", ["items dominate", "users dominate", "balanced"])
def test_taking_requests_for_independent_fails(regime, asked):
    differences = simulate(regime, asked, datasets=300)
    requests = Units.by_user(np.arange(differences.shape[1]))
    assert coverage(differences, requests) < 0.65
    p = randomisation_p(differences, requests, permutations=500)
    assert np.mean(p <= 0.05) > 0.35
    assert stats.kstest(p, "uniform").pvalue < 1e-6


def test_the_larger_of_two_one_way_tests_is_not_enough_where_users_and_items_matter(asked):
    differences, units = simulate("balanced", asked), Units.crossed(*asked)
    one_way = [
        randomisation_p(totals, Units.by_user(np.arange(totals.shape[1])), permutations=1000)
        for totals in (factor.totals(differences) for factor in units.factors)
    ]
    assert np.mean(np.maximum(*one_way) <= 0.05) > 0.075


def test_clustering_by_user_alone_holds_where_users_are_the_unit():
    rng = np.random.default_rng(2)
    user = rng.integers(0, 94, 600)
    differences = rng.standard_normal((800, 94))[:, user] + rng.standard_normal((800, 600))
    units = Units.by_user(user)
    assert 0.93 <= coverage(differences, units) <= 0.97
    p = randomisation_p(np.stack([units.to_cells(row)[0] for row in differences]), units, permutations=2000)
    assert stats.kstest(p, "uniform").pvalue > 0.01
