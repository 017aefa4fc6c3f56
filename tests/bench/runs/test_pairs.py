"""Suites that rate and predict clicks, from the split to the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.errors import UsageError
from bench.results import compare, load_measurements, load_results
from bench.runs.run import Outcome, run
from bench.runs.store import Store
from bench.runs.suite import load_suite

RNG = np.random.default_rng(8)
TASTE = RNG.integers(1, 6, 30)
ROWS = [
    (f"u{u}", f"i{i}", float(np.clip(TASTE[i] + RNG.integers(-1, 2), 1, 5)), 1000 * place + u)
    for u in range(60)
    for place, i in enumerate(RNG.choice(30, size=10, replace=False))
]


@pytest.fixture
def go(make_card: Callable[..., Path], tmp_path: Path) -> Callable[[str], Outcome]:
    def start(text: str) -> Outcome:
        path = tmp_path / "suite.yaml"
        kinds = {"mean": "all", "items": "items"}
        means = [f"{{name: {name}, model: means, settings: {{of: {of}}}}}" for name, of in kinds.items()]
        models = f"[popularity, {means[0]}, {means[1]}]"
        path.write_text(f"{{name: tiny, description: x, dataset: '{make_card(ROWS)}', models: {models}, {text}}}")
        return run(load_suite(str(path)), store=tmp_path / "runs", results=tmp_path / "results")

    return start


def test_ratings(go: Callable[[str], Outcome], tmp_path: Path) -> None:
    outcome = go("protocol: {name: leave-one-out}, tasks: [rating], metrics: [RMSE, MAE], primary: RMSE")
    assert not outcome.failed
    stored = {
        cell.name: Store(tmp_path / "runs").measurements(cell.key, prediction.key)
        for cell in outcome.plan.cells
        for prediction in cell.predictions
        if prediction.name == "test/rating/warm-warm/pairs"
    }
    table = pl.read_csv(outcome.folder / "table.csv")
    for name, frame in stored.items():
        error = (frame["predicted"] - frame["actual"]).to_numpy()
        of = table.filter(pl.col("model") == name)
        assert of.filter(metric="RMSE")["mean"].item() == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
        assert of.filter(metric="MAE")["mean"].item() == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert table.filter(metric="RMSE", model="items")["mean"].item() < 0.9
    # The labels are the held-out stars.
    last = {user: rating for user, _, rating, _ in sorted(ROWS, key=lambda row: row[3])}
    frame = stored["mean"]
    assert dict(zip(frame["user_id"], frame["actual"], strict=True)) == last
    said = (outcome.folder / "table.md").read_text()
    assert "**" in said
    assert "every request counts alike" in said


def test_clicks(go: Callable[[str], Outcome], tmp_path: Path) -> None:
    outcome = go(
        "protocol: {name: temporal, clicks: {at_least: 4}}, tasks: [click], metrics: [AUC, LogLoss], primary: AUC"
    )
    assert not outcome.failed
    results = load_results(tmp_path / "runs")
    area = results[(results.metric == "AUC") & (results.part == "test")].set_index("model")["mean"]
    assert area["mean"] == pytest.approx(0.5)
    assert area["items"] > 0.7
    found = compare("items", "mean", metric="AUC", store=tmp_path / "runs")
    assert found.better
    assert found.p < 0.01
    frame = load_measurements(results, tmp_path / "runs", metrics=["LogLoss", "NDCG@10"])
    assert frame["LogLoss"].notna().all()
    assert "NDCG@10" not in frame or frame["NDCG@10"].isna().all()


def test_several_kinds_of_task_have_a_primary_metric_each(go: Callable[[str], Outcome]) -> None:
    outcome = go(
        "protocol: {name: leave-one-out, sampled: 9}, tasks: [sequential, direct, rating],"
        " metrics: [HR@5, NDCG@10, RMSE], primary: [NDCG@10, RMSE]"
    )
    said = (outcome.folder / "table.md").read_text()
    assert "NDCG@10 on tiny" in said
    assert "RMSE on tiny" in said
    assert "a draw of 10 items" in said
    assert "Sampled: each answer" in said


def test_a_task_that_the_data_cannot_ask_is_left_out_and_said(go: Callable[[str], Outcome]) -> None:
    outcome = go(
        "protocol: {name: leave-one-out}, tasks: [click, rating, headline], metrics: [AUC, RMSE, ROUGE-L],"
        " primary: [AUC, RMSE, ROUGE-L]"
    )
    assert not outcome.failed
    assert sorted(outcome.plan.left_out) == ["click", "headline"]
    assert outcome.plan.suite.tasks == ("click", "rating", "headline")
    # Chosen by the first task that is left, not by one that nobody can be asked.
    assert {cell.spec["selected_on"]["metric"] for cell in outcome.plan.cells} == {"RMSE"}
    said = (outcome.folder / "table.md").read_text()
    assert "Left out: headline: no review texts" in said
    assert "Left out: click: clicks are held out by" in said


def test_a_suite_of_which_nothing_can_be_asked_is_refused(go: Callable[[str], Outcome]) -> None:
    with pytest.raises(UsageError, match=r"tiny, leave-one-out.*held out for click: clicks are.*; headline: no review"):
        go("protocol: {name: leave-one-out}, tasks: [click, headline], metrics: [AUC], primary: [AUC, ROUGE-L]")
