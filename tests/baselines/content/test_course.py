from __future__ import annotations

import pytest

from baselines.content.course import Course
from bench.errors import UsageError
from bench.models import Budget


def run(budget, values, steps_an_epoch=4):
    """Follow a run whose evaluations give ``values``; when it was evaluated, and when weights were kept."""
    numbers, evaluated, kept = iter(values), [], []
    here = {"step": 0}

    def validate():
        evaluated.append(here["step"])
        return next(numbers)

    course = Course(budget, validate=validate, keep=lambda: kept.append(here["step"]), progress=lambda *_: None)
    while True:
        here["step"] += 1
        if not course.goes_on(here["step"], here["step"] / steps_an_epoch, float(here["step"])):
            return course.report_fields(), evaluated, kept


def test_without_an_interval_every_epoch_is_evaluated_until_patience_ends():
    report, evaluated, kept = run(Budget(patience=2), [0.1, 0.3, 0.2, 0.2])
    assert evaluated == [4, 8, 12, 16]
    assert kept == [4, 8]
    assert (report["stopped"], report["converged"], report["best_step"]) == ("early stopping", True, 8)


def test_steps_and_their_limit():
    report, evaluated, _ = run(Budget(max_steps=7, eval_every_steps=3), [0.1, 0.2, 0.3])
    assert evaluated == [3, 6, 7]
    assert (report["stopped"], report["epochs"]) == ("budget", 7 / 4)


def test_epochs_and_their_limit():
    report, evaluated, _ = run(Budget(max_epochs=3, eval_every_epochs=2), [0.1, 0.2])
    assert evaluated == [8, 12]
    # Mean of the steps since the evaluation before.
    assert [row["loss"] for row in report["curve"]] == [4.5, 10.5]


def test_something_is_kept_even_if_nothing_is_ever_served():
    _, _, kept = run(Budget(max_epochs=2), [float("nan"), float("nan")])
    assert kept == [4]


def test_a_budget_that_never_ends_is_refused():
    with pytest.raises(UsageError, match="patience 0"):
        run(Budget(patience=0), [])
