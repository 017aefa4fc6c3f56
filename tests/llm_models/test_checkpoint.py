from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.models import Budget, Selection

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")


def make(folder: Path, run: str = "one"):
    from llm_models.checkpoint import Checkpoint

    return Checkpoint(folder, run)


def test_what_was_saved_last_is_read_bit_by_bit(tmp_path: Path) -> None:
    assert make(tmp_path).load() is None
    tensors = {
        "a": torch.randn(3, 4).T,
        "b": torch.tensor([1, 255], dtype=torch.uint8),
        "c": torch.tensor(-math.inf, dtype=torch.float64),
        "d": torch.randn(2, requires_grad=True),
    }
    state = {"step": 3, "loss": 0.1 + 0.2, "best": -math.inf, "curve": [{"loss": 1e-300}], "name": "ä"}
    make(tmp_path).save({"a": torch.zeros(1)}, {})
    make(tmp_path).save(tensors, state)
    found, told = make(tmp_path).load()
    assert told == state
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["training.safetensors"]


def test_a_write_that_did_not_end_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path).save({"a": torch.ones(2)}, {"step": 1})

    def full(*args: object, **kwargs: object) -> None:
        (tmp_path / "training.writing").write_bytes(b"half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("llm_models.checkpoint.save_file", full)
        with pytest.raises(OSError, match="no space left"):
            make(tmp_path).save({"a": torch.zeros(2)}, {"step": 2})
    found, state = make(tmp_path).load()
    assert state == {"step": 1}
    assert found["a"].tolist() == [1, 1]
    make(tmp_path).save({"a": torch.zeros(2)}, {"step": 2})
    assert make(tmp_path).load()[1] == {"step": 2}


def test_a_checkpoint_of_another_run_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path).save({"a": torch.ones(2)}, {"step": 1})
    assert make(tmp_path, "two").load() is None
    assert make(tmp_path).load() is not None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x10" + b"\x00" * 7 + b"{}"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "training.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"training\.safetensors: this checkpoint cannot be read .*; remove it"):
        make(tmp_path).load()


def test_a_selection_goes_on_where_it_was() -> None:
    budget = Budget(max_steps=50, patience=2)
    values = [0.1, 0.3, 0.2, 0.25, 0.4]
    whole = Selection(budget)
    for step, value in enumerate(values[:4], start=1):
        whole.observe(step=step, epoch=step / 3, loss=1 / step, validation=value)
    parts = Selection(budget)
    for step, value in enumerate(values[:4], start=1):
        parts.observe(step=step, epoch=step / 3, loss=1 / step, validation=value)
        parts = Selection.resumed(budget, json.loads(json.dumps(parts.state())))
    assert whole.stopped == "early stopping"
    assert parts.report_fields() == whole.report_fields()
    assert parts.best_value == whole.best_value


def test_time_before_the_interruption_counts_towards_the_cap() -> None:
    budget = Budget(max_steps=50, patience=5, time_cap_s=100)
    state = Selection(budget).state()
    state["seconds"] = 99.0
    early = Selection.resumed(budget, state)
    early.observe(step=1, epoch=0.1, loss=1.0, validation=0.0)
    assert early.stopped == ""
    state["seconds"] = 100.0
    late = Selection.resumed(budget, state)
    late.observe(step=1, epoch=0.1, loss=1.0, validation=0.0)
    assert late.stopped == "time cap"
