"""Refit: selected on validation, then learned again with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.models import Budget, FitReport
from bench.runs.refit import refit_budget
from bench.runs.run import run
from bench.runs.store import Store, read_json
from bench.runs.suite import load_suite

USERS, EVENTS = 12, 8


@pytest.fixture
def suite(make_card: Callable[..., Path], tmp_path: Path) -> str:
    rows = [(f"u{u}", f"i{(u * 3 + t) % 20}", 4.0, 100 * t) for u in range(USERS) for t in range(EVENTS)]
    path = tmp_path / "suite.yaml"
    path.write_text(
        "{name: tiny, description: x, protocol: {name: leave-one-out}, tasks: [sequential],"
        f" dataset: '{make_card(rows)}', metrics: [HR@5], primary: HR@5, models: [popularity]}}"
    )
    return str(path)


def test_a_refit_learns_from_validation_and_never_from_the_test(suite: str, tmp_path: Path) -> None:
    learned, keys = {}, {}
    for refit in (False, True):
        outcome = run(
            load_suite(suite), changes={"refit": refit}, store=tmp_path / "runs", results=tmp_path / "results"
        )
        (cell,) = outcome.plan.cells
        keys[refit] = cell.key
        with np.load(Store(tmp_path / "runs").cell(cell.key) / "model" / "popularity.npz") as stored:
            learned[refit] = int(stored["count"].sum())
        said = (outcome.folder / "table.md").read_text()
        assert ("Refitted" in said) == refit
    assert learned == {False: USERS * (EVENTS - 2), True: USERS * (EVENTS - 1)}
    assert keys[False] != keys[True]
    assert read_json(Store(tmp_path / "runs").cell(keys[True]) / "spec.json")["refit"] is True


CURVE = tuple({"step": 10 * n, "epoch": float(n), "loss": 1.0, "validation": 0.1} for n in range(1, 6))


def test_the_budget_of_a_refit_is_what_validation_chose() -> None:
    chosen = FitReport(steps=50, epochs=5, best_step=30, curve=CURVE)
    by_epochs = refit_budget(Budget(max_epochs=100, eval_every_epochs=1), chosen, growth=1.2)
    assert (by_epochs.max_epochs, by_epochs.max_steps, by_epochs.patience) == (3, None, 0)
    # As many passes over more data are more steps.
    by_steps = refit_budget(Budget(max_steps=1000, eval_every_steps=10), chosen, growth=1.2)
    assert (by_steps.max_steps, by_steps.max_epochs, by_steps.patience) == (36, None, 0)


def test_a_closed_form_has_nothing_to_choose() -> None:
    budget = Budget(max_epochs=7)
    assert refit_budget(budget, FitReport(), growth=2) is budget
