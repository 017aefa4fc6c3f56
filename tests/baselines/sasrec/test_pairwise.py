from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.sasrec.pairwise import binary_cross_entropy, calibrated_weight


def draw(positions: int, items: int, size: int, count: int, scale: float = 1.0):
    generator = torch.Generator().manual_seed(7)
    hidden = torch.randn(positions, size, generator=generator, dtype=torch.float64) * scale
    vectors = torch.randn(items, size, generator=generator, dtype=torch.float64) * scale
    target = torch.randint(items, (positions,), generator=generator)
    drawn = torch.randint(items, (positions, count), generator=generator)
    return hidden.requires_grad_(), vectors.requires_grad_(), target, drawn


def by_definition(hidden, items, target, drawn, weight):
    """Probabilities as the paper writes them, differentiated by autograd."""
    right = torch.sigmoid((hidden * items[target]).sum(1)) ** weight
    wrong = torch.sigmoid(torch.einsum("pd,pkd->pk", hidden, items[drawn]))
    return -(right.log() + (1 - wrong).log().sum(1)).sum() / (drawn.shape[1] + 1)


@pytest.mark.parametrize("rows", [1, 3, 20, None])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_equals_the_definition_in_value_and_gradient(rows, count, weight):
    hidden, items, target, drawn = draw(10, 9, 4, count)
    expected = by_definition(hidden, items, target, drawn, weight)
    found = binary_cross_entropy(hidden, items, target, drawn, weight=weight, rows=rows)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected / 10, (hidden, items))
    for ours, theirs in zip(torch.autograd.grad(found / 10, (hidden, items)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_known_value():
    hidden, items = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, -1.0]])
    found = binary_cross_entropy(hidden, items, torch.tensor([0]), torch.tensor([[1, 2]]), weight=0.5)
    expected = (0.5 * np.log1p(np.exp(-1.5)) + np.log1p(np.exp(1.0)) + np.log1p(np.exp(-2.0))) / 3
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_by_finite_differences():
    hidden, items, target, drawn = draw(4, 5, 3, 2)
    assert torch.autograd.gradcheck(
        lambda h, e: binary_cross_entropy(h, e, target, drawn, weight=0.4, rows=3), (hidden, items)
    )


def test_huge_logits_stay_finite():
    hidden, items, target, drawn = draw(6, 9, 4, 3, scale=40.0)
    loss = binary_cross_entropy(hidden, items, target, drawn)
    assert all(part.isfinite().all() for part in (loss, *torch.autograd.grad(loss, (hidden, items))))


def test_no_gradient_is_asked_for_in_evaluation():
    hidden, items, target, drawn = draw(5, 6, 4, 2)
    with torch.no_grad():
        loss = binary_cross_entropy(hidden, items, target, drawn)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, by_definition(hidden, items, target, drawn, 1.0).detach())


@given(st.integers(2, 10**7), st.floats(0, 1), st.data())
def test_weight_is_the_papers(items, calibration, data):
    count = data.draw(st.integers(1, items - 1))
    alpha = count / (items - 1)
    expected = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    assert calibrated_weight(count, items, calibration) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert calibrated_weight(count, items, 0) == 1, "plain binary cross-entropy"
    assert calibrated_weight(count, items, 1) == pytest.approx(alpha)


def test_more_negatives_than_items_weigh_as_all():
    assert calibrated_weight(500, 10, 0.75) == 1
