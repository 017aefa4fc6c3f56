"""The notebook runs from top to bottom, and is kept without its output."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

TOUR = Path(__file__).resolve().parents[2] / "notebooks" / "tour.ipynb"


@pytest.fixture
def tour():
    nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_output_is_not_kept(tour):
    code = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("recbole") is None, reason="the extra 'classic' (RecBole) is not installed")
def test_tour_runs(tour, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the extra 'notebooks' is not installed")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    nbclient.NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in shown)
    (compared,) = (output for output in shown if "diff_low" in output.get("data", {}).get("text/plain", ""))
    assert "943 users" in compared["data"]["text/plain"]
