"""Tiny training data, and a way to ask about it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench.data.ragged import Ragged
from bench.models import Budget, Catalogue, Requests, Training

TWO_EPOCHS = Budget(max_epochs=2)


def _items(codes):
    codes = np.asarray(codes, np.int32)
    return pl.DataFrame({"item": codes, "item_id": [f"i{code}" for code in codes]})


@pytest.fixture(scope="session")
def make_training():
    def make(users, sequences):
        seen = Ragged.from_lists(sequences)
        return Training(np.array(users, np.int32), seen, None, None, _items(np.unique(seen.values)))

    return make


@pytest.fixture(scope="session")
def make_requests():
    def make(users, histories, candidates):
        catalogue = Catalogue(np.array(candidates, np.int32), _items(candidates))
        history = None if histories is None else Ragged.from_lists(histories)
        task = "direct" if histories is None else "sequential"
        return Requests(task, np.array(users, np.int32), history, catalogue, catalogue.text)

    return make


@pytest.fixture(scope="session")
def random_training(make_training):
    """60 users with 4 to 9 of 25 items; neither kind of code starts at 0 or is without gaps."""
    rng = np.random.default_rng(5)
    items = np.sort(rng.choice(200, 25, replace=False)) + 7
    users = np.sort(rng.choice(500, 60, replace=False)) + 3
    return make_training(users, [rng.choice(items, rng.integers(4, 10), replace=False) for _ in users])


@pytest.fixture(scope="session")
def fit():
    def run(model, training, *, validate=None, budget=TWO_EPOCHS, seed=0):
        return model.fit(training, validate=validate, budget=budget, seed=seed, progress=lambda *_: None)

    return run
