"""Published figures beside those of a run whose numbers are made up."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data.ragged import Ragged
from bench.report import collect, is_current, sources, write_report
from bench.report.costs import COLUMNS as COSTS
from bench.runs.store import read_json, write_json

SIDES = {"popularity": "floor", "sasrec": "classic", "sasrec-recbole": "classic", "ease": "classic", "p5": "llm"}


@pytest.fixture
def named(monkeypatch):
    """Let the entries of a world be of real entry points: their names are those of the entries, up to a space."""
    monkeypatch.setattr(collect, "model_class", lambda name: SimpleNamespace(side=SIDES[name]))

    def rename(made):
        made.entries[:] = [entry.model_copy(update={"model": entry.name.split(" ")[0]}) for entry in made.entries]
        entries = {entry.name: entry for entry in made.entries}
        made.cells[:] = [replace(cell, entry=entries[cell.entry.name]) for cell in made.cells]
        return made

    return rename


@pytest.fixture
def beauty(world, asked, named):
    made = world(asked("test", "warm-warm"), dataset="amazon-beauty")
    made.add("popularity", "floor", 1.5, label="Popularity")
    made.add("ease", "classic", 3.0, label="EASE")
    made.add("sasrec", "classic", 4.0, label="Our SASRec")
    made.add("p5", "llm", 1.0, label="Our P5", block="smoke-trained")
    return named(made)


def written(files):
    with files.paper_csv.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def grids_of(files):
    """Tables of the Markdown: title -> list of rows, headings of blocks among them."""
    found = {}
    for part in re.split(r"^#+ ", files.paper_md.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, *rest = part.splitlines()
        grid = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rest if line.startswith("|")]
        if grid:
            found[title] = [dict(zip(grid[0], row, strict=True)) for row in grid[2:]]
    return found


def test_paper_and_ours_stand_side_by_side(beauty, tmp_path):
    files = write_report(beauty.plan(), beauty.store, tmp_path / "out")
    glance, apart = grids_of(files).values()
    (row,) = [row for row in glance if row["Model"] == "SASRec" and row["Source"] == "S3-Rec"]
    counts = beauty.store.measurements(beauty.cells[2].key, beauty.cells[2].predictions[0].key)
    ours = float((counts["above"].to_numpy() < 5).mean())
    assert (row["Run here as"], row["HR@5: paper"], row["HR@5: ours"]) == ("Our SASRec", "0.0387", f"{ours:.4f}")
    (line,) = [
        line
        for line in written(files)
        if (line["published_as"], line["source"], line["metric"]) == ("SASRec", "S3-Rec", "HR@5")
    ]
    assert float(line["paper"]) == 0.0387
    assert float(line["ours"]) == pytest.approx(ours, rel=1e-12)
    assert float(line["difference"]) == pytest.approx(ours - 0.0387, rel=1e-9)
    assert float(line["low"]) < ours < float(line["high"])
    place = [row["Model"] for row in apart].index("*NDCG@5*")
    (row,) = [row for row in apart[:place] if row["Model"] == "SASRec" and row["Source"] == "S3-Rec"]
    assert row["Ours - paper"] == f"{ours - 0.0387:+.4f}"
    assert row["Ours: 95%"] == f"[{float(line['low']):.4f}, {float(line['high']):.4f}]"


def test_what_one_side_lacks_is_a_dash(beauty, tmp_path):
    files = write_report(beauty.plan(), beauty.store, tmp_path / "out")
    glance, apart = grids_of(files).values()
    models = [row["Model"] for row in glance]
    assert models[0] == "*Run here*"
    before = models[: models.index("*Not run here*")]
    assert before[1:3] == ["Popularity, file order", "EASE"]  # in the order of the suite
    ease, caser = glance[models.index("EASE")], glance[models.index("Caser")]
    assert (ease["Source"], ease["HR@5: paper"]) == ("-", "-")
    assert float(ease["HR@5: ours"]) > 0
    assert (caser["Run here as"], caser["HR@5: paper"], caser["HR@5: ours"]) == ("-", "0.0205", "-")
    assert "Caser" in models[len(before) :]
    assert not {"EASE", "Caser"} & {row["Model"] for row in apart}
    assert {row["HR@5: paper"] for row in glance if row["Model"] == "SASRec, CE (RecBole 1290)"} == {"-"}


def test_what_was_hardly_trained_says_so(beauty, tmp_path):
    glance = next(iter(grids_of(write_report(beauty.plan(), beauty.store, tmp_path / "out")).values()))
    assert {row["Run here as"] for row in glance if row["Source"] == "P5"} == {"Our P5 (smoke-trained)"}


def test_two_of_ours_stand_beside_one_figure(world, asked, named, tmp_path):
    made = world(asked("test", "warm-warm"), dataset="amazon-toys")
    made.add("sasrec", "classic", 3.0)
    made.add("sasrec wide", "classic", 4.0)
    made.add("sasrec-recbole", "classic", 2.0, served=0.0)
    glance = next(iter(grids_of(write_report(named(made).plan(), made.store, tmp_path / "out")).values()))
    rows = [row for row in glance if (row["Model"], row["Source"]) == ("SASRec", "S3-Rec")]
    assert [row["Run here as"] for row in rows] == ["sasrec", "sasrec wide", "sasrec-recbole"]
    assert {row["HR@5: paper"] for row in rows} == {"0.0463"}
    assert rows[2]["HR@5: ours"] == "-"  # run, and served nothing


def test_sources_and_command_are_named(beauty, tmp_path):
    said = write_report(beauty.plan(), beauty.store, tmp_path / "made-up").paper_md.read_text(encoding="utf-8")
    assert "Ours was made by: bench run --suite results/made-up/suite.yaml" in said
    assert "S3-Rec, sequential: Zhou et al., S3-Rec (CIKM 2020)" in said[said.index("## Sources") :]
    assert "binary cross-entropy with one negative" in said
    assert "held-out events included" in said  # of P5's numbers
    assert "repeated user-business pair" not in said  # of another data set


def test_only_metrics_of_both_sides_stand(beauty, tmp_path):
    plan = beauty.plan(metrics=("HR@1", "NDCG@10", "MRR@10"))
    files = write_report(plan, beauty.store, tmp_path / "out")
    assert {line["metric"] for line in written(files)} == {"NDCG@10"}
    nothing = beauty.plan(metrics=("HR@1", "MRR@10"), primary="MRR@10")
    files = write_report(nothing, beauty.store, tmp_path / "out")
    assert not any(path.exists() for path in files.paper)  # those of before are gone


@pytest.mark.parametrize("dataset", ["ml-100k", "amazon-beauty-2", "amazon-beauty-raw"])
def test_where_nothing_matches_nothing_is_written(world, asked, named, tmp_path, dataset):
    shown = asked("test", "warm-warm", task="direct" if dataset.endswith("raw") else "sequential")
    made = world(shown, asked("test", "cold-warm", shots=1), dataset=dataset)
    made.add("sasrec", "classic", 3.0)
    files = write_report(named(made).plan(), made.store, tmp_path / "out")
    assert not any(path.exists() for path in files.paper)
    assert "paper" not in files.table_md.read_text(encoding="utf-8")
    assert not any("paper" in name for name in json.loads(files.manifest.read_text(encoding="utf-8"))["files"])


@pytest.mark.parametrize(("negatives", "found"), [(99, True), (49, False)])
def test_a_draw_is_comparable_with_a_draw_of_its_size(world, asked, named, tmp_path, negatives, found):
    whole = asked("test", "warm-warm", task="direct", pool="sampled")
    draws = Ragged.from_lengths(
        np.full(len(whole), negatives + 1), np.tile(np.arange(negatives + 1, dtype=np.int32), len(whole))
    )
    made = world(replace(whole, requests=replace(whole.requests, candidates=draws)), dataset="amazon-sports")
    made.add("p5", "llm", 2.0)
    files = write_report(named(made).plan(), made.store, tmp_path / "out")
    assert files.paper_md.is_file() == found
    if found:
        lines = [line for line in written(files) if line["metric"] == "HR@1" and line["published_as"] == "SimpleX"]
        assert [(line["paper"], line["ours"]) for line in lines] == [("0.0331", "")]


def test_equal_stores_give_equal_bytes_and_the_manifest_describes_them(beauty, tmp_path):
    plan = beauty.plan()
    one, other = (write_report(plan, beauty.store, tmp_path / place / "made-up") for place in ("one", "other"))
    described = json.loads(one.manifest.read_text(encoding="utf-8"))["files"]
    for mine, yours in zip(one.paper, other.paper, strict=True):
        assert mine.read_bytes() == yours.read_bytes()
        assert mine.name in described
    assert "[paper.md](paper.md)" in one.table_md.read_text(encoding="utf-8")


def test_another_published_figure_makes_a_report_old(beauty, tmp_path, monkeypatch):
    plan, folder = beauty.plan(), tmp_path / "out"
    write_report(plan, beauty.store, folder)
    assert is_current(plan, beauty.store, folder)
    published = sources.published_for
    monkeypatch.setattr(sources, "published_for", lambda **asked: published(**asked)[1:])
    assert not is_current(plan, beauty.store, folder)


def test_latex_has_as_many_columns_as_its_rows(beauty, tmp_path):
    text = write_report(beauty.plan(), beauty.store, tmp_path / "out").paper_tex.read_text(encoding="utf-8")
    tabulars = re.findall(r"\\begin\{tabular\}\{(lr*)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL)
    assert [len(columns) for columns, _ in tabulars] == [11, 7]
    for columns, body in tabulars:
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    for name in ("table", "tabular", "minipage"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 2
    assert r"\label{tab:made-up-paper-1}" in text
    assert text.count(r"\begin{itemize}") == text.count(r"\end{itemize}") == 1
    assert text.count(r"\item ") == 7  # sources of Beauty's next items
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


def test_costs_of_every_model_stand_in_seconds_memory_and_parameters(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), seeds=(0, 1))
    made.add("a", "classic", 3.0, label="A")
    plan = made.plan()
    for cell in plan.cells:
        path = made.store.cell(cell.key) / "provenance.json"
        write_json(path, {**read_json(path), "wall_s": 10.0 + 20 * cell.seed, "threads": "1"})
    files = write_report(plan, made.store, tmp_path / "out")
    header, _, row = [line for line in files.costs_md.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    told = {
        name.strip(): value.strip() for name, value in zip(header.split("|")[1:-1], row.split("|")[1:-1], strict=True)
    }
    assert told == {
        "Model": "A",
        "Fit, s": "20.0",  # mean of 10 and 30
        "Fit, CPU s": "2.5",
        "Predict, s": "3.0",  # two sets of 1.5 a seed
        "Predict, CPU s": "5.0",
        "Predict, s per 1,000 requests": "25.00",  # 1.5 for 60
        "Peak memory, MiB": "300",
        "Parameters trained": "10",
        "Parameters in total": "20",
        "Steps": "5",
        "Ended by": "early stopping",
        "Device": "cpu",
        "Threads": "-, 1",
    }
    with files.costs_csv.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert tuple(lines[0]) == COSTS
    assert {line["threads"] for line in lines if line["stage"] == "fit"} == {"1"}


def test_costs_tell_how_long_the_original_schedule_would_take_here(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"))
    original = {"epochs": 10, "hours": {"small": 6.7, "base": 24.3}, "machine": "four cards", "dataset": "Shoes"}
    cost = {"targets_per_second": 1234.5, "hours_of_original_schedule": 99.26, "targets": 7, "original": original}
    made.add("a", "llm", 3.0, label="A", notes={"cost": cost})
    made.add("b", "classic", 3.0, label="B")
    files = write_report(made.plan(), made.store, tmp_path / "out")
    told = files.costs_md.read_text(encoding="utf-8")
    assert (
        "A: 1,234 targets a second. The original's schedule would take this network 99.3 h here; the original's" in told
    )
    assert "own, 10 passes: small 6.7 h, base 24.3 h on four cards (Shoes)." in told
    with files.costs_csv.open(encoding="utf-8", newline="") as stream:
        fits = {line["label"]: line for line in csv.DictReader(stream) if line["stage"] == "fit"}
    assert fits["A"]["hours_of_original_schedule"] == "99.26"
    assert fits["B"]["original_schedule"] == ""
