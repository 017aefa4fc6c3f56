"""A shop of six items, small enough to compute everything by hand; items 4 and 5 are cold."""

from __future__ import annotations

import polars as pl
import pytest

from bench.data.ragged import Ragged
from bench.models import Budget, Catalogue, Requests, Training

TITLES = ["red apple", "green apple", "red car", "blue car", "green boat", None]
CATEGORIES = [["fruit"], ["fruit"], ["car", "toy"], ["car"], ["toy", "boat"], None]


def _items(codes, *, title=True, categories=True):
    frame = pl.DataFrame(
        {
            "item": codes,
            "item_id": [f"i{code}" for code in codes],
            "title": [TITLES[code] for code in codes],
            "categories": [CATEGORIES[code] for code in codes],
        },
        schema={"item": pl.Int32, "item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)},
    )
    return frame.drop(([] if title else ["title"]) + ([] if categories else ["categories"]))


@pytest.fixture(scope="session")
def make_training():
    """Users 10, 20, 30 on the warm items 0 to 3, which are met 3, 1, 2 and 1 times."""

    def make(**columns):
        import numpy as np

        return Training(
            user=np.array([10, 20, 30], np.int32),
            sequences=Ragged.from_lists([[0, 1, 2], [0, 3], [2, 0]]),
            time=None,
            rating=None,
            items=_items([0, 1, 2, 3], **columns),
        )

    return make


@pytest.fixture(scope="session")
def make_requests():
    """Requests over the given candidates; sequential when histories are given."""

    def make(users, histories=None, candidates=(0, 1, 2, 3, 4, 5), **columns):
        import numpy as np

        codes = np.array(candidates, np.int32)
        # In an order of its own: nothing says that the text is sorted by item.
        text = _items([5, 4, 3, 2, 1, 0], **columns)
        return Requests(
            task="direct" if histories is None else "sequential",
            user=np.array(users, np.int32),
            history=None if histories is None else Ragged.from_lists(histories),
            catalogue=Catalogue(codes, _items(list(candidates), **columns)),
            text=text,
        )

    return make


@pytest.fixture(scope="session")
def fit():
    """Fit with what the harness would hand over; a model of this package never asks to be validated."""

    def run(model, training, *, seed=0):
        def validate(_):
            raise AssertionError("validation is for models that train in steps")

        report = model.fit(training, validate=validate, budget=Budget(), seed=seed, progress=lambda *_: None)
        assert report.stopped == "closed form"
        assert report.converged
        return model

    return run
