"""Metrics of labelled pairs, against scikit-learn and brute-force resampling."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error

from bench.errors import DataError, UsageError
from bench.metrics import PairMetric, parse

ALL = np.ones(400, bool)


def mean(name, label, predicted, served=None):
    served = np.ones(len(label), bool) if served is None else served
    return parse(name).per_request(np.asarray(label), np.asarray(predicted), np.asarray(served)).mean()


@given(
    label=hnp.arrays(np.int8, 30, elements=st.integers(1, 5)).filter(lambda stars: len(set(stars)) > 1),
    predicted=hnp.arrays(np.float32, 30, elements=st.floats(1, 5, width=32)),
)
def test_errors_of_ratings_are_those_of_scikit_learn(label, predicted):
    kept = np.clip(predicted, label.min(), label.max())
    assert mean("RMSE", label, predicted) == pytest.approx(root_mean_squared_error(label, kept))
    assert mean("MAE", label, predicted) == pytest.approx(mean_absolute_error(label, kept))


@given(
    label=hnp.arrays(np.int8, 40, elements=st.integers(0, 1)).filter(lambda clicks: 0 < clicks.sum() < 40),
    # Few values, so that many are tied.
    predicted=hnp.arrays(np.float64, 40, elements=st.sampled_from([0.1, 0.2, 0.5, 0.9])),
)
def test_clicks_are_scored_as_by_scikit_learn(label, predicted):
    assert mean("AUC", label, predicted) == pytest.approx(roc_auc_score(label, predicted))
    assert mean("LogLoss", label, predicted) == pytest.approx(log_loss(label, predicted))


@pytest.mark.parametrize("name", ["AUC", "RMSE"])
def test_the_spread_of_the_values_is_the_spread_of_the_metric(name):
    rng = np.random.default_rng(1)
    label = (rng.random(400) < 0.3).astype(float) if name == "AUC" else rng.integers(1, 6, 400).astype(float)
    predicted = np.clip(label + rng.normal(0, 1.0, 400), label.min(), label.max())
    error = parse(name).per_request(label, predicted, ALL).std(ddof=1) / np.sqrt(400)
    draws = rng.integers(0, 400, (2000, 400))
    assert error == pytest.approx(np.std([mean(name, label[rows], predicted[rows]) for rows in draws]), rel=0.08)


def test_what_is_not_served_is_the_worst_answer():
    stars, nothing = np.array([1, 2, 5]), np.full(3, np.nan)
    unserved = np.zeros(3, bool)
    assert parse("MAE").per_request(stars, nothing, unserved).tolist() == [4, 3, 4]
    clicks = np.array([1, 0, 1, 0])
    assert mean("AUC", clicks, np.full(4, np.nan), np.zeros(4, bool)) == 0
    half = np.array([True, True, False, True])
    # The unserved click stands below both non-clicks, the other one above both.
    assert mean("AUC", clicks, np.array([0.9, 0.1, np.nan, 0.2]), half) == 0.5
    assert mean("LogLoss", clicks, np.full(4, np.nan), np.zeros(4, bool)) == pytest.approx(-np.log(1e-7))


def test_the_original_drops_what_is_not_answered():
    rng = np.random.default_rng(2)
    label, served = rng.integers(1, 6, 400).astype(float), rng.random(400) < 0.7
    predicted = np.where(served, np.clip(label + rng.normal(0, 1.0, 400), 1, 5), np.nan)
    answered = label[served], predicted[served]
    assert mean("P5-RMSE", label, predicted, served) == pytest.approx(root_mean_squared_error(*answered))
    assert mean("P5-MAE", label, predicted, served) == pytest.approx(mean_absolute_error(*answered))
    assert mean("P5-RMSE", label, predicted, served) < mean("RMSE", label, predicted, served)
    draws = rng.integers(0, 400, (2000, 400))
    for name in ("P5-RMSE", "P5-MAE"):
        error = parse(name).per_request(label, predicted, served).std(ddof=1) / np.sqrt(400)
        drawn = [mean(name, label[rows], predicted[rows], served[rows]) for rows in draws]
        assert error == pytest.approx(np.std(drawn), rel=0.08)


def test_a_constant_answer_tells_nothing_apart():
    assert mean("AUC", np.array([1, 0, 0]), np.full(3, 0.3)) == 0.5


def test_a_certain_mistake_is_bounded():
    assert mean("LogLoss", np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize(("label", "said"), [([1, 1], "only clicks"), ([0, 0], "only non-clicks")])
def test_an_area_needs_both_kinds(label, said):
    frame = pl.DataFrame({"actual": label, "predicted": [0.5, 0.6], "served": [True, True]})
    assert not parse("AUC").defined(frame)
    assert parse("LogLoss").defined(frame)
    with pytest.raises(DataError, match=said):
        parse("AUC").values(frame)


def test_names():
    metric = parse(" rmse ")
    assert isinstance(metric, PairMetric)
    assert str(metric) == "RMSE"
    assert not metric.higher_is_better
    assert metric.tasks == ("rating", "preference")
    with pytest.raises(UsageError, match="RMSE"):
        parse("RSME")
