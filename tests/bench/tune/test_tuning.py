"""Whole searches on a tiny dataset, trials in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from bench.errors import MissingInputError, ModelError, UsageError
from bench.runs.lock import read_lock
from bench.runs.plan import make_plan
from bench.runs.store import Store
from bench.tune import News, TuneOutcome, TuningBudget, tune, tuning_folder


def trials(count: int) -> TuningBudget:
    return TuningBudget(trials=count)


def searched(toys: Any) -> list[float]:
    return [fit["x"] for fit in toys.fits]


def test_every_model_gets_the_same_trials_and_starts_with_its_own_settings(toys: Any, tmp_path: Path) -> None:
    news: list[News] = []
    outcome = tune(
        toys.suite.narrowed(models=["popularity", "toy", "twin", "plain"]), tmp_path, trials(3), listener=news.append
    )
    assert {name: model.locked.trials for name, model in outcome.tuned.items()} == {"toy": 3, "twin": 3}
    assert {name: why.reason for name, why in outcome.skipped.items()} == dict.fromkeys(
        ("popularity", "plain"), "nothing to tune"
    )
    assert searched(toys)[0] == searched(toys)[3] == 0.0  # the default comes first
    assert len(set(searched(toys)[:3])) == 3
    for name, model in outcome.tuned.items():
        values = [one.tried.value for one in news if one.model == name and one.tried is not None]
        assert model.locked.default == values[0]
        assert model.locked.value == max(values) >= values[0]
        assert 0 < model.locked.hours < 0.1
    locked = outcome.tuned["toy"].locked
    assert min(searched(toys), key=lambda x: abs(x - 0.7)) == locked.settings["x"]
    assert outcome.lock is not None
    assert read_lock(outcome.lock).entries == {name: model.locked for name, model in outcome.tuned.items()}


@pytest.mark.slow
def test_shipped_models_and_spaces(toys: Any, tmp_path: Path) -> None:
    outcome = tune(toys.suite.narrowed(models=["content-knn", "itemknn"]), tmp_path, trials(2))
    assert [model.locked.trials for model in outcome.tuned.values()] == [2, 2]
    assert not any(model.locked.failed for model in outcome.tuned.values())
    assert all(model.locked.value >= (model.locked.default or 0) for model in outcome.tuned.values())


def test_the_test_part_is_never_asked(toys: Any, tmp_path: Path) -> None:
    tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(2))
    # Six events a user: validation shows four before the fifth, the test would show five.
    assert {tuple(lengths) for lengths in toys.asked} == {(4,)}


def test_a_larger_budget_goes_on_and_a_smaller_one_counts_less(toys: Any, tmp_path: Path) -> None:
    suite = toys.suite.narrowed(models=["toy"])
    whole = tune(suite, tmp_path / "whole", trials(4))
    assert len(toys.fits) == 4
    first = tune(suite, tmp_path / "parts", trials(2))
    second = tune(suite, tmp_path / "parts", trials(4))
    assert len(toys.fits) == 8
    assert searched(toys)[4:] == searched(toys)[:4]
    assert second.tuned["toy"].locked.settings == whole.tuned["toy"].locked.settings
    again = tune(suite, tmp_path / "parts", trials(2))
    assert len(toys.fits) == 8
    assert again.tuned["toy"].locked == first.tuned["toy"].locked


def test_another_seed_searches_elsewhere(toys: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(3), seed=seed)
    zero, one = searched(toys)[:3], searched(toys)[3:]
    assert zero[0] == one[0]
    assert not set(zero[1:]) & set(one[1:])


def test_a_killed_search_goes_on_as_if_it_had_not_been(toys: Any, tmp_path: Path) -> None:
    tune(toys.suite.narrowed(models=["toy"]), tmp_path / "whole", trials(4))
    undisturbed = searched(toys)
    (toys.package / "fits.jsonl").unlink()

    (toys.package / "block").write_text("3")
    words = ["tune", "--suite", str(toys.suite_file), "--models", "toy", "--budget", "trials=4"]
    program = [sys.executable, "-c", "from bench.cli import main; main()", *words, "--results", str(tmp_path / "cut")]
    environment = {**os.environ, "PYTHONPATH": str(toys.site)}
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not (toys.package / "blocked").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (toys.package / "block").unlink()
    kept = Path(toys.fits[2]["kept"])
    assert kept.is_file()
    (kept.parents[1] / "seconds").write_text("7200.0")
    (journal,) = (tmp_path / "cut" / "tuning").glob("*/toy.journal")
    with journal.open("ab") as stream:
        stream.write(b'{"op_code":8,"wor')  # a line that was being written
    journal.with_name("toy.journal.lock").symlink_to("toy.journal")

    outcome = tune(toys.suite.narrowed(models=["toy"]), tmp_path / "cut", trials(4))
    begun = searched(toys)
    assert begun == [*undisturbed[:3], *undisturbed[2:]]  # the third began twice, and counted once
    assert outcome.tuned["toy"].locked.trials == 4
    assert not outcome.tuned["toy"].locked.failed
    # It went on from what it had kept, and the hours before count; of ended trials nothing is kept.
    assert [fit["begun"] for fit in toys.fits] == [0, 0, 0, 1, 0]
    assert toys.fits[3]["kept"] == str(kept)
    assert 2 < outcome.tuned["toy"].locked.hours < 2.1
    assert not list((journal.parent / "unfinished").iterdir())


def test_where_lower_is_better_the_lowest_is_best(toys: Any, tmp_path: Path) -> None:
    news: list[News] = []
    changes = {"tasks": ["rating"], "metrics": ["RMSE"], "primary": "RMSE"}
    suite = toys.suite.narrowed(models=["popularity", "means"], changes=changes)
    outcome = tune(suite, tmp_path, trials(3), listener=news.append)
    values = [one.value for one in news if one.value is not None]
    locked = outcome.tuned["means"].locked
    assert (locked.metric, locked.default, locked.value) == ("RMSE", values[0], min(values))
    assert min(values) > 0
    assert "does none of the suite's tasks" in outcome.skipped["popularity"].reason


def test_failed_trials_are_told_and_do_not_end_the_search(toys: Any, tmp_path: Path) -> None:
    news: list[News] = []
    suite = toys.suite.narrowed(models=["toy"], changes={"toy.crash_above": 0.5})
    outcome = tune(suite, tmp_path, trials(5), listener=news.append)
    ends = [one.tried for one in news if one.tried is not None]
    crashed = [one for one in ends if one.value is None]
    assert 0 < len(crashed) < 5
    assert all("too much" in one.reason and one.settings["x"] > 0.5 for one in crashed)
    locked = outcome.tuned["toy"].locked
    assert (locked.trials, locked.failed) == (5, len(crashed))
    assert locked.settings["x"] <= 0.5
    assert len(list(tuning_folder(suite, tmp_path).glob("attempts/*/traceback.txt"))) == len(crashed)
    assert len({fit["kept"] for fit in toys.fits}) == 5
    assert not list(tuning_folder(suite, tmp_path).glob("unfinished/*"))


def test_a_model_that_always_fails_is_an_error_but_the_others_are_locked(toys: Any, tmp_path: Path) -> None:
    suite = toys.suite.narrowed(models=["toy", "twin", "needy"], changes={"toy.crash_above": -1})
    outcome = tune(suite, tmp_path, trials(2))
    assert list(outcome.tuned) == ["twin"]
    assert outcome.skipped["needy"].reason == "it needs what nobody has"
    with pytest.raises(ModelError, match=r"toy was not tuned: all 2 trials failed.*too much") as error:
        outcome.raise_failures()
    assert "needy" not in str(error.value)


def test_settings_are_fitted_once(toys: Any, tmp_path: Path) -> None:
    toys.space("toy", "source: x\nsearch:\n  x: {choices: [0, 0.5]}\n  mode: {choices: [plain, fancy]}\n")
    outcome = tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(30))
    locked = outcome.tuned["toy"].locked
    assert (locked.trials, locked.ended) == (4, "all settings tried")
    assert len({(fit["x"], fit["mode"]) for fit in toys.fits}) == len(toys.fits) == 4
    assert locked.settings["x"] == 0.5


def test_hours_count_fitting_and_the_first_trial_is_always_made(toys: Any, tmp_path: Path) -> None:
    suite, news = toys.suite.narrowed(models=["toy"], changes={"toy.pause_s": 0.1}), list[News]()
    assert tune(suite, tmp_path, TuningBudget(hours=1e-9), listener=news.append).tuned["toy"].locked.trials == 1
    budget_s = 0.5
    locked = tune(suite, tmp_path, TuningBudget(hours=budget_s / 3600), listener=news.append).tuned["toy"].locked
    spent = [one.tried.seconds for one in news if one.tried is not None]
    assert locked.trials == len(spent) <= 5
    assert locked.hours == pytest.approx(sum(spent) / 3600, abs=1e-7)
    assert min(spent) >= 0.1
    assert sum(spent) * (1 + 1 / len(spent)) > budget_s  # another one was not to be expected to fit


def test_what_the_suite_sets_is_kept(toys: Any, tmp_path: Path) -> None:
    toys.space("toy", "source: x\nsearch:\n  x: {low: 0.0, high: 1.0}\n  n: {low: 1, high: 9}\n")
    outcome = tune(toys.suite.narrowed(models=["toy"], changes={"toy.n": 5}), tmp_path, trials(3))
    assert {fit["n"] for fit in toys.fits} == {5}
    assert outcome.tuned["toy"].kept == ("n",)
    assert set(outcome.tuned["toy"].locked.settings) == {"x"}
    all_set = tune(toys.suite.narrowed(models=["toy"], changes={"toy.n": 5, "toy.x": 0.1}), tmp_path, trials(3))
    assert "the suite sets all there is to tune (x, n)" in all_set.skipped["toy"].reason


def test_own_settings_outside_the_ranges_come_first_all_the_same(toys: Any, tmp_path: Path) -> None:
    toys.space("toy", "source: x\nsearch:\n  x: {low: 0.1, high: 0.3, log: true}\n  n: {choices: [5, 6, 7]}\n")
    outcome = tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(3))
    assert (toys.fits[0]["x"], toys.fits[0]["n"]) == (0.0, 3)
    assert all(0.1 <= fit["x"] <= 0.3 and fit["n"] in (5, 6, 7) for fit in toys.fits[1:])
    assert outcome.tuned["toy"].locked.trials == 3


def test_a_setting_is_searched_only_where_it_matters(toys: Any, tmp_path: Path) -> None:
    toys.space(
        "toy",
        "source: x\nsearch:\n  mode: {choices: [plain, fancy]}\n"
        "  x: {low: 0.1, high: 1.0, when: {mode: fancy}}\n  n: {low: 1, high: 9, when: {extra: 1}}\n",
    )
    tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(6))
    assert {fit["n"] for fit in toys.fits} == {3}
    for fit in toys.fits:
        assert (fit["mode"] == "fancy") == (fit["x"] >= 0.1)
    assert sum(fit["mode"] == "plain" for fit in toys.fits) == 1


def test_models_of_one_suite_share_a_lock_file_if_they_share_a_budget(toys: Any, tmp_path: Path) -> None:
    def go(model: str, count: int) -> TuneOutcome:
        return tune(toys.suite.narrowed(models=[model]), tmp_path, trials(count))

    go("toy", 2)
    both = go("twin", 2)
    assert both.lock is not None
    assert set(read_lock(both.lock).entries) == {"toy", "twin"}
    other = go("twin", 1)
    assert set(read_lock(both.lock).entries) == {"twin"}
    assert other.dropped == ("toy",)


def test_two_searches_do_not_share_a_journal(toys: Any, tmp_path: Path) -> None:
    suite = toys.suite.narrowed(models=["toy"])
    folder = tuning_folder(suite, tmp_path)
    folder.mkdir(parents=True)
    with FileLock(folder / ".busy"), pytest.raises(UsageError, match="another bench tune"):
        tune(suite, tmp_path, trials(1))


def test_without_optuna_the_extra_is_named(toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingInputError, match=r"llm-rec-bench\[tune\]"):
        tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(1))
    assert not toys.fits


def test_entries_that_only_ask_differently_are_tuned_as_one(toys: Any, tmp_path: Path) -> None:
    asking = {"name": "loud", "model": "toy", "settings": {"loud": True}}
    raw = toys.suite.narrowed(models=["toy"]).model_dump()
    suite = type(toys.suite).model_validate({**raw, "models": [*raw["models"], asking]})
    outcome = tune(suite, tmp_path, trials(2))
    assert [fit["loud"] for fit in toys.fits] == [False, False]
    assert set(outcome.tuned) == {"toy", "loud"}
    assert outcome.tuned["loud"].locked == outcome.tuned["toy"].locked
    toy, loud = make_plan(suite.narrowed(tuned=outcome.lock), Store(tmp_path / "runs")).cells
    assert toy.key == loud.key
    assert toy.spec["settings"]["x"] == outcome.tuned["toy"].locked.settings["x"]


def test_what_only_asks_cannot_be_searched(toys: Any, tmp_path: Path) -> None:
    toys.space("toy", "source: made up\nsearch:\n  loud: {choices: [true, false]}\n")
    with pytest.raises(UsageError, match=r"search.loud: it only changes how a fitted model is asked"):
        tune(toys.suite.narrowed(models=["toy"]), tmp_path, trials(2))
