from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.sasrec import fused
from baselines.sasrec.objectives import make_objective
from baselines.sasrec.softmax import full_cross_entropy

LOSSES = ["ce", "bce", "gbce", "sampled"]
MET = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 5])


def objective(loss: str, items: int = 6, **given: Any):
    plain = {"met": MET, "negatives": 8, "calibration": 0.75, "draw": "uniform", "dtype": torch.float32}
    return make_objective(loss, items=items, **plain | given)


def draw(positions: int = 5, items: int = 6, size: int = 4):
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(positions, size, generator=generator).requires_grad_()
    vectors = torch.randn(items, size, generator=generator).requires_grad_()
    return hidden, vectors, torch.randint(items, (positions,), generator=generator)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_full_softmax_is_what_its_name_says():
    hidden, vectors, target = draw()
    torch.testing.assert_close(objective("ce")(hidden, vectors, target), full_cross_entropy(hidden, vectors, target))


def test_uncalibrated_gbce_is_bce():
    found = []
    for loss in ("bce", "gbce"):
        torch.manual_seed(4)
        hidden, vectors, target = draw()
        value = objective(loss, calibration=0.0)(hidden, vectors, target)
        found.append((value.detach(), *torch.autograd.grad(value, (hidden, vectors))))
    for plain, calibrated in zip(*found, strict=True):
        torch.testing.assert_close(plain, calibrated, rtol=0, atol=0)


def test_calibration_weakens_the_pull_of_the_target():
    vectors, target = torch.eye(6), torch.zeros(1, dtype=torch.int64)
    pull = {}
    for calibration in (0.0, 1.0):
        hidden = torch.zeros(1, 6, requires_grad=True)
        value = objective("gbce", calibration=calibration, negatives=1)(hidden, vectors, target)
        (slope,) = torch.autograd.grad(value, hidden)
        pull[calibration] = -slope[0, 0].item()
    assert pull == pytest.approx({0.0: 0.25, 1.0: 0.25 / 5}), "one of five others is drawn"


@pytest.mark.parametrize("shared", ["uniform", "popularity"])
def test_the_draws_estimate_the_full_sum_of_exponentials_without_bias(shared):
    hidden, vectors, target = draw(positions=1)
    sample = objective("sampled", draw=shared)
    with torch.no_grad():
        logits = hidden @ vectors.T
        right = logits[0, target]
        estimates = torch.stack([(sample(hidden, vectors, target) + right).exp() for _ in range(2000)])
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - logits.exp().sum()) < 4 * error
    assert 0 < error < 0.05 * estimates.mean()


@pytest.mark.parametrize("loss", ["bce", "gbce"])
def test_every_item_but_the_target_is_drawn_alike(loss):
    """The logits of negatives are all 0 here, so the gradient of an item vector counts its draws."""
    hidden, vectors = torch.ones(1, 1), torch.zeros(6, 1, requires_grad=True)
    count = 60_000
    value = objective(loss, negatives=count)(hidden, vectors, torch.tensor([2]))
    (slope,) = torch.autograd.grad(value, vectors)
    share = slope[:, 0] / (0.5 * count / (1 + count))
    assert share[2] < 0
    others = share[[0, 1, 3, 4, 5]]
    torch.testing.assert_close(others, torch.full((5,), 0.2), rtol=0.03, atol=0)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation gave."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = out if isinstance(out, tuple | list) else (out,)
        self.numbers = max([self.numbers, *(part.numel() for part in given if isinstance(part, torch.Tensor))])
        return out


@pytest.mark.parametrize("loss", LOSSES)
def test_no_block_of_all_positions_is_ever_held(loss, monkeypatch):
    monkeypatch.setattr(fused, "BLOCK_CPU", 4000)
    monkeypatch.setattr(fused, "LEAST_ROWS", 1)
    positions, items, size, count = 300, 400, 4, 100
    hidden, vectors, target = draw(positions, items, size)
    chosen = objective(loss, items, negatives=count, met=torch.arange(items))
    with Largest() as seen:
        torch.autograd.grad(chosen(hidden, vectors, target), (hidden, vectors))
    # The draws of a pairwise loss are kept (as numbers of items), their vectors and logits are not.
    drawn = positions * count if "bce" in loss else 0
    assert seen.numbers <= max(4000, drawn)
    with Largest() as seen:
        torch.nn.functional.cross_entropy(hidden @ vectors.T, target)
    assert seen.numbers == positions * items, "the measure sees what it should"
