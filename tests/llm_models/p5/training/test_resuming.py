"""Training in several goes and by several processes: it ends as if it had been one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.models import Budget
from llm_models.p5.settings import P5Settings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def test_a_finished_run_is_not_run_again_and_another_run_starts_anew(loop, tmp_path: Path) -> None:
    told = []
    network, settings = loop.make()
    first = loop.run(network, settings, scratch=tmp_path)
    again, settings = loop.make()
    course = loop.run(again, settings, scratch=tmp_path, told=lambda done, total, note="": told.append(done))
    assert told == []
    loop.assert_same(loop.weights(again), loop.weights(network), atol=0, rtol=0)
    assert course.selection.report_fields() == first.selection.report_fields()
    assert course.notes() == first.notes()
    other, settings = loop.make(learning_rate=0.002)
    loop.run(other, settings, scratch=tmp_path, told=lambda done, total, note="": told.append(done))
    assert told
    assert not torch.equal(other.t5.shared.weight, network.t5.shared.weight)


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL, twice, at moments that are not foreseen."""
    report = _script("killed", tmp_path)
    whole, killed = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert report["whole"] == report["killed"]
    # Each time it went on from where a checkpoint had been left, and not from the start.
    assert 0 < report["resumed"][0] < report["resumed"][1]


@pytest.mark.slow
def test_processes_together_take_the_steps_of_one_alone(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    report = _script("team", tmp_path)
    alone, together = report["alone"], report["together"]
    for mine, theirs in zip(together["curve"], alone["curve"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
    assert together["targets"] == alone["targets"]
    assert together["tokens"] == alone["tokens"]
    for name, losses in alone["family_losses"].items():
        assert together["family_losses"][name] == pytest.approx(losses, abs=1e-5)
    assert report["distance"] < 1e-5
    assert report["moved"] > 1e-2
    # Interrupted at the second evaluation, it went on from the first.
    assert report["steps"] == [10, 20, -1, 20, 30]


def test_shares_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(ValueError, match="3 processes cannot share 4 batches"):
        P5Settings(processes=3, accumulate=4)


def test_an_interrupted_fit_of_p5_goes_on_from_its_folder(tmp_path: Path) -> None:
    """Ids, tokenizer, batches and dropout of the second process are those of the first."""
    pytest.importorskip("sentencepiece")
    from bench.models.world import small_world
    from llm_models.p5.model import P5

    size = {"d_model": 16, "d_ff": 32, "d_kv": 8, "heads": 2, "layers": 1, "batch": 8, "dropout": 0.2}
    told: list[int] = []

    def fit(folder: Path | None, validations: list[float]) -> dict:
        model = P5(P5.Settings(**size))
        model.scratch = folder
        torch.manual_seed(len(told))
        report = model.fit(
            small_world().training(),
            validate=lambda model: validations.pop(),
            budget=Budget(max_steps=9, eval_every_steps=3, patience=0),
            seed=3,
            progress=lambda done, total, note="": told.append(done),
        )
        weights = {name: weight.detach().clone() for name, weight in model._engine.network.named_parameters()}
        return weights | {"curve": report.curve}

    whole = fit(None, [0.3, 0.2, 0.1])
    with pytest.raises(IndexError):
        fit(tmp_path, [0.1])
    assert (tmp_path / "training.safetensors").is_file()
    again = fit(tmp_path, [0.3, 0.2])
    assert whole.pop("curve") == again.pop("curve")
    for name, weight in whole.items():
        assert torch.equal(weight, again[name]), name


def _script(*arguments: object) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("processes.py")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
