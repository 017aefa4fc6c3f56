"""Stored results as pandas frames, and two stored models side by side."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pandas as pd
import pytest

from bench.errors import UsageError
from bench.report import write_report
from bench.results import compare, load_measurements, load_results
from bench.runs.store import read_json, write_json

ON = "test/sequential/warm-warm/all"


@pytest.fixture
def made(world, asked):
    made = world(asked("test", "warm-warm"), asked("test", "warm-cold", pool="cold", users=30), seeds=(0, 1))
    made.add("knn", "classic", 3.0, label="Item kNN")
    made.add("llm", "llm", 2.0, served={"test/sequential/warm-cold/cold": 0.5})
    return made


def test_one_row_a_prediction_and_metric(made):
    frame = load_results(made.store.root, metrics=["HR@10", "NDCG@10"])
    assert len(frame) == 2 * 2 * 4 * 2  # models, seeds, sets, metrics
    assert not frame.duplicated(["model", "seed", "set", "metric"]).any()
    half = frame.query("model == 'llm' and quadrant == 'warm-cold' and part == 'test'")
    assert set(half["coverage"]) == {0.5}
    assert set(frame["label"]) == {"Item kNN", "llm"}
    assert frame["shots"].isna().all()


def test_means_are_those_of_the_tables(made, tmp_path):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    with files.table_csv.open(encoding="utf-8", newline="") as stream:
        printed = {(row["model"], row["quadrant"], row["metric"]): row for row in csv.DictReader(stream)}
    frame = load_results(made.store.root, metrics=["MRR@10"]).query("part == 'test'")
    for (model, quadrant), rows in frame.groupby(["model", "quadrant"]):
        assert rows["mean"].mean() == pytest.approx(float(printed[model, quadrant, "MRR@10"]["mean"]), rel=1e-12)


def test_metrics_deeper_than_the_lists_are_left_out(made):
    frame = load_results(made.store.root)
    assert {"HR@10", "NDCG@1"} <= set(frame["metric"])
    assert not any(metric.endswith("@20") for metric in frame["metric"])
    with pytest.raises(UsageError, match="hold 10"):
        compare("knn", "llm", on=ON, metric="HR@20", store=made.store.root)


def test_measurements_come_request_by_request(made):
    chosen = load_results(made.store.root).query("set == @ON and seed == 1")
    frame = load_measurements(chosen, made.store.root, metrics=["HR@5"])
    assert len(frame) == 2 * 60
    assert (frame["HR@5"] == (frame["above"] < 5)).all()
    means = load_results(made.store.root, metrics=["HR@5"]).query("set == @ON and seed == 1").set_index("model")["mean"]
    pd.testing.assert_series_equal(frame.groupby("model")["HR@5"].mean(), means, check_names=False, check_exact=False)
    with pytest.raises(UsageError, match="no row"):
        load_measurements(chosen.iloc[:0], made.store.root)


@pytest.mark.parametrize("quadrant", ["warm-warm", "warm-cold"])
def test_a_comparison_is_that_of_the_table(made, tmp_path, quadrant):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    with files.table_csv.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["quadrant"] == quadrant and row["metric"] == "NDCG@10"]
    (row,) = (row for row in rows if row["model"] == "llm")
    pool = {"warm-warm": "all", "warm-cold": "cold"}[quadrant]
    found = compare("llm", "Item kNN", on=f"test/sequential/{quadrant}/{pool}", store=made.store.root)
    assert (found.seeds, found.units) == (2, row["units"])
    # The interval's draw of seeds depends on the names given; everything else is the same number.
    for ours, theirs in {"mean": "mean", "difference": "difference", "p": "p", "effect": "effect"}.items():
        assert getattr(found, ours) == pytest.approx(float(row[theirs]), rel=1e-9), ours
    assert found.diff_low == pytest.approx(float(row["difference_low"]), abs=0.02)


def test_what_is_not_clear_is_refused(made, tmp_path):
    root = made.store.root
    with pytest.raises(UsageError, match="did you mean 'llm'"):
        compare("lllm", "knn", store=root)
    with pytest.raises(UsageError, match="choose with on: test/sequential/warm-cold/cold of made-up, test/seq"):
        compare("llm", "knn", store=root)
    with pytest.raises(UsageError, match="unknown request set of llm"):
        compare("llm", "knn", on="test/sequential/warm-warm/al", store=root)
    with pytest.raises(UsageError, match="unknown stored data set 'made-u'"):
        compare("llm", "knn", dataset="made-u", store=root)
    with pytest.raises(UsageError, match="nothing is stored"):
        load_results(tmp_path / "empty")


def test_variants_of_a_model_are_told_apart_by_their_keys(made):
    key = made.plan().cells[2].key  # the language model under its first seed
    spec = made.store.cell(key) / "spec.json"
    write_json(spec, {**read_json(spec), "settings": {"width": 2}})
    with pytest.raises(UsageError, match=f"several variants.*{key[:8]}"):
        compare("llm", "knn", on=ON, store=made.store.root)
    found = compare(key[:8], "knn", on=ON, dataset="made-up", store=made.store.root)
    assert (found.model, found.seeds) == (key[:8], 1)
    assert all(np.isfinite([found.low, found.p, found.mde]))
    assert dataclasses.asdict(found)["win"] + found.tie + found.loss == 60
