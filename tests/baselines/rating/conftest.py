"""Ratings made up by the tests, and a way to ask about pairs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench.data.ragged import Ragged
from bench.models import Budget, Catalogue, Requests, Training
from bench.splits.training import Pairs

THIRTY_EPOCHS = Budget(max_epochs=30, patience=0)


def _items(codes):
    codes = np.unique(np.asarray(codes, np.int32))
    return pl.DataFrame({"item": codes, "item_id": [f"i{code}" for code in codes]})


@pytest.fixture(scope="session")
def rated():
    """Training data out of parallel arrays of users, items and stars; ``as_pairs``: as a protocol's labelled pairs."""

    def make(user, item, stars, *, as_pairs=False):
        user, item, stars = np.asarray(user, np.int32), np.asarray(item, np.int32), np.asarray(stars, np.float32)
        order = np.argsort(user, kind="stable")
        users, counts = np.unique(user, return_counts=True)
        sequences = Ragged.from_lengths(counts, item[order])
        if not as_pairs:
            return Training(users, sequences, None, stars[order], _items(item))
        pairs = Pairs(user, item, stars, Ragged.empty(len(user)), None, "rating")
        return Training(users, sequences, None, None, _items(item), pairs=pairs)

    return make


@pytest.fixture(scope="session")
def ask():
    def make(user, item):
        catalogue = Catalogue(np.unique(np.asarray(item, np.int32)), _items(item))
        user, item = np.asarray(user, np.int32), np.asarray(item, np.int32)
        return Requests("rating", user, Ragged.empty(len(user)), catalogue, catalogue.text, item=item)

    return make


@pytest.fixture(scope="session")
def fit():
    def run(model, training, *, validate=lambda _: 0.0, budget=THIRTY_EPOCHS, seed=0):
        return model.fit(training, validate=validate, budget=budget, seed=seed, progress=lambda *_: None)

    return run


@pytest.fixture(scope="session")
def low_rank():
    """Stars that a mean, biases and vectors of length 2 explain exactly: all pairs of 40 users and 30 items."""
    rng = np.random.default_rng(3)
    stars = (
        3 + rng.normal(0, 0.4, (40, 1)) + rng.normal(0, 0.4, 30) + rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))
    )
    user, item = np.divmod(np.arange(stars.size), 30)
    return 5 + 3 * user, 200 - 2 * item, stars.ravel()
