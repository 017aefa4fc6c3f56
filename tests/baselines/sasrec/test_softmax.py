from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.sasrec.softmax import full_cross_entropy, sampled_cross_entropy


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


@pytest.mark.parametrize("rows", [3, 20, None])
@pytest.mark.parametrize("scale", [0.3, 6.0])
def test_every_item_drawn_once_is_the_full_softmax(rows, scale):
    hidden, items, target = draw(20, 33, 8, scale)
    everything = torch.randperm(33, generator=torch.Generator().manual_seed(1))
    expected = full_cross_entropy(hidden, items, target)
    found = sampled_cross_entropy(hidden, items, target, everything, torch.zeros(33), rows=rows)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients(found / 7, hidden, items), gradients(expected / 7, hidden, items), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, None])
def test_sampled_equals_torch_in_value_and_gradient(rows):
    hidden, items, target = draw(20, 33, 8)
    drawn = torch.tensor([4, 4, 7, 0, 32, 9, target[0], target[0]])
    log_expected = torch.linspace(-2, 1, 8)
    logits = (hidden @ items[drawn].T - log_expected).where(drawn != target[:, None], -torch.inf)
    logits = torch.cat([(hidden * items[target]).sum(1, keepdim=True), logits], dim=1)
    expected = functional.cross_entropy(logits, torch.zeros(20, dtype=torch.int64), reduction="sum")
    found = sampled_cross_entropy(hidden, items, target, drawn, log_expected, rows=rows)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients(found / 7, hidden, items), gradients(expected / 7, hidden, items), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_draw_of_nothing_but_the_target_teaches_nothing():
    hidden, items, _ = draw(3, 5, 4)
    target = torch.full((3,), 2)
    loss = sampled_cross_entropy(hidden, items, target, target, torch.zeros(3))
    assert loss.item() == 0
    assert all((part == 0).all() for part in gradients(loss, hidden, items))


def test_sampled_gradient_by_finite_differences():
    hidden, items, target = (part.double() if part.is_floating_point() else part for part in draw(4, 5, 3))
    leaves = hidden.detach().requires_grad_(), items.detach().requires_grad_()
    drawn, shift = torch.tensor([0, 3, 3]), torch.tensor([0.1, -0.4, 0.2], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h, e: sampled_cross_entropy(h, e, target, drawn, shift, rows=3), leaves)
