from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from baselines.recbole.deepfm import DeepFM, DeepFMSettings
from baselines.recbole.din import DIN, DINSettings
from baselines.recbole.features import Vocabulary
from baselines.recbole.fm import FM, FMSettings
from bench.data.ragged import Ragged
from bench.errors import MissingInputError
from bench.models import Budget, Catalogue, Requests, Training
from bench.models.testing import RecommenderContract, SmallWorld
from bench.splits.training import Pairs

pytest.importorskip("recbole")


class ClickWorld(SmallWorld):
    """The small world where every event is a click and has a non-click beside it."""

    def training(self) -> Training:
        plain = super().training()
        clicked, user = plain.sequences, plain.user[plain.sequences.row_of]
        before = np.arange(len(clicked.values)) - clicked.offsets[:-1][clicked.row_of]
        history = Ragged.from_lists(
            [clicked[row][:met] for row, met in zip(clicked.row_of.tolist(), before.tolist(), strict=True)]
        )
        missed = np.random.default_rng(0).choice(plain.item, len(user)).astype(np.int32)
        both = [
            Pairs(user, item, np.full(len(user), label, np.float32), history, None, "click")
            for item, label in ((clicked.values, 1), (missed, 0))
        ]
        return replace(plain, pairs=Pairs.concatenate(both))


class ClickContract(RecommenderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls):
        return ClickWorld()


class TestFM(ClickContract):
    model = FM
    settings = {"embedding_size": 4, "train_batch_size": 64}


class TestDeepFM(ClickContract):
    model = DeepFM
    settings = {"embedding_size": 4, "mlp_hidden_size": (8,), "train_batch_size": 64}


class TestDIN(ClickContract):
    model = DIN
    settings = {"embedding_size": 4, "mlp_hidden_size": (8,), "train_batch_size": 64, "max_length": 5}


def _items(categories):
    codes = np.array(sorted(categories), np.int32)
    rows = {"item": codes, "item_id": [f"i{code}" for code in codes]}
    if any(named is not None for named in categories.values()):
        rows["categories"] = [categories[code] for code in codes.tolist()]
    return pl.DataFrame(rows)


KINDS = {3: ["a", "b"], 5: ["b"], 9: [], 12: None, 15: ["c", "a", "c"], 20: ["a"]}
"""Categories by item code."""
PLAIN = dict.fromkeys(KINDS)


def _training(items, *, seed=0, pairs=400, like=None):
    """Random users and items; ``like(user, item, history)`` is the label (at random if not given)."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.choice(np.arange(11, 61, 2), pairs)).astype(np.int32)
    codes = np.array(sorted(items), np.int32)
    item = rng.choice(codes, pairs).astype(np.int32)
    history = Ragged.from_lists([rng.choice(codes, rng.integers(0, 5)) for _ in range(pairs)])
    label = rng.integers(0, 2, pairs)
    if like is not None:
        label = np.array([like(*each) for each in zip(user.tolist(), item.tolist(), history, strict=True)])
    found = Pairs(user, item, label.astype(np.float32), history, None, "click")
    return Training(np.unique(user), Ragged.empty(len(np.unique(user))), None, None, _items(items), pairs=found)


def _ask(user, item, items, history=None):
    text = _items(items)
    history = Ragged.empty(len(user)) if history is None else history
    catalogue = Catalogue(text["item"].to_numpy(), text)
    return Requests("click", np.asarray(user, np.int32), history, catalogue, text, item=np.asarray(item, np.int32))


def _fit(model, training, *, epochs=2, validate=lambda _: 0.0):
    return model.fit(
        training, validate=validate, budget=Budget(max_epochs=epochs, patience=0), seed=0, progress=lambda *_: None
    )


def _sigmoid(score):
    return 1 / (1 + np.exp(-score))


def _stored(model, folder):
    model.save(folder)
    with np.load(folder / "weights.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("items", [KINDS, PLAIN], ids=["categories", "no categories"])
def test_a_factorisation_machine_says_what_its_formula_says(items, tmp_path):
    """Rendle's equation 1, pair by pair of features, from the stored weights."""
    training = _training(items)
    model = FM(FMSettings(embedding_size=3, train_batch_size=100, learning_rate=0.05))
    _fit(model, training)
    weights = _stored(model, tmp_path)
    users, codes = np.unique(training.pairs.user).tolist(), sorted(items)
    names = sorted({name for named in items.values() for name in named or []})
    first = weights["first_order_linear.token_embedding_table.embedding.weight"][:, 0]
    vectors = weights["token_embedding_table.embedding.weight"]
    for user in (users[0], users[-1], 999):
        for item in (*codes, 777):
            u = users.index(user) + 1 if user in users else 0
            i = len(users) + 1 + (codes.index(item) + 1 if item in codes else 0)
            linear = weights["first_order_linear.bias"][0] + first[u] + first[i]
            fields = [vectors[u], vectors[i]]
            if names:
                kinds = [
                    names.index(name) + 1
                    for name in dict.fromkeys({**KINDS, 777: ["c", "new"]}[item] or [])
                    if name in names
                ]
                linear += weights["first_order_linear.token_seq_embedding_table.0.weight"][kinds, 0].sum()
                table = weights["token_seq_embedding_table.0.weight"]
                fields.append(table[kinds].mean(axis=0) if kinds else np.zeros(3))
            pairs = sum(fields[a] @ fields[b] for a in range(len(fields)) for b in range(a))
            said = model.rate(_ask([user], [item], {**items, 777: ["c", "new"] if names else None}))
            np.testing.assert_allclose(said, _sigmoid(linear + pairs), atol=1e-5)


def test_deepfm_adds_a_perceptron_on_the_same_vectors(tmp_path):
    training = _training(PLAIN)
    model = DeepFM(DeepFMSettings(embedding_size=3, mlp_hidden_size=(6, 5), train_batch_size=100, learning_rate=0.05))
    _fit(model, training)
    weights = _stored(model, tmp_path)
    users, codes = np.unique(training.pairs.user).tolist(), sorted(PLAIN)
    user, item = users[2], codes[3]
    rows = [3, len(users) + 1 + 4]
    fields = weights["token_embedding_table.embedding.weight"][rows]
    linear = weights["first_order_linear.token_embedding_table.embedding.weight"][rows].sum()
    hidden = fields.ravel()
    for layer in ("mlp_layers.mlp_layers.1", "mlp_layers.mlp_layers.4"):
        hidden = np.maximum(weights[f"{layer}.weight"] @ hidden + weights[f"{layer}.bias"], 0)
    deep = weights["deep_predict_layer.weight"][0] @ hidden + weights["deep_predict_layer.bias"][0]
    score = weights["first_order_linear.bias"][0] + linear + fields[0] @ fields[1] + deep
    np.testing.assert_allclose(model.rate(_ask([user], [item], PLAIN)), _sigmoid(score), atol=1e-5)


def test_din_weighs_the_history_by_the_item_asked_about(tmp_path):
    training = _training(PLAIN)
    options = {"embedding_size": 3, "mlp_hidden_size": (6,), "train_batch_size": 100, "learning_rate": 0.05}
    model = DIN(DINSettings(**options, max_length=4))
    _fit(model, training)
    weights = _stored(model, tmp_path)
    vectors = weights["embedding_layer.token_embedding_table.item.embedding.weight"]
    target, history = vectors[1 + 2], vectors[[1 + 4, 1 + 0]]

    def layer(name, values):
        return weights[f"{name}.weight"] @ values + weights[f"{name}.bias"]

    user = np.zeros(3)
    for item in history:
        seen = np.concatenate([target, item, target - item, target * item])
        weight = layer("attention.dense", _sigmoid(layer("attention.att_mlp_layers.mlp_layers.1", seen)))
        user += weight / np.sqrt(3) * item
    hidden = layer("dnn_mlp_layers.mlp_layers.1", np.concatenate([user, target, user * target]))
    norm = "dnn_mlp_layers.mlp_layers.2"
    spread = np.sqrt(weights[f"{norm}.running_var"] + 1e-5)
    hidden = (hidden - weights[f"{norm}.running_mean"]) / spread * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]
    score = layer("dnn_predict_layers", hidden * _sigmoid(hidden))
    codes = sorted(PLAIN)
    said = model.rate(_ask([11], [codes[2]], PLAIN, Ragged.from_lists([[codes[4], codes[0]]])))
    np.testing.assert_allclose(said, _sigmoid(score), atol=1e-5)


BY_HEART = {"train_batch_size": 50, "weight_decay": 0, "unknown": 1e-9}


def _own_taste(user, item, history):
    return (user // 2 + item) % 3 == 0


def _same_as_last(user, item, history):
    return len(history) > 0 and history[-1] == item


@pytest.mark.parametrize(
    ("model", "like"),
    [
        (FM(FMSettings(embedding_size=16, learning_rate=0.05, **BY_HEART)), _own_taste),
        (DeepFM(DeepFMSettings(learning_rate=0.01, dropout_prob=0, **BY_HEART)), _own_taste),
        (DIN(DINSettings(learning_rate=0.01, dropout_prob=0, **BY_HEART)), _same_as_last),
    ],
    ids=["FM", "DeepFM", "DIN"],
)
def test_labels_are_learnt_by_heart(model, like):
    training = _training(KINDS, like=like)
    report = _fit(model, training, epochs=40)
    pairs = training.pairs
    said = model.rate(_ask(pairs.user, pairs.item, KINDS, pairs.history))
    assert report.curve[-1]["loss"] < 0.25 * report.curve[0]["loss"]
    assert np.abs(said - pairs.label).mean() < 0.1


def test_din_reads_the_latest_items_in_training_order_and_skips_the_unknown():
    training = _training(KINDS, like=_same_as_last)
    model = DIN(DINSettings(train_batch_size=50, max_length=2))
    _fit(model, training)

    def said(*shown):
        return float(model.rate(_ask([11], [5], {**KINDS, 99: None}, Ragged.from_lists([shown])))[0])

    assert said(3, 5) == said(9, 20, 3, 5) == said(3, 99, 5)
    assert said(3, 5) != said(3, 9)
    assert said() == said(99)


def test_din_knows_users_by_their_history_alone():
    model = DIN(DINSettings(train_batch_size=50))
    _fit(model, _training(KINDS))
    history = Ragged.from_lists([[3, 9]] * 2)
    warm, cold = model.rate(_ask([11, 1000], [5, 5], KINDS, history))
    assert warm == cold


@pytest.mark.parametrize("model", [FM(), DeepFM(), DIN()], ids=lambda model: model.recbole_name)
def test_a_new_item_is_told_by_its_categories(model):
    """Everyone clicks category b and nothing else: a new item of b is likelier than a new one of a."""
    model.settings = model.settings.model_copy(
        update={"unknown": 0.3, "learning_rate": 0.02, "train_batch_size": 50, "embedding_size": 8, "weight_decay": 0}
    )
    kinds = {code: ["b"] if code % 2 else ["a"] for code in range(1, 31)}
    _fit(model, _training(kinds, like=lambda user, item, history: item % 2, pairs=600), epochs=20)
    items = {**kinds, 100: ["b"], 101: ["a"], 102: ["never met"]}
    liked, other, unheard = model.rate(_ask([1, 1, 1], [100, 101, 102], items))
    assert liked > 0.9 > 0.1 > other
    assert other < unheard < liked


def test_categories_are_numbered_once_and_only_those_of_training():
    training = _training(KINDS)
    vocabulary = Vocabulary.of(training)
    assert vocabulary.items.tolist() == sorted(KINDS)
    assert vocabulary.categories.tolist() == ["a", "b", "c"]
    assert [row.tolist() for row in vocabulary.table.categories] == [[], [1, 2], [2], [], [], [3, 1], [1]]
    new = _items({7: ["c", "z"], 8: None, 30: ["a", "a"]})
    found = vocabulary.category_ids(np.array([30, 7, 8], np.int32), new)
    assert [row.tolist() for row in found] == [[1], [3], []]


def test_only_clicks_teach():
    training = _training(KINDS)
    ratings = replace(training, pairs=replace(training.pairs, kind="rating"))
    for useless in (ratings, replace(training, pairs=None)):
        with pytest.raises(MissingInputError, match="clicks"):
            _fit(FM(), useless)


def test_the_best_weights_are_kept():
    training, seen, numbers = _training(KINDS), [], iter([0.1, 0.4, 0.3, 0.2])
    asked = _ask(training.pairs.user, training.pairs.item, KINDS)
    model = FM(FMSettings(train_batch_size=64))

    def validate(half):
        seen.append(half.rate(asked))
        return next(numbers)

    report = model.fit(
        training, validate=validate, budget=Budget(max_epochs=50, patience=2), seed=0, progress=lambda *_: None
    )
    np.testing.assert_array_equal(model.rate(asked), seen[1])
    assert not np.array_equal(seen[1], seen[3])
    # 400 pairs in batches of at most 64.
    assert (report.stopped, report.epochs, report.steps, report.best_step) == ("early stopping", 4, 28, 14)
