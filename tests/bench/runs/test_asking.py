"""Settings that only change how a fitted model is asked: one fit, many rows."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from bench.errors import ModelError, UsageError
from bench.models import Settings
from bench.report.audit import audit_grids
from bench.results import compare, load_results
from bench.runs import plan as planning
from bench.runs.plan import make_plan
from bench.runs.run import folder_name, report_only
from bench.runs.store import Store, read_json, write_json
from bench.runs.suite import load_suite

EACH = "{model: parrot, settings: {prompt: each}}"
PROMPTS = ["s-1", "s-2", "s-9", "s-p", "d-1", "d-9", "r-1", "r-9"]

#: Cell keys of the quick suite as they were before settings could ask, every library's version written "1". Raise a
#: model's ``version``, and its key changes by right; nothing else may change one.
PINNED = {
    "chance": "91d1baf2583a03b527259b1c9cb2face",
    "popularity": "7ce98dd87ed8ab130995efa525931470",
    "content-knn": "551320c003d9ac368bdb34c5d9cd3945",
    "itemknn": "4a52e8cbb7c1e7b058bd654749fa0e54",
    "ease": "86bf3c5d5c74f0d9e8aaf4b4cbb05436",
    "bpr": "7121099d2f5ac62f22641b3253901bf7",
    "sasrec": "26f0cb089fc0ccd4150b7b5078ebc667",
}


def test_keys_of_models_that_declare_none_are_as_before(tmp_path, monkeypatch) -> None:
    pytest.importorskip("recbole", reason="ml-100k is read from the copy in RecBole")
    monkeypatch.setattr(planning, "library_versions", lambda names: dict.fromkeys(sorted(names), "1"))
    plan = make_plan(load_suite("quick").narrowed(models=list(PINNED)), Store(tmp_path))
    assert {cell.name: cell.key for cell in plan.cells} == PINNED
    assert not any("asking" in prediction.spec for cell in plan.cells for prediction in cell.predictions)


def test_fitting_settings_have_the_defaults_of_what_only_asks(aviary: Any) -> None:
    (entry,) = aviary.suite("{model: parrot, settings: {prompt: s-9, size: 3}}").models
    settings = entry.parsed_settings()
    assert settings.fitting().model_dump() == {
        "size": 3, "breaks": "", "prompt": "plain", "width": 20, "tone": "loud",
    }  # fmt: skip
    assert settings.fitting().fitting() == settings.fitting()
    plain = Settings()
    assert plain.fitting() is plain


def test_an_entry_stands_for_the_prompts_of_the_suites_tasks(aviary: Any) -> None:
    plan = make_plan(aviary.suite(EACH, tasks="sequential, rating"), aviary.store)
    assert [entry.name for entry in plan.entries] == [f"parrot {name}" for name in PROMPTS if name[0] in "sr"]
    assert [cell.asking["prompt"] for cell in plan.cells] == [name for name in PROMPTS if name[0] in "sr"]
    assert len({cell.key for cell in plan.cells}) == 1
    # Each prompt answers the requests of its own task, validation and test.
    for cell in plan.cells:
        task = {"s": "sequential", "r": "rating"}[cell.asking["prompt"][0]]
        assert {tuple(one.name.split("/")[:2]) for one in cell.predictions} == {("test", task)}
    keys = [one.key for cell in plan.cells for one in cell.predictions]
    assert len(set(keys)) == len(keys)
    assert plan.suite.models[0].settings == {"prompt": "each"}


def test_what_is_learned_makes_another_key(aviary: Any) -> None:
    kinds = ["", "prompt: s-1", "width: 50", "size: 1", "size: 2"]
    entries = [f"{{name: '{place}', model: parrot, settings: {{{kind}}}}}" for place, kind in enumerate(kinds)]
    cells = make_plan(aviary.suite(", ".join(entries)), aviary.store).cells
    assert len({cell.key for cell in cells[:4]}) == 1
    assert cells[4].key != cells[0].key
    keys = [[one.key for one in cell.predictions] for cell in cells]
    assert keys[0] == keys[3]  # a setting at its default is no other setting
    assert not set(keys[0]) & {*keys[1], *keys[2], *keys[4]}


@pytest.mark.parametrize(("jobs", "tasks"), [(1, "sequential"), (3, "sequential, direct, rating")])
def test_one_fit_is_made_and_every_prompt_asks_it(aviary: Any, jobs: int, tasks: str) -> None:
    wide = "{name: wide, model: parrot, settings: {width: 50}}"
    outcome = aviary.run(aviary.suite(f"{EACH}, {wide}", tasks), side_by_side=jobs)
    outcome.raise_failures()
    kinds = {"s": "sequential", "d": "direct", "r": "rating"}
    prompts = {name: kinds[name[0]] for name in PROMPTS if kinds[name[0]] in tasks}
    assert outcome.ran == len(prompts) + 1
    (fit,) = aviary.fits
    assert fit["settings"] == {"size": 1, "breaks": "", "prompt": "plain", "width": 20, "tone": "loud"}
    # Validation during the fit asks with the defaults, whoever fits; then everyone asks in their own way.
    validated = [one for one in aviary.asked if one["prompt"] == "plain" and one["width"] == 20]
    assert {one["pid"] for one in validated} == {fit["pid"]}
    assert validated[0] == aviary.asked[0]
    asked = {(one["prompt"], one["width"], one["task"]) for one in aviary.asked if one not in validated}
    assert asked == {
        *((name, 20, task) for name, task in prompts.items()),
        *(("plain", 50, task) for task in prompts.values()),
    }
    (key,) = {cell.key for cell in outcome.plan.cells}
    assert read_json(aviary.store.cell(key) / "fit.json")["label"] == "Parrot 1"
    assert read_json(aviary.store.cell(key) / "spec.json")["settings"]["prompt"] == "plain"
    assert not list((aviary.store.root / "unfinished").iterdir())


def test_another_prompt_later_needs_no_other_fit(aviary: Any) -> None:
    one = aviary.run(aviary.suite("popularity, {model: parrot, settings: {prompt: s-1}}"))
    blocks = len(aviary.asked)
    more = "{name: other, model: parrot, settings: {prompt: s-9}}"
    both = aviary.run(aviary.suite(f"popularity, {{model: parrot, settings: {{prompt: s-1}}}}, {more}"))
    assert (one.ran, both.ran, len(aviary.fits)) == (2, 1, 1)
    assert {block["prompt"] for block in aviary.asked[blocks:]} == {"s-9"}


def test_a_setting_that_cannot_change_a_task_asks_nothing_anew(aviary: Any) -> None:
    soft = "{name: soft, model: parrot, settings: {tone: soft}}"
    first = aviary.run(aviary.suite(f"popularity, {soft}"))
    blocks = len(aviary.asked)
    both = aviary.run(aviary.suite(f"popularity, {soft}, parrot"))
    assert (first.ran, both.ran, len(aviary.fits)) == (2, 1, 1)
    assert {(block["tone"], block["task"]) for block in aviary.asked[blocks:]} == {("loud", "rating")}
    _, quiet, parrot = both.plan.cells
    assert (quiet.asking["tone"], parrot.asking["tone"]) == ("soft", "loud")
    for one, other in zip(quiet.predictions, parrot.predictions, strict=True):
        rated = "rating" in one.name
        assert (one.key != other.key) == rated
        # Whoever asked first, what is shared is called by what it depends on.
        about = read_json(aviary.store.prediction(quiet.key, one.key) / "about.json")
        assert about == {"name": "soft", "label": "Parrot 1, soft" if rated else "Parrot 1"}


def test_a_fit_that_fails_is_tried_once_for_all_its_rows(aviary: Any) -> None:
    outcome = aviary.run(
        aviary.suite("popularity, {model: parrot, settings: {prompt: each, breaks: fit}}", "sequential")
    )
    assert set(outcome.failed) == {f"parrot {name}" for name in PROMPTS[:4]}
    assert len(aviary.fits) == 1
    (attempt,) = set(outcome.failed.values())
    assert "it flew away" in (attempt / "traceback.txt").read_text()
    with pytest.raises(ModelError, match=r"parrot s-1, parrot s-2.* failed; the traceback") as error:
        outcome.raise_failures()
    assert str(error.value).count("failed") == 1
    said = (outcome.folder / "table.md").read_text()
    assert "Failed: parrot s-1 and 3 more rows of its fit: RuntimeError: it flew away" in said


def test_a_fit_that_lacks_something_says_so_for_all_its_rows(aviary: Any) -> None:
    outcome = aviary.run(aviary.suite("popularity, {model: parrot, settings: {prompt: each, breaks: lacks}}", "direct"))
    assert not outcome.failed
    assert set(outcome.missing) == {"parrot d-1", "parrot d-9"}
    assert set(outcome.missing.values()) == {"it lacks a perch"}


@pytest.mark.parametrize("broken", ["d-1", "d-9"])
def test_a_prompt_that_fails_takes_no_other_with_it(aviary: Any, broken: str) -> None:
    entry = f"{{model: parrot, settings: {{prompt: each, breaks: {broken}}}}}"
    outcome = aviary.run(aviary.suite(f"popularity, {entry}", "direct"))
    assert set(outcome.failed) == {f"parrot {broken}"}
    assert len(aviary.fits) == 1
    assert all(cell.done for cell in outcome.plan.cells if cell.name != f"parrot {broken}")


def test_the_report_of_a_run_with_prompts(aviary: Any) -> None:
    outcome = aviary.run(aviary.suite(f"popularity, {EACH}"))
    said = (outcome.folder / "table.md").read_text()
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| Parrot")]
    # Two main tables (ranking, rating) with one row of the fit each, and a table a task with the prompt's name.
    assert rows == ["Parrot 1", "Parrot 1", "Parrot 1, prompt s-1", "Parrot 1, prompt d-1", "Parrot 1, prompt r-1"]
    with (outcome.folder / "prompts.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    worst = {(line["task"], line["group"], line["words"]): line for line in lines if line["line"] == "group"}
    rated = {line["prompt"]: float(line["mean"]) for line in lines if line["task"] == "rating" and line["prompt"]}
    assert rated["r-9"] > rated["r-1"]
    # Where lower is better, the worst prompt is the highest, and unseen ones that do worse make a negative gap.
    assert worst["rating", "unseen", "all"]["worst_prompt"] == "r-9"
    assert float(worst["rating", "unseen", "all"]["gap"]) == pytest.approx(rated["r-1"] - rated["r-9"], rel=1e-9)
    assert worst["sequential", "unseen", "all"]["worst_prompt"] == "s-p"
    assert float(worst["sequential", "unseen", "all"]["gap"]) > 0
    assert worst["sequential", "unseen", "trained"]["prompts"] == "1"
    assert "polly" in (outcome.folder / "prompts.md").read_text()
    assert set(json.loads((outcome.folder / "manifest.json").read_text())["files"]) >= {"prompts.md", "prompts.csv"}
    again = report_only(outcome.plan.suite, aviary.store, aviary.place / "again")
    for name in ("prompts.md", "prompts.csv", "table.md"):
        assert (again.folder / name).read_bytes() == (outcome.folder / name).read_bytes(), name
    kept = load_suite(str(outcome.folder / "suite.yaml"))
    assert kept == outcome.plan.suite
    assert folder_name(kept) == outcome.folder.name
    assert aviary.run(kept).ran == 0
    assert len(aviary.fits) == 1
    results = load_results(aviary.store.root, metrics=["NDCG@10", "RMSE"])
    assert set(results[results.model == "parrot r-9"]["asking"]) == {"prompt=r-9"}
    found = compare("parrot s-1", "parrot s-p", store=aviary.store.root)
    assert found.difference == pytest.approx(float(rows_of(lines, "s-1")) - float(rows_of(lines, "s-p")), rel=1e-9)


def rows_of(lines: list[dict[str, str]], prompt: str) -> str:
    return next(line["mean"] for line in lines if line["prompt"] == prompt)


def test_names_that_meet_and_variants_that_part_are_refused(aviary: Any) -> None:
    with pytest.raises(UsageError, match="two rows of suite parrots are named 'parrot s-1'"):
        make_plan(aviary.suite(f"{EACH}, {{name: parrot s-1, model: popularity}}"), aviary.store)
    with pytest.raises(UsageError, match="parrot stands for nothing: it can ask for none of click"):
        aviary.suite(EACH).models[0].variants(["click"])
    with pytest.raises(ModelError, match=r"torn: variants of Torn.expand differ in more.*\(prompt, tone, width\)"):
        make_plan(aviary.suite("torn"), aviary.store)


def test_cells_say_how_they_ask_and_others_do_not(aviary: Any) -> None:
    outcome = aviary.run(aviary.suite("popularity, {model: parrot, settings: {prompt: s-9}}"))
    plain, asking = outcome.plan.cells
    assert plain.asking == {}
    folder = aviary.store.prediction(asking.key, asking.predictions[0].key)
    assert read_json(folder / "spec.json")["asking"] == {"prompt": "s-9", "width": 20, "tone": "loud"}
    assert read_json(folder / "about.json") == {"label": "Parrot 1, prompt s-9", "name": "parrot"}
    assert not (aviary.store.prediction(plain.key, plain.predictions[0].key) / "about.json").exists()


def test_an_index_is_probed_once_however_many_ask_its_fit(aviary: Any) -> None:
    suite = aviary.suite(EACH, "sequential")
    folder = aviary.store.cell(aviary.run(suite).plan.cells[0].key)
    fit = read_json(folder / "fit.json")
    write_json(folder / "fit.json", {**fit, "notes": {**fit["notes"], "item_index": {"kind": "sequential"}}})
    write_json(folder / "model" / "items.json", {"codes": {f"{item:02d}": item for item in range(20)}})
    probe = audit_grids(make_plan(suite, aviary.store), aviary.store)[0]
    named = [row[0].text for block in probe.blocks for row in block.rows]
    assert named[3:] == ["Parrot 1: its own index"]
