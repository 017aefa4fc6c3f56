"""Full cross-entropy over all items without ever holding the whole block of logits.

The gradient of a softmax cross-entropy is known as soon as the logits are, so it is taken in the forward pass, block by
block: every logit is computed once, used while it is in the cache, and dropped. Memory is a constant instead of
positions x items, and on a CPU it is faster than differentiating through the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["full_cross_entropy"]

# Logits held at a time: about what stays in a processor's cache, or keeps a graphics card busy.
BLOCK_CPU = 2**20
BLOCK_CUDA = 2**26


class _FullCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, target: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
        train = any(ctx.needs_input_grad)
        total = hidden.new_zeros(())
        d_hidden, d_items = torch.empty_like(hidden), torch.zeros_like(items)
        low_hidden, low_items = hidden.to(dtype), items.to(dtype)
        for first in range(0, len(hidden), rows):
            part = slice(first, first + rows)
            logits = (low_hidden[part] @ low_items.T).to(hidden.dtype)
            right = logits.gather(1, target[part, None])
            top = logits.amax(1, keepdim=True)
            weights = logits.sub_(top).exp_()
            mass = weights.sum(1, keepdim=True)
            total += (mass.log() + top - right).sum()
            if train:
                low_weights = weights.to(dtype)
                d_hidden[part] = (low_weights @ low_items) / mass
                d_items += low_weights.T @ (hidden[part] / mass).to(dtype)
        if train:
            d_hidden -= items[target]
            d_items.index_add_(0, target, hidden, alpha=-1)
            ctx.save_for_backward(d_hidden, d_items)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden, d_items = ctx.saved_tensors
        return d_hidden * grad, d_items * grad, None, None, None


def full_cross_entropy(
    hidden: Tensor, items: Tensor, target: Tensor, *, rows: int | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Sum over positions of the cross-entropy of ``softmax(hidden @ items.T)`` against ``target``.

    Parameters
    ----------
    hidden : Tensor, shape (positions, size), float32
    items : Tensor, shape (items, size), float32
    target : Tensor, shape (positions,), int64
    rows : int, optional
        Positions a block; by default as many as keep a block within the cache.
    dtype : torch.dtype, optional
        Of the factors of the matrix products, by default that of ``hidden``; sums and exponentials keep the latter.

    Returns
    -------
    Tensor, scalar
        In nats; differentiable once in ``hidden`` and ``items``.
    """
    if rows is None:
        rows = max(1, (BLOCK_CUDA if hidden.is_cuda else BLOCK_CPU) // len(items))
    return _FullCrossEntropy.apply(hidden, items, target, rows, dtype or hidden.dtype)
