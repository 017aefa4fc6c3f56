"""Losses that bring their own gradient.

The gradient of a loss on dot products is known as soon as the products are, so the losses here take it in the forward
pass, block by block: every product is computed once, used while it is in the cache, and dropped. Memory does not grow
with positions x items, and on a CPU it is faster than differentiating through the products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["blocks", "learns", "with_gradient"]

# Numbers held at a time: about what stays in a processor's cache, or keeps a graphics card busy.
BLOCK_CPU = 2**20
BLOCK_CUDA = 2**26
# Fewer positions at a time would read all item vectors for little work: on 200,000 items 5 take 4 times as long as 32.
LEAST_ROWS = 32


def blocks(hidden: Tensor, width: int, rows: int | None = None) -> Iterator[slice]:
    """Cut the positions of ``hidden`` into slices of ``rows``, by default as many as make a block of that width."""
    rows = rows or max(LEAST_ROWS, (BLOCK_CUDA if hidden.is_cuda else BLOCK_CPU) // width)
    return (slice(first, first + rows) for first in range(0, len(hidden), rows))


def learns(*tensors: Tensor) -> bool:
    """Whether anyone will ask for a gradient."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, loss: Tensor, d_hidden: Tensor, d_items: Tensor) -> Tensor:
        ctx.save_for_backward(d_hidden, d_items)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden, d_items = ctx.saved_tensors
        return d_hidden * grad, d_items * grad, None, None, None


def with_gradient(hidden: Tensor, items: Tensor, loss: Tensor, d_hidden: Tensor, d_items: Tensor) -> Tensor:
    """Return ``loss``, differentiable once in ``hidden`` and ``items`` with the gradients given."""
    return _WithGradient.apply(hidden, items, loss, d_hidden, d_items)
