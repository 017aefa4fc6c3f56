"""P5 in a suite: one fit, asked in many ways."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

import bench

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")
pytest.importorskip("recbole", reason="ml-100k is read from the copy in RecBole")

SUITE = """
name: ways
description: One P5 in several ways.
dataset: ml-100k
protocol: {name: leave-one-out, sampled: 20}
tasks: [sequential, direct, rating]
metrics: [NDCG@10, RMSE]
primary: [NDCG@10, RMSE]
validation_requests: 50
models:
  - popularity
  - {name: mean, model: means, settings: {of: all}}
  - {model: p5, settings: &p5 {prompts: movielens, d_model: 16, d_ff: 32, d_kv: 8, heads: 2, layers: 1},
     budget: &brief {max_steps: 3, eval_every_steps: 3, patience: 0}}
  - {name: exact, model: p5, settings: {<<: *p5, decode: exhaustive}, budget: *brief}
  - {name: stars, model: p5, settings: {<<: *p5, prompt: 1-1, stars: greedy}, budget: *brief}
  - {name: ratings, model: p5, settings: {<<: *p5, prompt: each, families: [rating]}, budget: *brief}
"""
RATING = ["1-1", "1-2", "1-5", "1-6", "1-7", "1-n1", "1-10", "1-p1", "1-p2", "1-p3", "1-p4", "1-p8", "1-p9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite")
    (path / "ways.yaml").write_text(SUITE)
    bench.run(str(path / "ways.yaml"), store=path / "runs", results=path / "out")
    return path


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    (path,) = (folder / "out").rglob(name)
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_one_fit_is_asked_in_many_ways(folder: Path) -> None:
    # Popularity, the mean, and two fits of P5: of all families, and of ratings alone.
    assert len([cell for cell in (folder / "runs").iterdir() if (cell / "model").is_dir()]) == 4
    shown = {(row["model"], row["task"], row["pool"]) for row in rows(folder, "table.csv")}
    for way in ("p5", "exact"):
        assert {(way, "sequential", "all"), (way, "direct", "all"), (way, "direct", "sampled")} <= shown
    assert {pair[0] for pair in shown if pair[1] == "rating"} >= {"mean", "p5", "exact", "stars", "ratings 1-1"}
    labels = {row["model"]: row["label"] for row in rows(folder, "table.csv")}
    assert labels["exact"].endswith("random ids, exhaustive)")
    assert labels["stars"].endswith("random ids, prompt 1-1, greedy stars)")


@pytest.mark.slow
def test_beams_fall_short_of_exhaustive_search(folder: Path) -> None:
    """Never above it in what they find likeliest; how far below in quality, the table says."""
    lists = pl.concat(
        [
            pl.read_parquet(path).with_columns(way=pl.lit(json.loads((path.parent / "about.json").read_text())["name"]))
            for path in (folder / "runs").rglob("lists.parquet")
            if (path.parent / "about.json").is_file()
            and json.loads((path.parent / "spec.json").read_text())["name"] == "test/sequential/warm-warm/all"
        ]
    )
    best = lists.pivot("way", index=["request", "rank"], values="score")
    assert len(best) == 943 * 10
    assert (best["p5"] <= best["exact"] + 1e-4).all()
    assert (best["p5"] < best["exact"] - 1e-3).any()


@pytest.mark.slow
def test_each_prompt_has_its_figure(folder: Path) -> None:
    table = rows(folder, "prompts.csv")
    assert [row["prompt"] for row in table if row["line"] == "prompt"] == RATING
    said = {row["prompt"]: row for row in table if row["line"] == "prompt"}
    assert (said["1-n1"]["group"], said["1-10"]["group"], said["1-p4"]["group"]) == ("seen", "held-out", "structure")
    assert (said["1-p1"]["of"], said["1-p1"]["untrained_words"]) == ("1-1", "movie points")
    assert all(0.8 < float(row["mean"]) < 3 for row in said.values())
