"""The folder of a trial that may be cut off."""

from __future__ import annotations

from pathlib import Path

from bench.tune.unfinished import NOTE_EVERY_S, Unfinished


def test_seconds_count_where_the_model_kept_something(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished" / "trial"
    trial = Unfinished(folder)
    assert trial.begin() == 0
    trial.note(0.9 * NOTE_EVERY_S)
    assert Unfinished(folder).begin() == 0
    trial.note(20.0)
    trial.note(20.5)
    assert Unfinished(folder).begin() == 0  # nothing to go on from
    (trial.scratch / "checkpoint").touch()
    again = Unfinished(folder)
    assert again.begin() == 20.0
    again.note(21.5)
    assert Unfinished(folder).begin() == 21.5
    assert [path.name for path in again.scratch.iterdir()] == ["checkpoint"]
    again.remove()
    again.remove()
    assert not folder.exists()
