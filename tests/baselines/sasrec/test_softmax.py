from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.sasrec.softmax import full_cross_entropy


def draw(positions: int, items: int, size: int, scale: float = 1.0):
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(positions, size, generator=generator) * scale
    vectors = torch.randn(items, size, generator=generator) * scale
    target = torch.randint(0, items, (positions,), generator=generator)
    return hidden.requires_grad_(), vectors.requires_grad_(), target


def gradients(loss, *leaves):
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("rows", [1, 3, 7, 20, 100, None])
@pytest.mark.parametrize("scale", [0.3, 6.0])
def test_equals_torch_in_value_and_gradient(rows, scale):
    hidden, items, target = draw(20, 33, 8, scale)
    expected = functional.cross_entropy(hidden @ items.T, target, reduction="sum")
    found = full_cross_entropy(hidden, items, target, rows=rows)
    torch.testing.assert_close(found, expected)
    # Any factor from above must reach the gradients, as the mean's 1 / n does.
    for ours, theirs in zip(gradients(found / 7, hidden, items), gradients(expected / 7, hidden, items), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradient_by_finite_differences():
    hidden, items, target = (part.double() if part.is_floating_point() else part for part in draw(4, 5, 3))
    leaves = hidden.detach().requires_grad_(), items.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda h, e: full_cross_entropy(h, e, target, rows=3), leaves)


def test_huge_logits_stay_finite():
    hidden, items, target = draw(6, 9, 4, scale=40.0)
    loss = full_cross_entropy(hidden, items, target)
    assert all(part.isfinite().all() for part in (loss, *gradients(loss, hidden, items)))


def test_no_gradient_is_asked_for_in_evaluation():
    hidden, items, target = draw(5, 6, 4)
    with torch.no_grad():
        loss = full_cross_entropy(hidden, items, target)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, functional.cross_entropy(hidden @ items.T, target, reduction="sum").detach())


def test_bfloat16_products_change_little():
    hidden, items, target = draw(20, 33, 8)
    exact = full_cross_entropy(hidden, items, target)
    low = full_cross_entropy(hidden, items, target, dtype=torch.bfloat16)
    assert low.dtype == torch.float32
    assert 0 < abs(low - exact) < 0.01 * exact
    for ours, theirs in zip(gradients(low, hidden, items), gradients(exact, hidden, items), strict=True):
        assert 0 < (ours - theirs).norm() < 0.01 * theirs.norm()
