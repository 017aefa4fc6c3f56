"""Budgets, edges, lock files, and what a run does with them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from bench.cli.report import report as report_command
from bench.cli.run import run as run_command
from bench.cli.tune import tune as tune_command
from bench.errors import UsageError
from bench.models import Settings
from bench.models.presets import Dimension
from bench.runs.lock import Tuned, read_lock, write_lock
from bench.runs.run import folder_name, run
from bench.runs.suite import load_suite
from bench.tune import TuningBudget, tune, tuning_folder
from bench.tune.edges import at_edge


@pytest.mark.parametrize("text", ["20", "trials=0", "trials=2.5", "hours=0", "hours=-1", "hours=inf", "days=2", ""])
def test_a_budget_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--budget takes trials=20 or hours=2"):
        TuningBudget.parse(text)


def test_budgets() -> None:
    assert str(TuningBudget.parse(" trials = 20 ")) == "trials=20"
    assert str(TuningBudget.parse("hours=0.5")) == "hours=0.5"
    three = TuningBudget(trials=3)
    assert [bool(three.spent([9e9] * count)) for count in range(5)] == [False, False, False, True, True]
    hour = TuningBudget(hours=1)
    assert not hour.spent([])
    assert not hour.spent([1000, 1000])
    assert not hour.spent([1200, 1200])  # a third of mean length just fits
    assert hour.spent([1200, 1201]) == "budget"
    assert hour.spent([0.0] * 199) == ""
    assert hour.spent([0.0] * 200) == "200 trials"


class Edgy(Settings):
    rate: float = Field(0.1, ge=0, le=1)
    scale: float = Field(1.0, gt=0)
    layers: int = Field(2, ge=1)
    width: int = 64
    length: float | None = None
    name: str = "a"


SPACE = {
    "rate": Dimension(low=0, high=0.8, step=0.1),
    "scale": Dimension(low=1, high=100, log=True),
    "layers": Dimension(low=1, high=3, whole=True),
    "width": Dimension(choices=(16, 32, 64)),
    "length": Dimension(choices=(1, 2, 4, None)),
    "name": Dimension(choices=("a", "b", "c")),
}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"rate": 0.0}, ()),  # the model's own end
        ({"rate": 0.1}, ()),
        ({"rate": 0.8}, ("rate",)),
        ({"scale": 1.05}, ("scale",)),
        ({"scale": 2.0}, ()),  # near in differences, far in proportions
        ({"scale": 97.0}, ("scale",)),
        ({"scale": 0.001}, ("scale",)),  # beyond it: the entry's own setting
        ({"layers": 1}, ()),
        ({"layers": 3}, ("layers",)),
        ({"width": 16, "length": 4}, ("width", "length")),
        ({"width": 32, "length": None, "name": "a"}, ()),
    ],
)
def test_edges(settings: dict[str, Any], found: tuple[str, ...]) -> None:
    assert at_edge(Edgy, SPACE, settings) == found


def test_costs_of_tuning_are_short_to_read() -> None:
    def said(trials: int, hours: float) -> str:
        return str(Tuned(budget="trials=20", trials=trials, hours=hours, metric="NDCG@10", split="0"))

    assert said(20, 0.4) == "20 trials, 0.4 h"
    assert said(1, 0.00004) == "1 trial, under 0.001 h"
    assert said(200, 123.44) == "200 trials, 123.4 h"


@pytest.fixture
def lock(toys: Any, tmp_path: Path) -> Path:
    """A lock file of the toy model."""
    made = tune(toys.suite.narrowed(models=["toy"]), tmp_path / "results", TuningBudget(trials=2)).lock
    assert made is not None
    return made


def test_a_lock_file_takes_the_place_of_the_suites_settings(toys: Any, lock: Path) -> None:
    best = read_lock(lock).entries["toy"].settings
    suite = toys.suite.narrowed(tuned=lock)
    popularity, toy, plain = suite.models
    assert toy.settings == best
    assert str(toy.tuned).startswith("2 trials, ")
    assert popularity.tuned is plain.tuned is None
    # The suite beside the tables says it all: no lock file is needed to make them again.
    kept = lock.with_name("suite.yaml")
    kept.write_text(yaml.safe_dump(suite.model_dump(mode="json")))
    assert load_suite(str(kept)) == suite


def test_an_entry_without_a_lock_is_written_as_before(toys: Any) -> None:
    assert all("tuned" not in entry for entry in toys.suite.model_dump()["models"])


def test_a_lock_file_that_does_not_fit_is_refused(toys: Any, lock: Path, tmp_path: Path) -> None:
    places = {"store": tmp_path / "runs", "results": tmp_path / "results", "tuned": lock}
    with pytest.raises(UsageError, match=r"toy was tuned on split \w{12}, this run uses \w{12}"):
        run(toys.suite, changes={"split_seed": 1}, **places)
    with pytest.raises(UsageError, match=r"tuned for NDCG@10, this run selects by HR@10"):
        run(toys.suite, changes={"primary": "HR@10"}, **places)
    with pytest.raises(UsageError, match=r"toy\.x was tuned to .* --set asks for 0\.123"):
        run(toys.suite, changes={"toy.x": 0.123}, **places)
    with pytest.raises(UsageError, match="holds none of the models asked for; it holds toy"):
        run(toys.suite, models=["plain"], **places)
    with pytest.raises(UsageError, match="does not exist"):
        run(toys.suite, **{**places, "tuned": tmp_path / "no.yaml"})
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_lock_file_of_another_model_is_refused(toys: Any, lock: Path) -> None:
    found = read_lock(lock)
    entry = found.entries["toy"].model_copy(update={"model": "plain"})
    write_lock(lock, found.model_copy(update={"entries": {"toy": entry}}))
    with pytest.raises(UsageError, match="toy is the model plain, here it is toy"):
        toys.suite.narrowed(tuned=lock)


@pytest.mark.parametrize("text", ["{format: 2}", "[", "nothing", "format: 1\nentries: {toy: {settings: 3}}"])
def test_what_is_no_lock_file_is_refused(toys: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(str(path))):
        toys.suite.narrowed(tuned=path)


def test_a_lock_file_that_cannot_be_read_is_told_before_the_search(toys: Any, lock: Path, tmp_path: Path) -> None:
    lock.write_text("nothing")
    begun = len(toys.fits)
    with pytest.raises(UsageError, match="not a lock file"):
        tune(toys.suite.narrowed(models=["toy"]), tmp_path / "results", TuningBudget(trials=4))
    assert len(toys.fits) == begun


def test_journals_stand_in_one_place_whichever_models_are_tuned(tmp_path: Path) -> None:
    quick = load_suite("quick")
    assert tuning_folder(quick, tmp_path) == tmp_path / "tuning" / "quick"
    assert tuning_folder(quick.narrowed(models=["ease"], seeds=[3]), tmp_path) == tmp_path / "tuning" / "quick"
    assert tuning_folder(quick.narrowed(dataset="amazon-beauty"), tmp_path).name == "quick-amazon-beauty"
    assert tuning_folder(quick.narrowed(changes={"split_seed": 1}), tmp_path).name.startswith("quick-")


def test_the_command_line_from_tuning_to_table(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = str(toys.suite_file)
    tune_command(suite, "trials=3", models="popularity,toy")
    said = capsys.readouterr()
    assert "budget: trials=3 for every model" in said.out
    assert re.search(r"^toy +3 +<?0\.\d+ +NDCG@10 +0\.\d+ +0\.\d+ +x=", said.out, re.MULTILINE)
    assert "popularity: not tuned: nothing to tune" in said.out
    assert said.err.count("toy, trial ") == 3
    (lock,) = Path("results/tuning").glob("*/tuned.lock.yaml")
    assert f"bench run --suite {suite} --tuned {lock}" in said.out

    for tuned in (None, lock):
        run_command(suite, models="popularity,toy,twin", tuned=tuned)
        said = capsys.readouterr()
        words = " ".join(said.out.split())
        (folder,) = Path("results").glob("toybox-*/" if tuned is None else f"{_named(suite, lock)}/")
        table = (folder / "table.csv").read_text()
        if tuned is None:
            assert "Untuned, run with the settings of the suite: Toy [toy], Toy [twin]." in words
            assert "Tuned on validation" not in words
        else:
            spent = math.floor(1e9 * read_lock(lock).entries["toy"].hours) / 1e9
            assert spent < 0.001
            assert "Tuned on validation, trials=3 each: Toy [toy] (3 trials, under 0.001 h)." in words
            assert "Untuned, run with the settings of the suite: Toy [twin]." in words
            assert "tuned: 3 trials, under 0.001 h" in table
        assert table.count("untuned") == (2 if tuned is None else 1)

    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    report_command(suite, models="popularity,toy,twin", tuned=lock)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    # The suite kept beside the tables makes them again.
    again = load_suite(str(folder / "suite.yaml"))
    assert folder_name(again) == folder.name


def _named(suite: str, lock: Path) -> str:
    return folder_name(load_suite(suite).narrowed(models=["popularity", "toy", "twin"], tuned=lock))


def test_a_space_of_ones_own_goes_with_one_model(toys: Any, tmp_path: Path) -> None:
    space = tmp_path / "mine.yaml"
    space.write_text("source: me\nsearch:\n  x: {choices: [0.3, 0.6]}\n")
    with pytest.raises(UsageError, match="--space is a settings file for one model"):
        tune_command(str(toys.suite_file), "trials=3", space=space, results=tmp_path)
    tune_command(str(toys.suite_file), "trials=3", models="toy", space=space, results=tmp_path)
    assert {fit["x"] for fit in toys.fits} == {0.0, 0.3, 0.6}
