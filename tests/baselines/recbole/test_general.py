"""NeuMF, SimpleX, LightGCN and MultiVAE: what they learn, and what they say of newcomers."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.recbole.lightgcn import LightGCN
from baselines.recbole.multivae import MultiVAE, MultiVAESettings
from baselines.recbole.neumf import NeuMF, NeuMFSettings
from baselines.recbole.simplex import SimpleX, SimpleXSettings
from bench.models import Budget

torch = pytest.importorskip("torch")
pytest.importorskip("recbole")

SMALL = {
    NeuMF: {
        "mf_embedding_size": 4,
        "mlp_embedding_size": 4,
        "mlp_hidden_size": (8, 4),
        "dropout_prob": 0.0,
        "train_batch_size": 64,
        "learning_rate": 0.02,
    },
    SimpleX: {"embedding_size": 8, "train_batch_size": 256, "sample_num": 4, "learning_rate": 0.02},
    LightGCN: {"embedding_size": 8, "train_batch_size": 64, "learning_rate": 0.05},
    MultiVAE: {"mlp_hidden_size": (12,), "latent_dimension": 8, "train_batch_size": 16, "learning_rate": 0.01},
}
everyone = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.__name__)


def small(kind, **settings):
    return kind(kind.Settings(**{**SMALL[kind], **settings}))


@pytest.fixture(scope="module")
def two_tastes(make_training):
    """30 users of ten items of one kind and 30 of the other, six items each, all items equally popular."""
    rows = [[10 * (user % 2) + (user // 2 + 3 * step) % 10 for step in (0, 1, 2, 3, 5, 6)] for user in range(60)]
    training = make_training(range(100, 160), rows)
    assert set(np.bincount(training.sequences.values)) == {18}
    return training


def told_apart(scores, better, worse):
    """Share of pairs of a ``better`` and a ``worse`` item in the right order, all requests together (masks)."""
    right = [np.mean(row[b][:, None] > row[w]) for row, b, w in zip(scores, better, worse, strict=True)]
    return np.mean(right)


@everyone
def test_tastes_are_learnt_and_newcomers_told_apart(kind, fit, two_tastes, make_requests):
    model, items = small(kind), np.arange(20)
    report = fit(model, two_tastes, validate=lambda _: 0.0, budget=Budget(max_epochs=40, patience=0))
    assert report.curve[-1]["loss"] < report.curve[0]["loss"]
    users, seen = two_tastes.user, list(two_tastes.sequences)
    met = np.array([np.isin(items, row) for row in seen])
    own = items // 10 == users[:, None] % 2
    scores = model.score(make_requests(users, seen, items))
    assert told_apart(scores, met, ~own) > 0.99
    assert told_apart(scores, own & ~met, ~own) > 0.9
    newcomers = [[3], [14], [2, 7], [11, 18, 15]]
    own = items // 10 == np.array([[0], [1], [0], [1]])
    assert told_apart(model.score(make_requests([1, 2, 3, 4], newcomers, items)), own, ~own) > 0.8


@everyone
def test_the_best_weights_answer(kind, fit, random_training, make_requests):
    requests, seen = make_requests(random_training.user, None, random_training.item), []

    def falling(model):
        seen.append(model.score(requests))
        return -len(seen)

    model = small(kind)
    fit(model, random_training, validate=falling, budget=Budget(max_epochs=3, eval_every_epochs=1, patience=5))
    assert not np.allclose(seen[0], seen[1])
    np.testing.assert_array_equal(model.score(requests), seen[0])


@pytest.mark.parametrize("kind", [NeuMF, SimpleX, LightGCN], ids=lambda kind: kind.__name__)
def test_known_users_keep_their_vector_and_newcomers_need_something_shown(kind, fit, random_training, make_requests):
    model = small(kind)
    fit(model, random_training, validate=lambda _: 0.0)
    known, items = random_training.user[:2], random_training.item
    direct = model.score(make_requests(known, None, items))
    shown = model.score(make_requests([*known, 2, 2, 2], [[], items[:1], items[:1], items[1:3], []], items))
    np.testing.assert_allclose(shown[:2], direct, rtol=1e-6)
    assert np.isfinite(shown[2:4]).all()
    assert not np.allclose(shown[2], shown[3])
    assert np.isnan(shown[4]).all()


def test_multivae_reads_the_history_of_anyone(fit, random_training, make_requests):
    model = small(MultiVAE)
    fit(model, random_training, validate=lambda _: 0.0)
    users, items, seen = random_training.user, random_training.item, list(random_training.sequences)
    direct = model.score(make_requests(users, None, items))
    np.testing.assert_allclose(model.score(make_requests(users, seen, items)), direct, atol=1e-6)
    np.testing.assert_allclose(model.score(make_requests(users * 0, seen, items)), direct, atol=1e-6)
    assert not np.allclose(model.score(make_requests(users, seen[::-1], items)), direct)


def test_multivae_decodes_the_mean_of_the_posterior(fit, random_training, make_requests):
    model = small(MultiVAE)
    fit(model, random_training, validate=lambda _: 0.0)
    weights = {name: array.astype(float) for name, array in model._engine.state().items()}
    items = random_training.item
    ids = model._engine.items.of(items)
    history = np.zeros(len(items) + 1)
    history[ids[[1, 4, 6]]] = 1 / np.sqrt(3)

    def through(name, vector):
        hidden = np.tanh(weights[f"{name}.0.weight"] @ vector + weights[f"{name}.0.bias"])
        return weights[f"{name}.2.weight"] @ hidden + weights[f"{name}.2.bias"]

    expected = through("decoder", through("encoder", history)[:4])[ids]
    # An item met twice is met.
    asked = make_requests([1], [items[[1, 4, 6, 4]]], items)
    np.testing.assert_allclose(model.score(asked)[0], expected, rtol=1e-4, atol=1e-6)


def test_lightgcn_propagates_over_the_normalised_graph(fit, random_training, make_requests):
    model = small(LightGCN, n_layers=3)
    fit(model, random_training, validate=lambda _: 0.0)
    users, items, seen = random_training.user, random_training.item, random_training.sequences
    ids_of_users, ids_of_items = model._engine.users.of(users), model._engine.items.of(items)
    graph = np.zeros((len(users) + len(items),) * 2)
    graph[seen.row_of, len(users) + np.searchsorted(items, seen.values)] = 1
    graph += graph.T
    degree = graph.sum(axis=0)
    graph /= np.sqrt(np.outer(degree, degree))
    state = model._engine.state()
    vectors = np.vstack([state["user_embedding.weight"][ids_of_users], state["item_embedding.weight"][ids_of_items]])
    mean = sum(np.linalg.matrix_power(graph, layer) @ vectors for layer in range(4)) / 4
    expected = mean[: len(users)] @ mean[len(users) :].T
    np.testing.assert_allclose(model.score(make_requests(users, None, items)), expected, rtol=1e-4, atol=1e-6)


def test_the_faster_propagation_has_recboles_values_and_gradients(fit, random_training):
    model = small(LightGCN)
    fit(model, random_training, validate=lambda _: 0.0)
    ours = model._engine.model
    found = []
    for forward in (ours.forward, lambda: type(ours).forward(ours)):
        users, items = forward()
        weights = ours.user_embedding.weight, ours.item_embedding.weight
        found.append((users, items, *torch.autograd.grad((users**2).sum() + (items**3).sum(), weights)))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


def test_simplex_aims_at_the_mean_of_what_a_newcomer_was_shown(fit, random_training, make_requests):
    model = small(SimpleX, history_len=2)
    fit(model, random_training, validate=lambda _: 0.0)
    state, items = model._engine.state(), random_training.item
    vectors = state["item_emb.weight"][model._engine.items.of(items)].astype(float)
    aim = state["UI_map.weight"].astype(float) @ vectors[[4, 6]].mean(axis=0)
    expected = vectors @ aim / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(aim))
    asked = make_requests([1], [items[[1, 4, 6]]], items)
    np.testing.assert_allclose(model.score(asked)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("off", [None, "mf_train", "mlp_train"])
def test_neumf_scores_are_recboles_before_the_sigmoid(off, fit, random_training, make_requests):
    from recbole.data.interaction import Interaction

    model = small(NeuMF, mlp_embedding_size=5, mlp_hidden_size=(8, 6, 3), **({off: False} if off else {}))
    fit(model, random_training, validate=lambda _: 0.0)
    users, items = random_training.user, random_training.item
    pairs = {
        "user_id": np.repeat(model._engine.users.of(users), len(items)),
        "item_id": np.tile(model._engine.items.of(items), len(users)),
    }
    with torch.no_grad():
        expected = model._engine.model.predict(Interaction({name: torch.tensor(ids) for name, ids in pairs.items()}))
    logits = model.score(make_requests(users, None, items))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected.view(logits.shape), rtol=1e-5, atol=1e-6)


def test_neumf_with_neither_part_is_refused():
    with pytest.raises(ValueError, match="mf_train"):
        NeuMFSettings(mf_train=False, mlp_train=False)


@pytest.mark.parametrize(
    ("kind", "given"), [(MultiVAESettings, {"latent_dimension": 5}), (SimpleXSettings, {"margin": 2.0})]
)
def test_settings_without_a_meaning_are_refused(kind, given):
    with pytest.raises(ValueError, match=next(iter(given))):
        kind(**given)


def test_the_fold_ins_settings_matter_to_newcomers_alone(fit, random_training, make_requests):
    items = random_training.item
    known = make_requests(random_training.user[:3], None, items)
    newcomer = make_requests([1], [items[:2]], items)
    for kind, changed in ((LightGCN, {"fold_in_ridge": 30.0}), (NeuMF, {"fold_in_steps": 1})):
        one, other = small(kind), small(kind, **changed)
        fit(one, random_training, validate=lambda _: 0.0)
        fit(other, random_training, validate=lambda _: 0.0)
        np.testing.assert_allclose(one.score(known), other.score(known), rtol=1e-5)
        assert not np.allclose(one.score(newcomer), other.score(newcomer))
