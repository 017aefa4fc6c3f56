from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.simple.category_popularity import CategoryPopularity
from baselines.simple.chance import Chance
from baselines.simple.popularity import Popularity
from bench.errors import MissingInputError

NAN = np.nan


def test_popularity_counts_training_interactions(fit, make_training, make_requests):
    model = fit(Popularity(), make_training())
    scores = model.score(make_requests([10, 99], [[1], []]))
    np.testing.assert_array_equal(scores, [[3, 1, 2, 1, NAN, NAN]] * 2)
    assert scores.dtype == np.float32


def test_popularity_is_the_same_for_a_direct_request_and_fewer_candidates(fit, make_training, make_requests):
    model = fit(Popularity(), make_training())
    np.testing.assert_array_equal(model.score(make_requests([20], candidates=(1, 2, 5))), [[1, 2, NAN]])


def test_a_listed_item_without_an_interaction_is_unknown(fit, make_training, make_requests):
    training = make_training()
    unseen = training.sequences.keep(training.sequences.values != 1)
    model = fit(Popularity(), type(training)(training.user, unseen, None, None, training.items))
    np.testing.assert_array_equal(model.score(make_requests([10])), [[3, NAN, 2, 1, NAN, NAN]])


def test_category_popularity_averages_items_then_categories(fit, make_training, make_requests):
    # fruit: items 0, 1 -> (3 + 1) / 2 = 2; car: items 2, 3 -> (2 + 1) / 2 = 1.5; toy: item 2 -> 2; boat: unknown.
    model = fit(CategoryPopularity(), make_training())
    expected = [2, 2, (1.5 + 2) / 2, 1.5, 2, NAN]
    np.testing.assert_array_equal(model.score(make_requests([10, 99])), np.float32([expected] * 2))


def test_category_popularity_says_what_is_missing(fit, make_training):
    with pytest.raises(MissingInputError, match="needs item categories"):
        fit(CategoryPopularity(), make_training(categories=False))


def test_category_popularity_leaves_a_request_set_without_categories_unanswered(fit, make_training, make_requests):
    model = fit(CategoryPopularity(), make_training())
    assert np.isnan(model.score(make_requests([10], categories=False))).all()


@given(st.permutations(range(4)), st.sets(st.integers(0, 5), min_size=1))
def test_chance_depends_on_nothing_but_user_history_item_and_seed(order, candidates):
    model, requests = _chance(seed=7), _requests()
    whole = model.score(requests)
    columns = sorted(candidates)
    narrowed = type(requests)("sequential", requests.user, requests.history, _catalogue(columns), requests.text)
    np.testing.assert_array_equal(model.score(narrowed.take(np.array(order))), whole[np.array(order)][:, columns])


def test_chance_is_uniform_and_independent_between_rows_seeds_and_histories():
    from scipy.stats import kstest

    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 2**31, 300), np.sort(rng.choice(2**31, 400, replace=False))
    requests = _requests(users, [[]] * 300, items)
    one, two = _chance(seed=1).score(requests), _chance(seed=2).score(requests)
    shown = _chance(seed=1).score(_requests(users, [[3]] * 300, items))
    assert kstest(one.ravel(), "uniform").pvalue > 0.01
    for other in (two, shown, np.roll(one, 1, axis=0), np.roll(one, 1, axis=1)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def _chance(seed):
    model = Chance()
    model.fit(None, validate=None, budget=None, seed=seed, progress=None)
    return model


def _catalogue(items):
    import polars as pl

    from bench.models import Catalogue

    return Catalogue(np.array(items, np.int32), pl.DataFrame({"item": np.array(items, np.int32)}))


def _requests(users=(5, 5, 6, 7), histories=((), (1,), (1, 2), (1,)), items=range(6)):
    from bench.models import Ragged, Requests

    catalogue = _catalogue(items)
    history = Ragged.from_lists(histories)
    return Requests("sequential", np.array(users, np.int32), history, catalogue, catalogue.text)


@pytest.mark.parametrize("kind", [Popularity, CategoryPopularity, Chance])
def test_a_stored_floor_answers_as_before(kind, fit, make_training, make_requests, tmp_path):
    model, requests = fit(kind(), make_training(), seed=3), make_requests([10, 99], [[1], [4, 5]])
    model.save(tmp_path)
    again = kind.load(tmp_path, kind.Settings())
    np.testing.assert_array_equal(again.score(requests), model.score(requests))
