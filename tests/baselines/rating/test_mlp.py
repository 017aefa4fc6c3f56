from __future__ import annotations

import numpy as np
import pytest

from baselines.rating.mlp import MLP, MLPSettings
from bench.models import Budget

torch = pytest.importorskip("torch")

SMALL = MLPSettings(
    embedding_size=8, hidden_sizes=(32, 16), dropout=0, learning_rate=0.01, weight_decay=0, batch_size=64
)


def test_it_learns_ratings_by_heart(low_rank, rated, ask, fit):
    user, item, stars = low_rank
    model = MLP(SMALL.model_copy(update={"unknown": 1e-9}))
    report = fit(model, rated(user, item, stars), budget=Budget(max_epochs=60, patience=0))
    losses = [row["loss"] for row in report.curve]
    assert losses[-1] < 0.05 * losses[0]
    assert np.sqrt(np.mean((model.rate(ask(user, item)) - stars) ** 2)) < 0.2 < stars.std()


def test_it_says_what_the_weights_say(low_rank, rated, ask, fit, tmp_path):
    user, item, stars = low_rank
    model = MLP(SMALL)
    report = fit(model, rated(user, item, stars), budget=Budget(max_epochs=3))
    model.save(tmp_path)
    with np.load(tmp_path / "mlp.npz") as stored:
        weights = dict(stored)
    users, items = np.unique(user), np.unique(item)
    hidden = np.hstack(
        [
            weights["user.weight"][1 + np.searchsorted(users, user)],
            weights["item.weight"][1 + np.searchsorted(items, item)],
        ]
    )
    layers = sorted({name.rsplit(".", 1)[0] for name in weights if name.startswith("layers.")})
    for number, layer in enumerate(layers):
        hidden = hidden @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        hidden = np.maximum(hidden, 0) if number < len(layers) - 1 else hidden
    expected = np.clip(stars.mean() + hidden[:, 0], stars.min(), stars.max())
    np.testing.assert_allclose(model.rate(ask(user, item)), expected, atol=1e-4)
    assert report.parameters_trained == sum(weights[name].size for name in weights if "." in name)


def test_newcomers_get_what_was_learnt_with_names_hidden(rated, ask, fit):
    """Item 30 has five stars from everyone, item 10 one; a new user is told so."""
    users = np.repeat(np.arange(40), 2)
    training = rated(users, np.tile([10, 30], 40), np.tile([1.0, 5.0], 40))
    model = MLP(SMALL.model_copy(update={"unknown": 0.3}))
    fit(model, training, budget=Budget(max_epochs=80, patience=0))
    bad, good, new = model.rate(ask([99, 99, 3], [10, 30, 50]))
    assert bad < 1.5
    assert good > 4.5
    assert 2 < new < 4, "an item nobody knows"


def test_the_best_weights_are_kept(low_rank, rated, ask, fit):
    seen, numbers = [], iter([0.1, 0.4, 0.3, 0.2])

    def validate(model):
        seen.append(model.rate(ask(*low_rank[:2])))
        return next(numbers)

    model = MLP(SMALL)
    report = fit(model, rated(*low_rank), validate=validate, budget=Budget(max_epochs=50, patience=2))
    np.testing.assert_array_equal(model.rate(ask(*low_rank[:2])), seen[1])
    assert (report.stopped, report.epochs, report.steps) == ("early stopping", 4, 4 * 19)
