from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import bench
from bench.cli.app import app


@pytest.fixture
def suite(make_card, tmp_path: Path) -> Path:
    rng = random.Random(0)
    rows = [
        (f"u{user}", f"i{item:02d}", 4.0, 100 * user + time)
        for user in range(40)
        for time, item in enumerate(rng.sample(range(30), 6))
    ]
    path = tmp_path / "tiny-suite.yaml"
    content = {
        "name": "tiny-suite",
        "description": "Made by a test.",
        "dataset": str(make_card(rows)),
        "protocol": {"name": "leave-one-out"},
        "tasks": ["sequential"],
        "metrics": ["HR@5", "NDCG@5"],
        "primary": "NDCG@5",
        "models": ["popularity", "chance"],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def audit(suite: Path, where: Path) -> tuple[str, str]:
    """What it prints, and what it writes."""
    done = CliRunner().invoke(
        app, ["audit", "--suite", str(suite), "--store", str(where / "runs"), "--results", str(where / "results")]
    )
    assert done.exit_code == 0, done.output
    (written,) = (where / "results").glob("tiny-suite-*/audit.md")
    assert str(written) in done.output.replace("\n", "")
    return done.output, written.read_text(encoding="utf-8")


def test_nothing_needs_to_be_stored(suite: Path, tmp_path: Path) -> None:
    said, written = audit(suite, tmp_path)
    for text in (said, written):
        assert "held-out events included (P5's own)" in text
        assert "none yet" in text
        assert "test, warm-warm" in text
    assert audit(suite, tmp_path)[1] == written


def test_stored_models_are_fingerprinted_and_own_indexes_probed(suite: Path, tmp_path: Path) -> None:
    outcome = bench.run(str(suite), store=tmp_path / "runs", results=tmp_path / "results")
    assert not (outcome.folder / "audit.md").exists()
    assert "Leak audit" not in (outcome.folder / "table.md").read_text(encoding="utf-8")
    cell = next(cell for cell in outcome.plan.cells if cell.entry.name == "popularity")
    folder = tmp_path / "runs" / cell.key
    # As a model that writes items as text leaves it: here in the order of the codes.
    fit = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    fit["notes"] = {"item_index": {"kind": "sequential", "digest": "0"}}
    (folder / "fit.json").write_text(json.dumps(fit), encoding="utf-8")
    codes = {f"{item:04d}": item for item in range(30)}
    (folder / "model" / "items.json").write_text(json.dumps({"format": 1, "codes": codes}), encoding="utf-8")
    said, written = audit(suite, tmp_path)
    rows = {line.split("|")[1].strip(): line for line in written.splitlines() if line.startswith("|")}
    own = next(row for name, row in rows.items() if name.endswith("its own index"))
    assert "±" not in own
    # Fingerprints: one model reads ids as text, the other does not.
    marked = [row for row in written.splitlines() if "passed" in row or "DUE" in row]
    assert len(marked) == 1
    assert "sequential" in marked[0]
    assert "passed" in said or "DUE" in said


def test_a_report_with_such_a_model_is_audited(suite: Path, tmp_path: Path) -> None:
    places = {"store": tmp_path / "runs", "results": tmp_path / "results"}
    outcome = bench.run(str(suite), **places)
    cell = next(cell for cell in outcome.plan.cells if cell.entry.name == "popularity")
    fit = tmp_path / "runs" / cell.key / "fit.json"
    fit.write_text(json.dumps({**json.loads(fit.read_text()), "notes": {"item_index": {"kind": "random"}}}))
    (outcome.folder / "manifest.json").unlink()
    again = bench.run(str(suite), **places)
    assert (again.folder / "audit.md").is_file()
    assert "Leak audit: [audit.md](audit.md)" in (again.folder / "table.md").read_text(encoding="utf-8")
    # It is part of the report: lost, it is written again.
    (again.folder / "audit.md").unlink()
    bench.run(str(suite), **places)
    assert (again.folder / "audit.md").is_file()
