from __future__ import annotations

import numpy as np
import pytest

from baselines.recbole.bpr import BPR, BPRSettings
from bench.models import Budget

pytest.importorskip("recbole")
SETTINGS = BPRSettings(embedding_size=4, learning_rate=0.05, train_batch_size=64)


class Scripted:
    """Validation numbers given in advance; keeps what the model answered each time."""

    def __init__(self, values, requests):
        self.values, self.requests, self.scores = iter(values), requests, []

    def __call__(self, model):
        self.scores.append(model.score(self.requests))
        return next(self.values)


@pytest.fixture
def train(random_training, make_requests, fit):
    def run(values, budget):
        model = BPR(SETTINGS)
        script = Scripted(values, make_requests(random_training.user, None, random_training.item))
        report = fit(model, random_training, validate=script, budget=budget)
        return model.score(script.requests), script.scores, report

    return run


@pytest.fixture
def steps(random_training):
    return -(-len(random_training.sequences.values) // SETTINGS.train_batch_size)


def test_the_best_weights_are_kept_and_patience_ends_the_training(train, steps):
    final, seen, report = train([0.1, 0.3, 0.2, 0.25], Budget(max_epochs=50, eval_every_epochs=1, patience=2))
    np.testing.assert_array_equal(final, seen[1])
    assert not np.array_equal(seen[1], seen[3])
    assert (report.stopped, report.converged) == ("early stopping", True)
    assert (report.steps, report.epochs, report.best_step) == (4 * steps, 4, 2 * steps)
    assert [row["validation"] for row in report.curve] == [0.1, 0.3, 0.2, 0.25]
    assert report.curve[-1]["loss"] < report.curve[0]["loss"]


def test_without_patience_the_last_weights_are_kept(train):
    final, seen, report = train([0.9, 0.1], Budget(max_epochs=2, patience=0))
    np.testing.assert_array_equal(final, seen[-1])
    assert (report.stopped, report.converged) == ("budget", False)


def test_the_last_epoch_is_validated_too(train, steps):
    _, _, report = train([0.1, 0.2], Budget(max_epochs=5, eval_every_epochs=3))
    assert [row["epoch"] for row in report.curve] == [3, 5]
    assert report.best_step == 5 * steps


def test_steps_are_rounded_to_whole_epochs(train, steps):
    budget = Budget(max_steps=4 * steps + 1, eval_every_steps=2 * steps)
    _, _, report = train([0.1, 0.2], budget)
    assert [row["epoch"] for row in report.curve] == [2, 4]
    assert report.stopped == "budget"
    _, _, report = train([0.1], Budget(max_steps=1))
    assert report.epochs == 1, "at least one epoch"


def test_a_time_cap_is_told_apart(train):
    _, seen, report = train([0.1], Budget(max_epochs=3, time_cap_s=0.0))
    assert len(seen) == 1
    assert (report.stopped, report.converged) == ("time cap", False)


def test_parameters_are_counted_and_progress_is_told(random_training):
    told = []
    report = BPR(SETTINGS).fit(
        random_training,
        validate=lambda _: 0.5,
        budget=Budget(max_epochs=2),
        seed=0,
        progress=lambda done, total, note="": told.append((done, total, note)),
    )
    users, items = len(random_training.user), len(random_training.item)
    assert report.parameters_trained == report.parameters_total == (users + 1 + items + 1) * 4
    assert [row[:2] for row in told] == [(1, 2), (2, 2)]
    assert "validation 0.5000" in told[-1][2]


def test_seeds_change_the_model_and_repeat_it(random_training, make_requests, fit):
    requests = make_requests(random_training.user, None, random_training.item)

    def scores(seed):
        model = BPR(SETTINGS)
        fit(model, random_training, validate=lambda _: 0.0, seed=seed)
        return model.score(requests)

    np.testing.assert_array_equal(scores(1), scores(1))
    assert not np.allclose(scores(1), scores(2))
