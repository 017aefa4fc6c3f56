"""When a budget asks for validation, and when it never ends."""

from __future__ import annotations

import pytest

from bench.errors import ModelError
from bench.models import Budget


@pytest.mark.parametrize(
    ("budget", "asked"),
    [
        (Budget(max_epochs=2), [2, 4]),
        (Budget(max_epochs=5, eval_every_epochs=2), [4, 8, 10]),
        (Budget(max_steps=5, eval_every_steps=2), [2, 4, 5]),
        (Budget(max_steps=6, eval_every_epochs=2), [4, 6]),
        (Budget(max_epochs=3, eval_every_steps=4), [4, 6]),
    ],
)
def test_validation_comes_when_the_budget_says(budget, asked):
    """Two steps an epoch."""
    end = budget.max_steps or 2 * budget.max_epochs
    assert [step for step in range(1, end + 1) if budget.due(step, step / 2)] == asked


def test_a_budget_that_never_ends_is_refused():
    with pytest.raises(ModelError, match="never ends"):
        Budget(patience=0).must_end()
    for budget in (Budget(), Budget(max_epochs=1, patience=0), Budget(max_steps=1, patience=0)):
        budget.must_end()
