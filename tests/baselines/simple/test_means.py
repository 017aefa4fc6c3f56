from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from baselines.simple.means import Means, MeansSettings
from bench.data.ragged import Ragged
from bench.errors import MissingInputError
from bench.models import Training
from bench.splits import Pairs

# Users 10, 20, 30 on items [0, 1, 2], [0, 3] and [2, 0].
STARS = np.array([5, 1, 3, 4, 2, 4, 5], np.float32)


@pytest.fixture
def training(make_training) -> Training:
    return replace(make_training(), rating=STARS)


def said(model, make_requests, pairs):
    users, items = zip(*pairs, strict=True)
    requests = replace(make_requests(list(users), [[] for _ in users]), task="rating", item=np.array(items, np.int32))
    return model.rate(requests)


@pytest.mark.parametrize(
    ("of", "known", "unknown_user", "unknown_item"),
    [
        ("all", 24 / 7, 24 / 7, 24 / 7),
        # 4 and 5 stars are given twice: the smaller counts.
        ("majority", 4, 4, 4),
        ("users", 3, 24 / 7, 3),
        ("items", 1, 1, 24 / 7),
    ],
)
def test_means_by_hand(training, make_requests, fit, of, known, unknown_user, unknown_item):
    model = fit(Means(MeansSettings(of=of, shrinkage=0)), training)
    found = said(model, make_requests, [(10, 1), (99, 1), (10, 5)])
    assert found == pytest.approx([known, unknown_user, unknown_item])


def test_both_are_deviations_one_after_the_other(training, make_requests, fit):
    model = fit(Means(MeansSettings(of="both", shrinkage=2)), training)
    mean = 24 / 7
    of_item = {0: (5 + 4 + 5 - 3 * mean) / 5, 3: (2 - mean) / 3}
    of_user = (4 - mean - of_item[0] + 2 - mean - of_item[3]) / 4
    assert said(model, make_requests, [(20, 0)]) == pytest.approx([mean + of_item[0] + of_user])


def test_predictions_stay_on_the_scale(make_training, make_requests, fit):
    training = replace(make_training(), rating=np.array([5, 5, 5, 1, 5, 5, 5], np.float32))
    model = fit(Means(MeansSettings(of="both", shrinkage=0)), training)
    assert said(model, make_requests, [(10, 2)]) == pytest.approx([5])


def test_pairs_come_before_ratings(training, make_requests, fit):
    pairs = Pairs(
        np.array([10, 20], np.int32),
        np.array([0, 1], np.int32),
        np.array([1, 0], np.float32),
        Ragged.empty(2),
        None,
        "click",
    )
    model = fit(Means(MeansSettings(of="all")), replace(training, pairs=pairs))
    assert said(model, make_requests, [(10, 1)]) == pytest.approx([0.5])


def test_data_without_labels_is_refused(make_training, fit):
    with pytest.raises(MissingInputError, match="negatives"):
        fit(Means(), make_training())
