from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.rating.als import Side, group, objective, solve
from baselines.rating.mf import MF, MFSettings
from bench.data import load_dataset
from bench.errors import MissingInputError, ModelError
from bench.models import Budget

EXACT = MFSettings(factors=2, ridge=1e-6, bias_ridge=1e-6)


def _rmse(left, right):
    return float(np.sqrt(np.mean((left - right) ** 2)))


def test_a_matrix_of_exact_low_rank_is_recovered_from_a_part_of_it(low_rank, rated, ask, fit):
    user, item, stars = low_rank
    shown = np.random.default_rng(0).random(len(stars)) < 0.7
    model = MF(EXACT)
    fit(model, rated(user[shown], item[shown], stars[shown]), budget=Budget(max_epochs=200, patience=0))
    hidden = ~shown & (stars > stars[shown].min()) & (stars < stars[shown].max())
    assert hidden.sum() > 300
    assert _rmse(model.rate(ask(user[hidden], item[hidden])), stars[hidden]) < 0.01
    assert stars[hidden].std() > 1


def test_labelled_pairs_teach_the_same_as_events(low_rank, rated, ask, fit):
    said = []
    for as_pairs in (False, True):
        model = MF(MFSettings(factors=2))
        fit(model, rated(*low_rank, as_pairs=as_pairs), budget=Budget(max_epochs=3))
        said.append(model.rate(ask(*low_rank[:2])))
    np.testing.assert_allclose(*said, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.01, 20), st.floats(0.01, 20))
def test_one_side_is_the_ridge_regression_of_its_ratings(seed, ridge, bias_ridge):
    rng = np.random.default_rng(seed)
    rows, parties, count = 5, 7, 23
    row, other, stars = rng.integers(0, rows, count), rng.integers(0, parties, count), rng.normal(size=count)
    known = Side(rng.normal(size=parties), rng.normal(size=(parties, 3)))
    found = solve(group(row, rows), other, stars, known, ridge=ridge, bias_ridge=bias_ridge)
    for r in range(rows):
        mine = row == r
        # Ridge regression as least squares on rows added to the data, by another factorisation.
        design = np.vstack(
            [
                np.column_stack([np.ones(mine.sum()), known.factors[other[mine]]]),
                np.diag(np.sqrt([bias_ridge] + [ridge] * 3)),
            ]
        )
        target = np.concatenate([stars[mine] - known.bias[other[mine]], np.zeros(4)])
        expected = np.linalg.lstsq(design, target, rcond=None)[0]
        np.testing.assert_allclose([found.bias[r], *found.factors[r]], expected, atol=1e-8)


def test_every_half_lowers_the_objective_until_its_gradient_is_gone(low_rank):
    user, item, stars = low_rank
    user, item = (np.unique(codes, return_inverse=True)[1] for codes in (user, item))
    stars = stars - stars.mean()
    options = {"ridge": 2.0, "bias_ridge": 3.0}
    items = Side(np.zeros(30), np.random.default_rng(0).normal(0, 0.1, (30, 4)))
    users = Side(np.zeros(40), np.zeros((40, 4)))

    def value(users, items):
        return objective(users, items, user, item, stars, **options)

    values = [value(users, items)]
    for _ in range(150):
        users = solve(group(user, 40), item, stars, items, **options)
        values.append(value(users, items))
        items = solve(group(item, 30), user, stars, users, **options)
        values.append(value(users, items))
    assert (np.diff(values) < 1e-9).all()
    assert values[-1] < 0.5 * values[0]
    # Slopes in random directions, by central differences: the end is stationary for both sides together.
    rng = np.random.default_rng(1)
    for _ in range(5):
        steps = [1e-4 * rng.normal(size=part.shape) for part in (users.bias, users.factors, items.bias, items.factors)]
        up, down = (
            value(
                Side(users.bias + sign * steps[0], users.factors + sign * steps[1]),
                Side(items.bias + sign * steps[2], items.factors + sign * steps[3]),
            )
            for sign in (1, -1)
        )
        assert abs(up - down) / 2e-4 < 1e-3


def test_newcomers_are_rated_by_the_bias_that_is_known(rated, ask, fit):
    # User 1 gives two stars less than user 2; item 30 is liked by both.
    training = rated([1, 1, 1, 2, 2, 2], [10, 20, 30, 10, 20, 30], [1, 1, 3, 3, 3, 5])
    model = MF(MFSettings(factors=1, ridge=50.0, bias_ridge=1e-6))
    fit(model, training)
    new_user, new_item, nobody = model.rate(ask([7, 2, 7], [30, 40, 40]))
    mean = 16 / 6
    assert new_user == pytest.approx(4, abs=0.01), "mean of item 30"
    assert new_item == pytest.approx(11 / 3, abs=0.01), "mean of user 2"
    assert nobody == pytest.approx(mean)


def test_ratings_stay_within_those_of_training(rated, ask, fit):
    model = MF(MFSettings(factors=1, bias_ridge=1e-6))
    # Additive in user and item: the missing pair would come to six stars.
    fit(model, rated([1, 1, 2], [10, 20, 10], [3, 4, 5]))
    assert model.rate(ask([2], [20]))[0] == 5


def test_the_sweep_with_the_best_validation_number_is_kept(low_rank, rated, ask, fit):
    seen, numbers = [], iter([0.1, 0.4, 0.3, 0.2])

    def validate(model):
        seen.append(model.rate(ask(*low_rank[:2])))
        return next(numbers)

    model = MF(MFSettings(factors=2, ridge=1.0))
    report = fit(model, rated(*low_rank), validate=validate, budget=Budget(max_epochs=50, patience=2))
    np.testing.assert_array_equal(model.rate(ask(*low_rank[:2])), seen[1])
    assert not np.array_equal(seen[1], seen[3])
    assert (report.stopped, report.converged, report.best_step, report.steps) == ("early stopping", True, 2, 4)
    assert report.parameters_trained == 1 + (40 + 30) * 3


def test_it_says_what_is_missing(rated, fit):
    training = rated([1, 2], [10, 20], [3, 4])
    with pytest.raises(MissingInputError, match="choose a dataset with ratings"):
        fit(MF(), replace(training, rating=None))
    with pytest.raises(ModelError, match="never ends"):
        fit(MF(), training, budget=Budget(patience=0))


def test_movielens_100k_comes_out_as_published(rated, ask, fit):
    """A random tenth held out: libraries report an RMSE of .91 to .94 for factorisations with biases."""
    pytest.importorskip("recbole", reason="MovieLens-100K comes with RecBole")
    events = load_dataset("ml-100k").interactions
    user, item = (events[column].rank("dense").to_numpy() for column in ("user_id", "item_id"))
    stars = events["rating"].to_numpy()
    held = np.random.default_rng(0).random(len(stars)) < 0.1
    model = MF()
    fit(model, rated(user[~held], item[~held], stars[~held]), budget=Budget(max_epochs=8, patience=0))
    assert _rmse(model.rate(ask(user[held], item[held])), stars[held]) < 0.92
