"""The report on prompts: one fit, asked with prompts that it was trained with and with others."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.multitest import multipletests

from bench.errors import ModelError, UsageError
from bench.report import is_current, write_report
from bench.results import compare, load_results
from bench.runs.store import read_json, write_json

STRENGTH = {
    "2-1": 6.0,
    "2-2": 5.0,
    "2-3": 4.0,
    "2-13": 3.0,
    "2-p1": 5.0,
    "2-p2": 2.0,
    "2-p3": 1.5,
    "5-1": 4.0,
    "5-8": 2.0,
}
GROUPS = {"2-13": "held-out", "2-p1": "word", "2-p2": "word", "2-p3": "register", "5-8": "held-out"}
UNTRAINED = {"2-p2": ["kindly", "forthwith"], "2-p3": ["dude"]}


def note(prompt: str) -> dict[str, Any]:
    task = "sequential" if prompt.startswith("2") else "direct"
    of = "2-1" if "p" in prompt else None
    return {
        "task": task,
        "group": GROUPS.get(prompt, "seen"),
        "of": of,
        "untrained_words": UNTRAINED.get(prompt, []),
    }


NOTES = {prompt: note(prompt) for prompt in STRENGTH}


def ask(made: Any, prompts: Any = STRENGTH, notes: Any = NOTES, **rest: Any) -> None:
    for prompt in prompts:
        task = notes[prompt]["task"] if prompt in notes else "sequential"
        made.add(
            f"p5 {prompt}",
            "llm",
            STRENGTH.get(prompt, 3.0),
            label=f"P5, prompt {prompt}",
            fit="P5 (T5-scratch 4 M)",
            asking={"prompt": prompt, "beams": 20},
            notes={"prompts": notes},
            predicted=lambda one, task=task: one.task == task,
            **rest,
        )


@pytest.fixture
def made(world, asked):
    made = world(asked("test", "warm-warm"), asked("test", "warm-warm", task="direct"))
    made.add("knn", "classic", 3.0, label="Item kNN")
    ask(made)
    return made


def lines_of(path: Path, **wanted: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if all(row[name] == value for name, value in wanted.items())]


def grid(text: str, heading: str) -> list[list[str]]:
    part = text[text.index(heading) :]
    table = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[0].splitlines()]


def ndcg(made: Any, prompt: str) -> np.ndarray[Any, Any]:
    cell = next(cell for cell in made.plan().cells if cell.entry.name == f"p5 {prompt}")
    prediction = next(one for one in cell.predictions if one.name.startswith("test/"))
    rank = made.store.measurements(cell.key, prediction.key)["above"].to_numpy() + 1
    return np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0)


def test_every_prompt_has_its_value_and_its_untrained_words(made, tmp_path):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    lines = {line["prompt"]: line for line in lines_of(files.prompts_csv, line="prompt")}
    assert list(lines) == list(STRENGTH)
    for prompt, line in lines.items():
        assert float(line["mean"]) == pytest.approx(ndcg(made, prompt).mean(), rel=1e-12)
        assert float(line["low"]) < float(line["mean"]) < float(line["high"])
        assert line["group"] == GROUPS.get(prompt, "seen")
        assert line["untrained_words"] == " ".join(sorted(UNTRAINED.get(prompt, [])))
    rows = grid(files.prompts_md.read_text(encoding="utf-8"), "sequential, ranking the 200 items: prompt by prompt")
    by_prompt = {row[0]: row for row in rows[2:]}
    assert list(by_prompt) == [prompt for prompt in STRENGTH if prompt.startswith("2")]
    assert by_prompt["2-p2"][-1] == "forthwith, kindly"
    assert by_prompt["2-p2"][2] == "2-1"
    assert by_prompt["2-1"][3] == f"{ndcg(made, '2-1').mean():.4f}"


def test_groups_have_mean_spread_and_worst(made, tmp_path):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    groups = {
        (line["words"], line["group"]): line for line in lines_of(files.prompts_csv, line="group", task="sequential")
    }
    seen = [ndcg(made, prompt).mean() for prompt in ("2-1", "2-2", "2-3")]
    line = groups["all", "seen"]
    assert float(line["mean"]) == pytest.approx(np.mean(seen), rel=1e-12)
    assert float(line["sd"]) == pytest.approx(np.std(seen, ddof=1), rel=1e-9)
    assert float(line["worst"]) == min(seen)
    assert (line["worst_prompt"], line["prompts"], line["gap"]) == ("2-3", "3", "")
    assert groups["all", "word"]["prompts"] == "2"
    assert groups["trained", "word"]["prompts"] == "1"
    assert groups["trained", "word"]["sd"] == ""
    assert ("trained", "register") not in groups
    assert ("all", "structure") not in groups
    assert groups["all", "unseen"]["prompts"] == "4"
    assert groups["trained", "unseen"]["prompts"] == "2"


def test_the_gap_is_paired_and_tested_over_users(made, tmp_path):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    seen = np.mean([ndcg(made, prompt) for prompt in ("2-1", "2-2", "2-3")], axis=0)
    for words, prompts in {"all": ("2-13", "2-p1", "2-p2", "2-p3"), "trained": ("2-13", "2-p1")}.items():
        apart = seen - np.mean([ndcg(made, prompt) for prompt in prompts], axis=0)
        (line,) = lines_of(files.prompts_csv, task="sequential", group="unseen", words=words)
        assert float(line["gap"]) == pytest.approx(apart.mean(), rel=1e-12)
        assert float(line["gap_low"]) < apart.mean() < float(line["gap_high"])
        # A paired interval is about as wide as the standard error of the differences says.
        width = 2 * 2.0 * apart.std(ddof=1) / np.sqrt(len(apart))
        assert float(line["gap_high"]) - float(line["gap_low"]) == pytest.approx(width, rel=0.15)
        again = permutation_test(
            (apart,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            n_resamples=9_999,
            vectorized=True,
            rng=np.random.default_rng(0),
        )
        assert float(line["p"]) == pytest.approx(again.pvalue, abs=0.02)


def test_holm_counts_the_gaps_of_the_whole_page(made, tmp_path):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    tested = [line for line in lines_of(files.prompts_csv) if line["p"]]
    # Two ways of counting for next items; for direct requests every word was trained, and one is enough.
    assert [(line["task"], line["words"]) for line in tested] == [
        ("sequential", "all"),
        ("sequential", "trained"),
        ("direct", "all"),
    ]
    expected = multipletests([float(line["p"]) for line in tested], method="holm")[1]
    assert [float(line["p_holm"]) for line in tested] == pytest.approx(list(expected), rel=1e-12)
    said = files.prompts_md.read_text(encoding="utf-8")
    assert "corrected by Holm for the 3 gaps of this table" in said
    assert "A model trained from scratch has no embedding for a word that it never saw" in said
    assert "Split 000000000000" in said
    overview = grid(said, "# made-up: seen and unseen prompts on made-up")
    assert [row[3] for row in overview[2:]] == ["all", "all words trained", "all"]
    assert [row[6] for row in overview[2:]] == ["3 / 4", "3 / 2", "1 / 1"]


def test_the_main_tables_have_one_row_for_all_prompts(made, tmp_path):
    files = write_report(made.plan(), made.store, tmp_path / "out")
    said = files.table_md.read_text(encoding="utf-8")
    main = grid(said, "# made-up: NDCG@10")
    assert [row[0] for row in main[2:]] == ["Item kNN", "P5 (T5-scratch 4 M)"]
    assert f"{ndcg(made, '2-1').mean():.4f}" in main[3][1]
    assert f"{ndcg(made, '5-1').mean():.4f}" in main[3][2]
    assert "sequential: 2-1, seen; direct: 5-1, seen" in said
    assert "[prompts.md](prompts.md)" in said
    assert {line["model"] for line in lines_of(files.table_csv)} == {"knn", "p5 2-1", "p5 5-1"}
    # One comparison each, whatever the number of prompts: they are not what a table corrects for.
    assert said.count("Holm for the 1 comparison of this table") == 2
    costs = grid(files.costs_md.read_text(encoding="utf-8"), "# made-up: costs")
    assert [row[0] for row in costs[2:]] == ["Item kNN", "P5 (T5-scratch 4 M)"]
    assert costs[3][1] == "1.5"
    assert costs[3][3] == f"{1.5 * 2 * len(STRENGTH):.1f}"
    assert len([line for line in lines_of(files.costs_csv) if line["stage"] == "fit"]) == 2


def test_the_page_is_part_of_the_report(made, tmp_path):
    plan, folder = made.plan(), tmp_path / "out"
    files = write_report(plan, made.store, folder)
    listed = json.loads(files.manifest.read_text(encoding="utf-8"))["files"]
    assert {"prompts.md", "prompts.csv"} <= set(listed)
    assert is_current(plan, made.store, folder)
    files.prompts_md.unlink()
    assert not is_current(plan, made.store, folder)
    again = write_report(plan, made.store, tmp_path / "again")
    for path in write_report(plan, made.store, folder).prompts:
        assert path.read_bytes() == (again.manifest.parent / path.name).read_bytes()


def test_without_several_prompts_of_a_task_there_is_no_page(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), asked("test", "warm-warm", task="direct"))
    made.add("knn", "classic", 3.0)
    ask(made, ["2-1", "5-1"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prompts.md").write_text("of an earlier report")
    files = write_report(made.plan(), made.store, tmp_path / "out")
    assert not files.prompts_md.exists()
    main = grid(files.table_md.read_text(encoding="utf-8"), "# made-up: NDCG@10")
    assert [row[0] for row in main[2:]] == ["knn", "P5, prompt 2-1", "P5, prompt 5-1"]


def test_a_fit_that_knows_of_no_prompts_has_a_row_an_entry(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"))
    made.add("knn", "classic", 3.0)
    ask(made, ["2-1", "2-2"], notes={})
    files = write_report(made.plan(), made.store, tmp_path / "out")
    assert not files.prompts_md.exists()
    main = grid(files.table_md.read_text(encoding="utf-8"), "# made-up: NDCG@10")
    assert [row[0] for row in main[2:]] == ["knn", "P5, prompt 2-1", "P5, prompt 2-2"]


def test_prompts_that_the_data_cannot_fill_are_left_out(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"))
    known = {name: note(name) for name in STRENGTH if name != "2-3"}
    ask(made, ["2-2"], notes=known, served=0.0)
    ask(made, ["2-1", "2-13"], notes=known)
    ask(made, ["2-3"], notes=known, served=0.0)  # its fit does not even know it
    files = write_report(made.plan(), made.store, tmp_path / "out")
    assert [line["prompt"] for line in lines_of(files.prompts_csv, line="prompt")] == ["2-1", "2-13"]
    (seen,) = lines_of(files.prompts_csv, line="group", group="seen")
    assert (seen["prompts"], float(seen["mean"])) == ("1", pytest.approx(ndcg(made, "2-1").mean()))
    assert "Left out, for they show what this data lacks: 2-2, 2-3." in files.prompts_md.read_text(encoding="utf-8")
    main = grid(files.table_md.read_text(encoding="utf-8"), "# made-up: NDCG@10")
    assert [row[0] for row in main[2:]] == ["P5 (T5-scratch 4 M)"]
    assert f"{ndcg(made, '2-1').mean():.4f}" in main[2][1]


def test_equal_answers_have_no_gap(world, asked, tmp_path):
    """Sums in another order must not become a difference that is tested."""
    made = world(asked("test", "warm-warm"))
    ask(made, ["2-1", "2-2", "2-3", "2-13", "2-p1"])
    cells = made.plan().cells
    first = made.store.prediction(cells[0].key, cells[0].predictions[0].key) / "measurements.parquet"
    for cell in cells[1:]:
        for prediction in cell.predictions:
            shutil.copy(first, made.store.prediction(cell.key, prediction.key) / "measurements.parquet")
    files = write_report(made.plan(), made.store, tmp_path / "out")
    (line,) = lines_of(files.prompts_csv, group="unseen", words="all")
    assert (float(line["gap"]), float(line["p"])) == (0.0, 1.0)


def test_seeds_are_paired_and_a_word_must_be_trained_under_all_of_them(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), seeds=(0, 1, 2))
    ask(made)
    plan = made.plan()
    fit = made.store.cell(plan.cells[1].key) / "fit.json"
    raw = read_json(fit)
    raw["notes"]["prompts"]["2-p1"]["untrained_words"] = ["perchance"]
    write_json(fit, raw)
    files = write_report(plan, made.store, tmp_path / "out")
    (line,) = lines_of(files.prompts_csv, line="prompt", prompt="2-p1")
    assert (line["untrained_words"], line["seeds"]) == ("perchance", "3")
    (gap,) = lines_of(files.prompts_csv, group="unseen", words="trained")
    assert gap["prompts"] == "1"
    assert "and training seeds" in files.prompts_md.read_text(encoding="utf-8")


def test_seeds_that_some_prompt_was_not_asked_under_are_left_out(world, asked, tmp_path):
    """An interrupted run: what is compared in pairs must have been asked of the same fits."""
    made = world(asked("test", "warm-warm"), seeds=(0, 1))
    ask(made, ["2-1", "2-2", "2-13"])
    plan = made.plan()
    first = next(cell for cell in plan.cells if cell.entry.name == "p5 2-13" and cell.seed == 0)
    shutil.rmtree(made.store.prediction(first.key, first.predictions[0].key))
    files = write_report(plan, made.store, tmp_path / "out")
    reached = {}
    for prompt in ("2-1", "2-2", "2-13"):
        cell = next(cell for cell in plan.cells if cell.entry.name == f"p5 {prompt}" and cell.seed == 1)
        rank = made.store.measurements(cell.key, cell.predictions[0].key)["above"].to_numpy() + 1
        reached[prompt] = np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0).mean()
    lines = {line["prompt"]: line for line in lines_of(files.prompts_csv, line="prompt")}
    assert {prompt: float(line["mean"]) for prompt, line in lines.items()} == pytest.approx(reached)
    assert {line["seeds"] for line in lines.values()} == {"1"}
    (gap,) = lines_of(files.prompts_csv, group="unseen", words="all")
    expected = (reached["2-1"] + reached["2-2"]) / 2 - reached["2-13"]
    assert float(gap["gap"]) == pytest.approx(expected)


def test_prompts_that_are_described_wrongly_are_named(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"))
    ask(made, ["2-1", "2-2"], notes={**NOTES, "2-2": {"task": "sequential", "group": "sean"}})
    with pytest.raises(ModelError, match=r"P5, prompt 2-2: notes.*'2-2'.*group"):
        write_report(made.plan(), made.store, tmp_path / "out")


def test_absent_variants_of_one_fit_share_a_line(made, tmp_path):
    plan = made.plan()
    shutil.rmtree(made.store.cell(plan.cells[1].key))
    failed = {cell.name: "no luck" for cell in plan.cells[1:]}
    said = write_report(plan, made.store, tmp_path / "out", failed=failed).table_md.read_text(encoding="utf-8")
    assert "Failed: p5 2-1 and 8 more rows of its fit: no luck" in said
    assert "p5 2-2" not in said


def test_stored_results_say_how_a_fit_was_asked(made):
    frame = load_results(made.store.root, metrics=["NDCG@10"]).query("part == 'test'")
    asked = frame[frame.model.str.startswith("p5")].set_index("asking")
    assert set(asked.index) == {f"beams=20, prompt={prompt}" for prompt in STRENGTH}
    assert asked.loc["beams=20, prompt=2-3", "label"] == "P5, prompt 2-3"
    assert asked["cell"].nunique() == 1
    assert set(frame[frame.model == "knn"]["asking"]) == {""}
    for prompt in ("2-1", "2-13"):
        assert asked.loc[f"beams=20, prompt={prompt}", "mean"] == pytest.approx(ndcg(made, prompt).mean(), rel=1e-12)


def test_variants_can_be_compared_by_name_and_by_key(made):
    root = made.store.root
    found = compare("p5 2-1", "p5 2-p3", store=root)
    assert found.difference == pytest.approx((ndcg(made, "2-1") - ndcg(made, "2-p3")).mean(), rel=1e-12)
    cell = next(cell for cell in made.plan().cells if cell.entry.name == "p5 2-1")
    key = next(one.key for one in cell.predictions if one.name == "test/sequential/warm-warm/all")
    assert compare(key[:8], "P5, prompt 2-p3", store=root).difference == found.difference
    with pytest.raises(UsageError, match=rf"several variants.*{key[:8]} \(P5, prompt 2-1, beams=20, prompt=2-1"):
        compare(cell.key[:8], "knn", on="test/sequential/warm-warm/all", store=root)
