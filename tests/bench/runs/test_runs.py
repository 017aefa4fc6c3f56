"""Whole runs on a tiny dataset, through the same door as the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.errors import ModelError
from bench.runs.plan import make_plan
from bench.runs.run import Outcome, report_only, run
from bench.runs.store import Store, read_json
from bench.runs.suite import Suite, load_suite

RNG = np.random.default_rng(5)
ROWS = [
    (f"u{u}", f"i{i}", 3.0, int(time))
    for u in range(40)
    for time, i in enumerate(RNG.choice(30, size=12, replace=False))
]
ITEMS = [(f"i{i}", f"Film {i}", ("red", "blue", "green")[i % 3]) for i in range(30)]


@pytest.fixture
def tiny(make_card: Callable[..., Path], tmp_path: Path) -> Suite:
    path = tmp_path / "tiny-suite.yaml"
    path.write_text(
        "{name: tiny, description: x, protocol: {name: cold-start, test_users: 0.2, test_items: 0.2},"
        " tasks: [sequential],"
        f" dataset: '{make_card(ROWS, ITEMS)}', metrics: [HR@5, NDCG@10], primary: NDCG@10,"
        " models: [popularity, category-popularity, chance]}"
    )
    return load_suite(str(path))


@pytest.fixture
def go(tmp_path: Path) -> Callable[..., Outcome]:
    def start(suite: Suite, **options: object) -> Outcome:
        return run(suite, store=tmp_path / "runs", results=tmp_path / "results", **options)  # type: ignore[arg-type]

    return start


def test_a_second_run_trains_nothing_and_changes_nothing(tiny: Suite, go: Callable[..., Outcome]) -> None:
    first = go(tiny)
    assert first.ran == 3
    assert not first.failed
    tables = {path.name: path.read_bytes() for path in first.folder.iterdir() if path.is_file()}
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = go(tiny)
    assert second.ran == 0
    assert {path: path.stat().st_mtime_ns for path in second.folder.iterdir()} == stamps
    # Only one deleted cell is run again, and the quality tables come out byte for byte.
    store = Store(Path(first.folder).parents[1] / "runs")
    shutil.rmtree(store.cell(first.plan.cells[0].key))
    third = go(tiny)
    assert third.ran == 1
    for name in ("table.md", "table.tex", "table.csv"):
        assert (third.folder / name).read_bytes() == tables[name]


def test_a_deleted_prediction_is_made_again_from_the_stored_model(tiny: Suite, go: Callable[..., Outcome]) -> None:
    first = go(tiny, models=["category-popularity"])
    store = Store(first.folder.parents[1] / "runs")
    cell = first.plan.cells[0]
    fitted = (store.cell(cell.key) / "fit.json").stat().st_mtime_ns
    before = store.measurements(cell.key, cell.predictions[0].key)
    shutil.rmtree(store.prediction(cell.key, cell.predictions[0].key))
    assert go(tiny, models=["category-popularity"]).ran == 1
    assert (store.cell(cell.key) / "fit.json").stat().st_mtime_ns == fitted
    assert store.measurements(cell.key, cell.predictions[0].key).equals(before)


def test_what_is_stored(tiny: Suite, go: Callable[..., Outcome]) -> None:
    outcome = go(tiny, models=["popularity"])
    store = Store(outcome.folder.parents[1] / "runs")
    cell = outcome.plan.cells[0]
    folder = store.cell(cell.key)
    spec, provenance = read_json(folder / "spec.json"), read_json(folder / "provenance.json")
    assert spec["split"] == outcome.plan.split.identity
    assert provenance["wall_s"] >= 0
    assert provenance["peak_memory_mib"] > 1
    assert provenance["packages"]["numpy"] == np.__version__
    assert read_json(folder / "about.json")["name"] == "popularity"
    for prediction in cell.predictions:
        asked = outcome.plan.set_named(prediction.name)
        table = store.measurements(cell.key, prediction.key)
        assert table["request"].to_list() == list(range(len(asked)))
        served = table["served"].to_numpy()
        assert served.any() != asked.quadrant.endswith("-cold")
        lists = pl.read_parquet(store.prediction(cell.key, prediction.key) / "lists.parquet")
        assert lists.group_by("request").agg(pl.col("item_id").n_unique() == pl.len())["item_id"].all()
    assert not list(store.root.glob(".writing-*"))


def test_one_fit_serves_every_request_set(tiny: Suite, go: Callable[..., Outcome]) -> None:
    cell = go(tiny, models=["chance"]).plan.cells[0]
    assert len(cell.predictions) == len({prediction.key for prediction in cell.predictions}) == 30


def test_keys_follow_everything_that_can_change_a_number(tiny: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")

    def key(suite: Suite, device: str = "cpu") -> str:
        return make_plan(suite.narrowed(models=["chance"]), store, device=device).cells[0].key

    keys = [
        key(tiny),
        key(tiny.narrowed(seeds=[1])),
        key(tiny.narrowed(changes={"split_seed": 1})),
        key(tiny.narrowed(changes={"protocol.test_users": 0.3})),
        key(tiny.narrowed(changes={"primary": "HR@5"})),
        key(tiny, device="cuda"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(tiny) == keys[0]


def test_changed_data_is_never_served_from_the_store(
    tiny: Suite, go: Callable[..., Outcome], make_card: Callable[..., Path]
) -> None:
    first = go(tiny, models=["popularity"]).plan.cells[0]
    make_card([*ROWS[:-1], (*ROWS[-1][:3], 99)], ITEMS)
    again = go(tiny, models=["popularity"])
    assert again.ran == 1
    assert again.plan.cells[0].key != first.key


def test_unstored_models_are_named_in_a_report(tiny: Suite, go: Callable[..., Outcome], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing of suite tiny is stored"):
        report_only(tiny, Store(tmp_path / "runs"), tmp_path / "results")
    go(tiny, models=["popularity"])
    outcome = report_only(tiny, Store(tmp_path / "runs"), tmp_path / "results")
    assert set(outcome.missing) == {"category-popularity", "chance"}
    assert "not all of it is stored yet" in (outcome.folder / "table.md").read_text()


def test_a_model_that_lacks_its_input_is_named_not_crashed(
    make_card: Callable[..., Path], tiny: Suite, go: Callable[..., Outcome]
) -> None:
    without_text = tiny.narrowed(
        dataset=str(make_card(ROWS, name="bare")), models=["popularity", "category-popularity"]
    )
    outcome = go(without_text)
    assert not outcome.failed
    assert "categor" in outcome.missing["category-popularity"]
    assert "categor" in (outcome.folder / "table.md").read_text()
    outcome.raise_failures()
    with pytest.raises(ModelError, match="was not run"):
        go(without_text, models=["popularity", "category-popularity"]).raise_failures()


def test_relative_paths_mean_the_same_in_every_process(
    make_card: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, from two folders with other data under the same names: the fork server outlives the first."""
    learned = []
    for name, rows in (("one", ROWS), ("two", ROWS[:240])):
        here = tmp_path / name
        here.mkdir()
        card = make_card(rows)
        for file in (card, card.with_suffix(".inter")):
            shutil.copy(file, here / file.name)
        monkeypatch.delenv("BENCH_DATA_DIR")
        monkeypatch.chdir(here)
        suite = load_suite("quick").narrowed(dataset=card.name, models=["popularity"])
        card.unlink()
        outcome = run(suite, store="runs", results="results")
        assert not outcome.failed
        learned.append(outcome.plan.cells[0].key)
        assert outcome.plan.cells[0].done
    assert len(set(learned)) == 2
