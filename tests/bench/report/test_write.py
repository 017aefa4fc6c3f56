"""What a report says about a store whose numbers are made up."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from statsmodels.stats.multitest import multipletests

from bench.report import is_current, print_summary, write_report
from bench.runs.store import read_json, write_json
from bench.runs.suite import Suite

ISSUE_COLUMNS = [
    "suite", "dataset", "split", "task", "quadrant", "shots", "pool", "model", "metric", "mean", "low", "high", "p",
    "p_holm", "effect", "units", "coverage", "seeds", "converged",
]  # fmt: skip


def lines_of(files, **wanted):
    with files.table_csv.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def tables_of(files):
    """Tables of the Markdown: title -> (header, rows, notes); marks and bold are left in."""
    found = {}
    for part in re.split(r"^#+ ", files.table_md.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, *rest = part.splitlines()
        grid = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rest if line.startswith("|")]
        rows = {row[0]: dict(zip(grid[0], row, strict=True)) for row in grid[2:]}
        found[title] = (grid[0], rows, [line for line in rest if line.startswith("- ")])
    return found


@pytest.fixture
def usual(world, asked):
    """Leave-one-out: a floor, three classics and a language model."""
    made = world(asked("test", "warm-warm"))
    made.add("popularity", "floor", 1.5)
    # Best on test, but not on validation: must not become the reference.
    made.add("lucky", "classic", {"valid": 1.2, "test": 6.0})
    made.add("steady", "classic", {"valid": 4.0, "test": 3.0})
    made.add("weak", "classic", 1.1)
    made.add("llm", "llm", 2.0, converged=False)
    return made


def test_equal_stores_give_equal_bytes(usual, tmp_path):
    plan = usual.plan()
    one, other = (write_report(plan, usual.store, tmp_path / place / "made-up") for place in ("one", "other"))
    for path in [*one.described, one.manifest]:
        assert path.read_bytes() == (other.manifest.parent / path.name).read_bytes(), path.name


def test_csv_holds_the_columns_in_order_and_every_metric(usual, tmp_path):
    files = write_report(usual.plan(), usual.store, tmp_path / "out")
    header = files.table_csv.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert header[: len(ISSUE_COLUMNS)] == ISSUE_COLUMNS
    lines = lines_of(files)
    assert len(lines) == 5 * 9
    assert {line["suite"] for line in lines} == {"made-up"}
    assert all(line["p"] == line["effect"] == "" for line in lines if line["metric"] != "NDCG@10")


def test_means_follow_from_the_stored_counts(usual, tmp_path):
    plan = usual.plan()
    files = write_report(plan, usual.store, tmp_path / "out")
    cell = plan.cells[1]
    counts = usual.store.measurements(cell.key, cell.predictions[0].key)
    rank = counts["above"].to_numpy() + 1
    by_hand = {"HR@5": rank <= 5, "MRR@10": (rank <= 10) / rank, "NDCG@10": (rank <= 10) / np.log2(rank + 1)}
    for metric, values in by_hand.items():
        (line,) = lines_of(files, model="lucky", metric=metric)
        assert float(line["mean"]) == pytest.approx(values.mean(), rel=1e-12)
        assert float(line["low"]) < float(line["mean"]) < float(line["high"])


def test_reference_is_best_on_validation_and_best_on_test_is_bold(usual, tmp_path):
    files = write_report(usual.plan(), usual.store, tmp_path / "out")
    assert {line["reference"] for line in lines_of(files, metric="NDCG@10")} == {"steady"}
    (_, rows, notes) = list(tables_of(files).values())[1]
    assert rows["steady"]["NDCG@10"].endswith("ʳ")
    assert rows["steady"]["Difference"] == "reference"
    assert rows["lucky"]["NDCG@10"].startswith("**")
    assert sum(row["NDCG@10"].startswith("**") for row in rows.values()) == 1
    assert any("steady, the best classic model by NDCG@10 on validation" in note for note in notes)


def test_holm_counts_the_comparisons_that_are_printed(usual, tmp_path):
    files = write_report(usual.plan(), usual.store, tmp_path / "out")
    tested = [line for line in lines_of(files, metric="NDCG@10") if line["p"]]
    assert len(tested) == 4
    expected = multipletests([float(line["p"]) for line in tested], method="holm")[1]
    assert [float(line["p_holm"]) for line in tested] == pytest.approx(list(expected), rel=1e-12)
    said = files.table_md.read_text(encoding="utf-8")
    assert "Holm for the 4 comparisons of this table" in said
    seen = sorted(float(line["smallest_detectable"]) for line in tested)
    assert f"A true difference of {seen[0]:.4f} to {seen[-1]:.4f}" in said


def test_marks_follow_the_corrected_p_and_the_direction(usual, tmp_path):
    files = write_report(usual.plan(), usual.store, tmp_path / "out")
    (_, rows, _) = next(iter(tables_of(files).values()))
    marks = set()
    for line in lines_of(files, metric="NDCG@10"):
        mark = re.sub(r"[\d.*]", "", next(reversed(rows[line["label"]].values())))
        if line["p_holm"]:
            better = "⁺" if float(line["difference"]) > 0 else "⁻"
            assert mark == (better if float(line["p_holm"]) < 0.05 else "")
            marks.add(mark)
    assert {"⁺", "⁻"} <= marks


def test_smoke_trained_models_stand_apart(usual, tmp_path):
    before = write_report(usual.plan(), usual.store, tmp_path / "before")
    usual.add("smoke", "llm", 60.0, block="smoke-trained")
    files = write_report(usual.plan(), usual.store, tmp_path / "after")
    (header, rows, _) = list(tables_of(files).values())[1]
    assert list(rows)[-2:] == ["*smoke-trained*", "smoke"]
    assert float(rows["smoke"]["NDCG@10"]) > float(rows["lucky"]["NDCG@10"].strip("*⁺"))  # best, and neither bold ...
    assert rows["lucky"]["NDCG@10"].startswith("**")
    assert rows["smoke"]["p (Holm)"] == "-"  # ... nor tested
    others = [line for line in lines_of(files) if line["model"] != "smoke"]
    assert others == lines_of(before)
    assert header == list(tables_of(before).values())[1][0]


def test_a_model_that_serves_nothing_has_no_numbers(world, asked, tmp_path):
    warm, cold = asked("test", "warm-warm"), asked("test", "warm-cold", pool="cold")
    made = world(warm, cold)
    nothing = {one.name: 0.0 for one in made.sets if one.quadrant == "warm-cold"}
    made.add("chance", "floor", 1.0)
    made.add("ids", "classic", 5.0, served=nothing)
    made.add("text", "classic", 2.0)
    made.add("llm", "llm", 2.2, served={cold.name: 0.4})
    files = write_report(made.plan(), made.store, tmp_path / "out")
    (line,) = lines_of(files, model="ids", quadrant="warm-cold", metric="NDCG@10")
    assert (line["mean"], line["low"], line["p"], line["coverage"]) == ("", "", "", "0.0")
    tables = tables_of(files)
    main, detail = (tables[list(tables)[place]] for place in (0, 2))
    assert main[1]["ids"]["cold item"] == "- [0%]"
    assert main[1]["llm"]["cold item"].endswith("[40%]")
    (rows, notes) = detail[1:]
    assert (rows["ids"]["NDCG@10"], rows["ids"]["p (Holm)"], rows["ids"]["Coverage"]) == ("-", "-", "0%")
    assert any("for the 2 comparisons" in note for note in notes)
    assert any("users and items jointly: 60 users x" in note for note in notes)
    assert any("counted as misses: llm 40%" in note for note in notes)


def test_floors_are_no_reference(world, asked, tmp_path):
    made = world(asked("test", "cold-warm", shots=0))
    made.add("popularity", "floor", 3.0)
    made.add("ids", "classic", 5.0, served=0.0)
    made.add("llm", "llm", 1.5)
    files = write_report(made.plan(), made.store, tmp_path / "out")
    assert not any(line["p"] or line["reference"] for line in lines_of(files))
    (header, _, notes) = list(tables_of(files).values())[1]
    assert "p (Holm)" not in header
    assert any("no classic model serves this set, so nothing is tested" in note for note in notes)


def test_notes_say_what_a_reader_must_know(usual, tmp_path):
    kept = tmp_path / "attempt"
    kept.mkdir()
    (kept / "traceback.txt").write_text("Traceback ...\nRuntimeError: out of luck\n", encoding="utf-8")
    usual.add("broken", "llm", 1.0)
    usual.add("absent", "llm", 1.0)
    plan = usual.plan()
    for cell in plan.cells[-2:]:
        (usual.store.cell(cell.key) / "fit.json").unlink()
    files = write_report(
        plan, usual.store, tmp_path / "out", failed={"broken": kept}, missing={"absent": "needs | titles"}
    )
    for _, rows, notes in tables_of(files).values():
        said = "\n".join(notes)
        assert "Split 000000000000" in said
        assert "Tie order unknown." in said
        assert "Untuned" in said
        assert "llm (ended by budget)" in said
        assert "Failed: broken: RuntimeError: out of luck" in said
        assert r"Not run: absent: needs \| titles" in said
        assert not {"broken", "absent"} & set(rows)
    (_, rows, _) = list(tables_of(files).values())[1]
    assert rows["llm"]["Converged"] == "no (budget)"


def test_ties_get_a_column_where_they_matter(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"))
    made.add("plain", "classic", 3.0)
    title, column = 1, "NDCG@10, ties expected"
    without = write_report(made.plan(), made.store, tmp_path / "without")
    assert column not in list(tables_of(without).values())[title][0]
    made.add("tied", "classic", 3.0, tied=4)
    rows = list(tables_of(write_report(made.plan(), made.store, tmp_path / "with")).values())[title][1]
    assert float(rows["tied"][column]) > float(rows["tied"]["NDCG@10"].strip("*ʳ⁺⁻"))
    assert rows["plain"][column] == rows["plain"]["NDCG@10"].strip("*ʳ⁺⁻")


def test_seeds_are_averaged_and_their_spread_is_printed(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), seeds=(0, 1, 2))
    made.add("a", "classic", 3.0)
    made.add("b", "llm", 2.0)
    plan = made.plan()
    files = write_report(plan, made.store, tmp_path / "out")
    hits = [made.store.measurements(cell.key, cell.predictions[0].key)["above"].to_numpy() < 5 for cell in plan.cells]
    (line,) = lines_of(files, model="a", metric="HR@5")
    assert float(line["mean"]) == pytest.approx(np.mean(hits[:3]), rel=1e-12)
    assert float(line["seed_spread"]) == pytest.approx(np.std([hit.mean() for hit in hits[:3]], ddof=1), rel=1e-12)
    (made.store.cell(plan.cells[5].key) / "fit.json").unlink()
    rows = list(tables_of(write_report(plan, made.store, tmp_path / "two")).values())[1][1]
    assert re.fullmatch(r"3 \(sd 0\.\d{4}\)", rows["a"]["Seeds"])
    assert re.fullmatch(r"2 of 3 \(sd 0\.\d{4}\)", rows["b"]["Seeds"])


def test_equal_labels_are_told_apart_and_columns_have_no_task_twice(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), asked("test", "warm-warm", task="direct"))
    made.add("first", "classic", 3.0, label="SASRec")
    made.add("second", "classic", 2.0, label="SASRec", predicted=lambda one: one.task == "sequential")
    (header, rows, _) = next(iter(tables_of(write_report(made.plan(), made.store, tmp_path / "out")).values()))
    assert header == ["Model", "sequential", "direct"]
    assert list(rows) == ["SASRec [first]", "SASRec [second]"]
    assert rows["SASRec [second]"]["direct"] == ""


def test_latex_is_well_formed_whatever_labels_hold(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), asked("test", "warm-cold", pool="cold"))
    made.add("a", "classic", 3.0, label=r"50% & {co_st} ~$5 #1 \ ^2")
    made.add("b", "llm", 2.0, label="[b] <c|d>")
    text = write_report(made.plan(), made.store, tmp_path / "out").table_tex.read_text(encoding="utf-8")
    assert r"50\% \& \{co\_st\} \textasciitilde{}\$5 \#1 \textbackslash{} \textasciicircum{}2" in text
    for name in ("table", "tabular", "minipage"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 3
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    tabulars = re.findall(r"\\begin\{tabular\}\{(lr*)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL)
    assert len(tabulars) == 3
    for tabular in tabulars:
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert len(rows) == 3
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(tabular[0])}


def test_figure_is_a_picture_of_curves_and_points(world, asked, tmp_path):
    made = world(asked("test", "warm-warm"), *(asked("test", "cold-warm", shots=k) for k in (0, 1, 3)))
    made.add("a", "classic", 3.0, label="First of them")
    made.add("b", "llm", 2.0, served={one.name: 0.0 for one in made.sets if one.shots == 0})
    files = write_report(made.plan(), made.store, tmp_path / "out")
    root = ElementTree.fromstring(files.figure_svg.read_bytes())
    assert root.tag.endswith("svg")
    assert "<dc:date>" not in files.figure_svg.read_text(encoding="utf-8")
    from matplotlib.image import imread

    pixels = imread(files.figure_png)
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_costs_keep_out_of_the_tables(usual, tmp_path):
    plan = usual.plan()
    before = write_report(plan, usual.store, tmp_path / "one")
    provenance = usual.store.cell(plan.cells[0].key) / "provenance.json"
    write_json(provenance, {**read_json(provenance), "wall_s": 77.5})
    after = write_report(plan, usual.store, tmp_path / "two")
    assert "77.5" in after.costs_csv.read_text(encoding="utf-8")
    assert "77.5" in after.costs_md.read_text(encoding="utf-8")
    for name in ("table_md", "table_tex", "table_csv", "figure_svg"):
        assert getattr(before, name).read_bytes() == getattr(after, name).read_bytes()


def test_manifest_says_what_made_the_report(usual, tmp_path):
    plan = usual.plan()
    files = write_report(plan, usual.store, tmp_path / "made-up")
    manifest = json.loads(files.manifest.read_text(encoding="utf-8"))
    assert manifest["command"] == "bench run --suite results/made-up/suite.yaml"
    assert [cell["cell"] for cell in manifest["cells"]] == [cell.key for cell in plan.cells]
    assert manifest["cells"][0]["predictions"] == {one.name: one.key for one in plan.cells[0].predictions}
    assert manifest["split"]["identity"] == plan.split.identity
    assert set(manifest["files"]) == {path.name for path in files.manifest.parent.iterdir()} - {"manifest.json"}


def test_the_suite_beside_the_tables_is_the_one_that_ran(usual, tmp_path):
    plan = usual.plan()
    files = write_report(plan, usual.store, tmp_path / "out")
    assert Suite.model_validate(yaml.safe_load(files.suite_yaml.read_text(encoding="utf-8"))) == plan.suite


def test_a_report_is_current_until_something_changes(usual, tmp_path):
    plan, folder = usual.plan(), tmp_path / "out"
    assert not is_current(plan, usual.store, folder)
    files = write_report(plan, usual.store, folder)
    assert is_current(plan, usual.store, folder)
    assert not is_current(plan, usual.store, folder, failed={"llm": "broke"})
    assert not is_current(plan, usual.store, folder, missing={"llm": "no titles"})
    assert not is_current(usual.plan(primary="HR@10"), usual.store, folder)
    for path in files.described:
        kept = path.read_bytes()
        path.write_bytes(kept + b"\n")
        assert not is_current(plan, usual.store, folder), path.name
        path.unlink()
        assert not is_current(plan, usual.store, folder), path.name
        path.write_bytes(kept)
    assert is_current(plan, usual.store, folder)
    usual.add("another", "llm", 1.0)
    assert not is_current(usual.plan(), usual.store, folder)
    provenance = usual.store.cell(plan.cells[0].key) / "provenance.json"
    write_json(provenance, {**read_json(provenance), "wall_s": 77.5})
    assert not is_current(plan, usual.store, folder)
    files.manifest.write_text("{}", encoding="utf-8")
    assert not is_current(plan, usual.store, folder)


def test_looking_whether_a_report_is_current_imports_no_statistics():
    slow = "scipy", "statsmodels", "matplotlib", "pandas"
    code = f"import sys, bench.report; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_summary_is_the_first_table(usual, tmp_path, capsys):
    files = write_report(usual.plan(), usual.store, tmp_path / "out")
    print_summary(files.manifest.parent)
    shown = capsys.readouterr().out
    assert shown.startswith("made-up: NDCG@10 on made-up")
    (_, rows, _) = next(iter(tables_of(files).values()))
    for label, row in rows.items():
        value = next(reversed(row.values()))
        assert re.search(rf"^{label} +{re.escape(value.replace('**', '*', 1).replace('**', ''))}$", shown, re.MULTILINE)
    assert "|" not in shown
    assert "Tie order unknown." in shown


def test_a_run_in_which_everything_failed_still_says_so(world, asked, tmp_path, capsys):
    made = world(asked("test", "warm-warm"), *(asked("test", "cold-warm", shots=k) for k in (0, 1)))
    made.add("a", "classic", 3.0)
    plan = made.plan()
    (made.store.cell(plan.cells[0].key) / "fit.json").unlink()
    files = write_report(plan, made.store, tmp_path / "out", failed={"a": "no luck"})
    assert lines_of(files) == []
    print_summary(tmp_path / "out")
    assert "Failed: a: no luck" in capsys.readouterr().out
