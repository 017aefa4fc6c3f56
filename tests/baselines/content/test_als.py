from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.content.als import half_step, objective, transposed
from bench.models import Ragged

OTHERS, FACTORS = 30, 6


def drawn(seed, lengths):
    rng = np.random.default_rng(seed)
    met = Ragged.from_lists([rng.choice(OTHERS, length, replace=False) for length in lengths])
    return met, rng.normal(size=(OTHERS, FACTORS)), rng.uniform(0.1, 1, len(met.values))


def solved_densely(met, fixed, unobserved, ridge, weight, catalogue):
    """The normal equations of each row, written out over every item."""
    rows = []
    for row, items in enumerate(met):
        counts = np.zeros(len(fixed))
        counts[items] = weight[met.offsets[row] : met.offsets[row + 1]]
        penalty = ridge * (counts.sum() + unobserved * len(catalogue))
        left = fixed.T @ np.diag(counts) @ fixed + unobserved * catalogue.T @ catalogue + penalty * np.eye(FACTORS)
        rows.append(np.linalg.solve(left, fixed.T @ counts))
    return np.array(rows)


# Rows shorter and longer than the vectors take different roads.
@given(
    seed=st.integers(0, 99),
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    unobserved=st.floats(0.01, 2),
    ridge=st.floats(0.01, 2),
)
@settings(max_examples=40, deadline=None)
def test_a_half_step_is_the_dense_solution(seed, lengths, unobserved, ridge):
    met, fixed, weight = drawn(seed, lengths)
    found = half_step(met, fixed, unobserved=unobserved, ridge=ridge, weight=weight)
    np.testing.assert_allclose(found, solved_densely(met, fixed, unobserved, ridge, weight, fixed), atol=1e-8)


def test_the_unobserved_part_may_run_over_other_items():
    met, fixed, weight = drawn(1, [3, 8, 5])
    catalogue = np.random.default_rng(2).normal(size=(50, FACTORS))
    found = half_step(met, fixed, unobserved=0.3, ridge=0.1, weight=weight, catalogue=catalogue)
    np.testing.assert_allclose(found, solved_densely(met, fixed, 0.3, 0.1, weight, catalogue), atol=1e-8)


def test_no_small_change_of_a_solved_row_lowers_the_objective():
    met, item, _ = drawn(3, [4, 9])
    terms = {"unobserved": 0.2, "ridge": 0.05}
    user = half_step(met, item, **terms)
    best = objective(met, user, item, **terms)
    for place in np.ndindex(user.shape):
        for change in (-1e-3, 1e-3):
            other = user.copy()
            other[place] += change
            assert objective(met, other, item, **terms) > best


def test_the_objective_is_the_sum_over_all_cells():
    met, item, _ = drawn(4, [2, 0, 5])
    user = np.random.default_rng(5).normal(size=(3, FACTORS))
    picked = np.zeros((3, OTHERS))
    for row, items in enumerate(met):
        picked[row, items] = 1
    said = user @ item.T
    of_user, of_item = picked.sum(1) + 0.3 * OTHERS, picked.sum(0) + 0.3 * 3
    expected = (picked * (1 - said) ** 2).sum() + 0.3 * (said**2).sum()
    expected += 0.07 * (of_user @ (user**2).sum(1) + of_item @ (item**2).sum(1))
    assert objective(met, user, item, unobserved=0.3, ridge=0.07) == pytest.approx(expected)


def test_sweeps_never_raise_the_objective():
    met, item, _ = drawn(6, [4, 9, 2, 7, 12])
    terms, met_by = {"unobserved": 0.1, "ridge": 0.01}, transposed(met, OTHERS)
    course = []
    for _ in range(6):
        user = half_step(met, item, **terms)
        course.append(objective(met, user, item, **terms))
        item = half_step(met_by, user, **terms)
        course.append(objective(met, user, item, **terms))
    assert (np.diff(course) <= 1e-9).all()
    assert course[-1] < course[0]


def test_transposed_lists_the_users_of_each_item():
    found = transposed(Ragged.from_lists([[2, 0], [2], [0, 3]]), 5)
    assert [row.tolist() for row in found] == [[0, 2], [], [0, 1], [2], []]
