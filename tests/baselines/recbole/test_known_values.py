from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baselines.recbole.bpr import BPR, BPRSettings
from baselines.recbole.ease import EASE, EASESettings
from baselines.recbole.foldin import ridge_fold_in
from baselines.recbole.itemknn import ItemKNN, ItemKNNSettings
from bench.data.ragged import Ragged

pytest.importorskip("recbole")
NAN = np.nan


@pytest.fixture(scope="module")
def three_users(make_training):
    """Item 5 is met by all three, item 8 by two of them, item 6 by one."""
    return make_training([11, 12, 20], [[5, 8], [8, 5], [6, 5]])


def test_item_knn_adds_the_cosines_of_the_history(fit, three_users, make_requests):
    model = ItemKNN()
    report = fit(model, three_users)
    near, far = 2 / np.sqrt(3 * 2), 1 / np.sqrt(3 * 1)  # 5 and 8 share two users, 5 and 6 one, 6 and 8 none
    direct = model.score(make_requests([20, 11, 99], None, [5, 6, 7, 8]))
    np.testing.assert_allclose(direct, [[far, far, NAN, near], [near, far, NAN, near], [NAN] * 4], rtol=1e-5)
    shown = model.score(make_requests([20, 99, 99, 99], [[8], [6, 8], [7], []], [5, 6, 7, 8]))
    np.testing.assert_allclose(shown, [[near, 0, NAN, 0], [near + far, 0, NAN, 0], [NAN] * 4, [NAN] * 4], rtol=1e-5)
    assert (report.stopped, report.parameters_trained) == ("closed form", 4)


def test_item_knn_keeps_the_nearest_and_shrinks(fit, three_users, make_requests):
    model = ItemKNN(ItemKNNSettings(k=1, shrink=2.0))
    fit(model, three_users)
    shrunk = 2 / (np.sqrt(6) + 2)
    shown = model.score(make_requests([99, 99], [[8], [6]], [5, 6, 8]))
    # The nearest of 5 is 8, so that 6 no longer speaks for 5.
    np.testing.assert_allclose(shown, [[shrunk, 0, 0], [0, 0, 0]], rtol=1e-5)


def test_ease_is_the_ridge_regression_of_each_item_on_the_others(fit, make_training, make_requests):
    model = EASE(EASESettings(reg_weight=2.0))
    report = fit(model, make_training([1, 2, 3], [[40, 30], [30, 40], [30]]))
    # Gram matrix [[3, 2], [2, 2]] for items 30 and 40; one predictor each: weight = co-occurrence / (own count + 2).
    to_40, to_30 = 2 / (3 + 2), 2 / (2 + 2)
    requests = make_requests([1, 3, 50], [[30, 40], [30], [40]], [30, 40, 41])
    np.testing.assert_allclose(
        model.score(requests), [[to_30, to_40, NAN], [0, to_40, NAN], [to_30, 0, NAN]], rtol=1e-5
    )
    direct = model.score(make_requests([1, 3, 50], None, [30, 40, 41]))
    np.testing.assert_allclose(direct, [[to_30, to_40, NAN], [0, to_40, NAN], [NAN] * 3], rtol=1e-5)
    assert report.parameters_trained == 2


@pytest.mark.parametrize("kind", [ItemKNN, EASE])
def test_item_models_answer_a_direct_request_from_the_training_items(kind, fit, random_training, make_requests):
    model = kind()
    fit(model, random_training)
    items = random_training.item
    direct = model.score(make_requests(random_training.user, None, items))
    shown = model.score(make_requests(random_training.user, list(random_training.sequences), items))
    np.testing.assert_allclose(direct, shown, atol=1e-6)
    assert np.isfinite(direct).all()


def test_bpr_serves_known_users_with_their_vector_and_newcomers_from_what_is_shown(fit, random_training, make_requests):
    model = BPR(BPRSettings(embedding_size=4, train_batch_size=64))
    fit(model, random_training, validate=lambda _: 0.0)
    known, items = random_training.user[:2], random_training.item
    direct = model.score(make_requests(known, None, items))
    shown = model.score(make_requests([*known, 2, 2, 2], [[], items[:1], items[:1], items[1:3], []], items))
    np.testing.assert_allclose(shown[:2], direct, rtol=1e-6)
    assert np.isfinite(shown[2:4]).all()
    assert not np.allclose(shown[2], shown[3])
    assert np.isnan(shown[4]).all()


def test_fold_in_by_hand():
    # One factor, items 1 and 2: (v_S^2 + alpha (1 + 4) + lambda 2.5) u = v_S.
    user = ridge_fold_in(Ragged.from_lists([[0], [1], [0, 1], []]), np.float32([[1], [2]]), unobserved=0.1, ridge=0.2)
    np.testing.assert_allclose(user, [[1 / 2], [2 / 5], [3 / 6], [0]], rtol=1e-6)


@given(
    item=arrays(np.float32, (6, 3), elements=st.floats(-2, 2, width=32)),
    shown=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    unobserved=st.floats(0, 1),
    ridge=st.floats(0.1, 10),
)
def test_fold_in_minimises_its_objective(item, shown, unobserved, ridge):
    vectors = item.astype(np.float64) + np.eye(6, 3)
    user = ridge_fold_in(Ragged.from_lists([shown]), vectors.astype(np.float32), unobserved=unobserved, ridge=ridge)

    def objective(u):
        misfit = ((1 - vectors[shown] @ u) ** 2).sum() + unobserved * ((vectors @ u) ** 2).sum()
        return misfit + ridge * (vectors**2).sum(axis=1).mean() * u @ u

    best = objective(user[0].astype(np.float64))
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        assert objective(user[0] + 0.01 * direction) >= best - 1e-5 * max(1.0, best)


def test_fold_in_does_not_depend_on_the_scale_of_the_items_for_its_ranking():
    item = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    shown = Ragged.from_lists([[1, 5]])
    one, ten = (ridge_fold_in(shown, s * item, unobserved=0.0, ridge=50.0) @ (s * item).T for s in (1, 10))
    np.testing.assert_array_equal(np.argsort(one[0]), np.argsort(ten[0]))


def test_the_model_modules_import_without_heavy_packages():
    code = (
        "import sys; from baselines.recbole import bpr, ease, itemknn, lightgcn, multivae, neumf, simplex; "
        "sys.exit(','.join({'scipy', 'torch', 'recbole', 'pandas'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
