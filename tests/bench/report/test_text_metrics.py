"""Metrics of all texts together: printed, but without an interval."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from bench.data.hashing import digest
from bench.metrics import Written, parse
from bench.report import write_report
from bench.tasks.requests import Answers, Texts

pytest.importorskip("rouge_score")
pytest.importorskip("sacrebleu")

METRICS = ("BLEU-4", "ROUGE-L", "DISTINCT-2", "USR", "FMR", "FCR", "DIV")
FEATURES = ("sound", "price", "strings", "case")


def made_up_texts(asked, rng, strength, share, tied):
    """Texts that repeat the user's own words the more often, the stronger the model."""
    own = asked.answers.text
    kept = [" ".join(word if rng.random() < strength else "fine" for word in text.split()) for text in own]
    said = [text if row < share * len(own) else None for row, text in enumerate(kept)]
    written = Written(own, pl.Series(said, dtype=pl.String), asked.answers.feature)
    who = {"user_id": asked.requests.user.astype(str), "item_id": asked.requests.item.astype(str)}
    return pl.DataFrame({"request": np.arange(len(own), dtype=np.int32), **who, **written.columns()})


@pytest.fixture
def explained(world, asked, monkeypatch):
    """Explanations by two classics and a floor."""
    return explanations(world, asked("test", "warm-warm"), monkeypatch)


def explanations(world, ranking, monkeypatch):
    assert isinstance(ranking.answers, Answers)
    rng = np.random.default_rng(0)
    features = rng.choice(FEATURES, len(ranking))
    texts = pl.Series([f"the {feature} of this thing is {rng.choice(['good', 'bad'])} indeed" for feature in features])
    requests = replace(ranking.requests, task="explanation", item=ranking.answers.item, history=None)
    writing = replace(
        ranking,
        task="explanation",
        unit="pooled user",
        pool="pairs",
        requests=requests,
        answers=Texts(texts, pl.Series(features)),
        identity=digest("writing"),
    )
    made = world(writing)
    monkeypatch.setattr(type(made), "_counts", staticmethod(made_up_texts))
    made.add("floor", "floor", 0.2)
    made.add("better", "classic", 0.8)
    made.add("worse", "classic", 0.5, served=0.5)
    return made


def test_numbers_of_kinds_stand_without_an_interval(explained, tmp_path):
    files = write_report(explained.plan(primary="BLEU-4", metrics=METRICS), explained.store, tmp_path / "made-up")
    with files.table_csv.open(encoding="utf-8", newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if line["task"] == "explanation"]
    assert {line["metric"] for line in lines} == set(METRICS)
    for line in lines:
        assert float(line["mean"]) >= 0
        assert (line["low"] == "") == parse(line["metric"]).descriptive
    header = next(line for line in files.table_md.read_text(encoding="utf-8").splitlines() if "DISTINCT-2" in line)
    assert all(metric in header for metric in METRICS)


def test_a_single_text_has_no_diversity_and_a_table(world, asked, monkeypatch, tmp_path):
    made = explanations(world, asked("test", "warm-warm", users=1), monkeypatch)
    files = write_report(made.plan(primary="BLEU-4", metrics=METRICS), made.store, tmp_path / "made-up")
    header = next(line for line in files.table_md.read_text(encoding="utf-8").splitlines() if "DISTINCT-2" in line)
    assert "FMR" in header
    assert "DIV" not in header


def test_the_mean_is_the_metric_of_the_whole_corpus(explained, tmp_path):
    sacrebleu = pytest.importorskip("sacrebleu")
    files = write_report(explained.plan(primary="BLEU-4", metrics=METRICS), explained.store, tmp_path / "made-up")
    with files.table_csv.open(encoding="utf-8", newline="") as stream:
        reached = {line["model"]: float(line["mean"]) for line in csv.DictReader(stream) if line["metric"] == "BLEU-4"}
    test = {cell.entry.name: (cell, cell.predictions[0]) for cell in explained.cells}
    for name, (cell, prediction) in test.items():
        stored = explained.store.measurements(cell.key, prediction.key)
        texts = stored["written"].fill_null("").to_list()
        theirs = sacrebleu.corpus_bleu(texts, [stored["actual"].to_list()]).score
        assert reached[name] == pytest.approx(theirs, abs=1e-9)
