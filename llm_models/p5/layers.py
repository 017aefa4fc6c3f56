"""Attention, dropout and the softmax over the vocabulary, as a processor computes them without waste.

Numbers are those of the plain operations; what is saved is passes over memory and calls of the random generator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["attend", "cross_entropy", "dropout"]

# Logits held at a time. Every block passes over the whole table: smaller ones cost more than the cache gives back.
BLOCK = 2**24


def dropout(x: Tensor, rate: float) -> Tensor:
    """Set a share of ``rate`` to 0 and scale up the others.

    On a processor four elements share one draw of the generator, 16 bits each: a sixth of the time of torch's own.
    The rate is met to the next 65,536th.
    """
    if not rate:
        return x
    if x.is_cuda:
        return functional.dropout(x, rate)
    return x * _kept(x.shape, rate, x.dtype)


def _kept(shape: torch.Size, rate: float, dtype: torch.dtype) -> Tensor:
    """0 where dropped, else 1 / (1 - rate)."""
    dropped = round(rate * 2**16)
    draws = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = torch.empty(shape, dtype=dtype)
    torch.ge(draws[: shape.numel()].view(shape), dropped - 2**15, out=kept)
    return kept.mul_(2**16 / (2**16 - dropped))


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, rate: float) -> Tensor:
    """T5's attention: the products are not scaled, and positions enter as an additive bias.

    Parameters
    ----------
    query : Tensor, shape (batch, heads, queries, size)
    key, value : Tensor, shape (batch, heads, keys, size)
    bias : Tensor of float32, broadcast to (batch, heads, queries, keys)
        Very negative where there is nothing to read.
    rate : float
        Dropout of the attention weights.

    Returns
    -------
    Tensor, shape (batch, queries, heads * size)
    """
    if rate and not query.is_cuda:
        read = _Attention.apply(query, key, value, bias, rate)
    else:
        bias = bias.to(query.dtype)
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=rate, scale=1.0)
    return read.transpose(1, 2).flatten(2)


class _Attention(torch.autograd.Function):
    """Attention with dropout; torch's own takes the long way on a processor when there is any."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, rate: float) -> Tensor:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        weights = (query @ key.transpose(2, 3)).float().add_(bias).softmax(-1)
        kept = _kept(weights.shape, rate, weights.dtype)
        dropped = (weights * kept).to(value.dtype)
        ctx.save_for_backward(query, key, value, weights, kept, dropped)
        ctx.bias_shape = bias.shape
        return dropped @ value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, kept, dropped = ctx.saved_tensors
        grad = grad.contiguous()
        d_value = dropped.transpose(2, 3) @ grad
        d_weights = (grad @ value.transpose(2, 3)).float().mul_(kept)
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
        d_bias = d_scores.sum_to_size(ctx.bias_shape) if ctx.needs_input_grad[3] else None
        d_scores = d_scores.to(query.dtype)
        return d_scores @ key, d_scores.transpose(2, 3) @ query, d_value, d_bias, None


def cross_entropy(hidden: Tensor, table: Tensor, row: Tensor, token: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of tokens under ``softmax(hidden @ table.T)``, never holding all logits at once.

    The gradient of a softmax is known as soon as its logits are, so it is taken in the forward pass, block by block.

    Parameters
    ----------
    hidden : Tensor of float32, shape (rows, size)
    table : Tensor of float32, shape (vocabulary, size)
    row : Tensor of int64, shape (tokens,)
        The row of ``hidden`` that each token follows, not decreasing; one row may be followed by several.
    token : Tensor of int64, shape (tokens,)
    weight : Tensor of float32, shape (tokens,)

    Returns
    -------
    total : Tensor, scalar
        Weighted sum in nats, differentiable once in ``hidden`` and ``table``. Matrix products are in bfloat16 under
        autocast.
    each : Tensor of float32, shape (tokens,)
        Unweighted, without gradient.
    """
    kind = hidden.device.type
    low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    learns = torch.is_grad_enabled() and hidden.requires_grad
    return _CrossEntropy.apply(hidden.float(), table, row, token, weight, low, learns)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        row: Tensor,
        token: Tensor,
        weight: Tensor,
        low: torch.dtype,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        size = max(1, BLOCK // len(table))
        starts = torch.arange(0, len(hidden), size)
        bounds = [*torch.searchsorted(row, starts.to(row.device)).tolist(), len(row)]
        weight_of_row = hidden.new_zeros(len(hidden), 1).index_add_(0, row, weight[:, None])
        low_hidden, low_table = hidden.to(low), table.to(low)
        each = torch.empty_like(weight)
        d_hidden, d_table = (torch.empty_like(hidden), torch.zeros_like(table)) if learns else (None, None)
        for start, first, last in zip(starts.tolist(), bounds, bounds[1:], strict=False):
            part = slice(start, start + size)
            logits = (low_hidden[part] @ low_table.T).float()
            right = logits[row[first:last] - start, token[first:last]]
            top = logits.amax(1, keepdim=True)
            likely = logits.sub_(top).exp_()
            mass = likely.sum(1, keepdim=True)
            each[first:last] = (mass.log() + top)[row[first:last] - start, 0] - right
            if learns:
                share = weight_of_row[part] / mass
                likely = likely.to(low)
                d_hidden[part] = (likely @ low_table) * share
                d_table += likely.T @ (hidden[part] * share).to(low)
        if learns:
            d_hidden.index_add_(0, row, table[token] * weight[:, None], alpha=-1)
            d_table.index_add_(0, token, hidden[row] * weight[:, None], alpha=-1)
            ctx.save_for_backward(d_hidden, d_table)
        ctx.mark_non_differentiable(each)
        return (each * weight).sum(), each

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_table = ctx.saved_tensors
        return d_hidden * grad, d_table * grad, None, None, None, None, None
