from __future__ import annotations

import pytest

from bench.models import Budget, Selection


def follow(values: list[float], **budget: object) -> tuple[Selection, list[bool]]:
    selection = Selection(Budget.model_validate(budget))
    kept = []
    for step, value in enumerate(values, start=1):
        kept.append(selection.observe(step=step, epoch=step / 10, loss=1.0, validation=value))
        if selection.stopped:
            break
    return selection, kept


def test_stops_after_patience_and_keeps_the_best() -> None:
    selection, kept = follow([0.1, 0.3, 0.2, 0.25, 0.9], patience=2)
    assert kept == [True, True, False, False]
    fields = selection.report_fields()
    assert fields["stopped"] == "early stopping"
    assert fields["best_step"] == 2
    assert fields["steps"] == 4
    assert fields["converged"] is True
    assert len(fields["curve"]) == 4  # type: ignore[arg-type]


def test_a_run_that_ends_by_its_budget_did_not_converge() -> None:
    selection, _ = follow([0.1, 0.2, 0.3], patience=2, max_steps=3)
    assert selection.stopped == "budget"
    assert selection.report_fields()["converged"] is False


def test_epochs_are_a_budget_too() -> None:
    selection, kept = follow([0.1] * 30, patience=50, max_epochs=1)
    assert selection.stopped == "budget"
    assert len(kept) == 10


def test_a_time_cap_is_named() -> None:
    selection, _ = follow([0.1], patience=2, time_cap_s=0.0)
    assert selection.report_fields()["stopped"] == "time cap"


def test_patience_zero_keeps_the_last_weights() -> None:
    selection, kept = follow([0.3, 0.2, 0.1], patience=0, max_steps=3)
    assert kept == [True, True, True]
    assert selection.best_step == 3
    assert selection.stopped == "budget"


def test_a_loss_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="step 7"):
        Selection(Budget()).observe(step=7, epoch=1.0, loss=float("nan"), validation=0.1)
