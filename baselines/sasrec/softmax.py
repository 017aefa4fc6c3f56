"""Cross-entropy of a softmax over all items, or over a shared draw of them, without the whole block of logits."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.sasrec.fused import blocks, learns, with_gradient

__all__ = ["full_cross_entropy", "sampled_cross_entropy"]


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
    dtype, train = dtype or hidden.dtype, learns(hidden, items)
    with torch.no_grad():
        total = hidden.new_zeros(())
        d_hidden, d_items = torch.empty_like(hidden), torch.zeros_like(items)
        low_hidden, low_items = hidden.to(dtype), items.to(dtype)
        for part in blocks(hidden, len(items), rows):
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
    return with_gradient(hidden, items, total, d_hidden, d_items)


def sampled_cross_entropy(
    hidden: Tensor,
    items: Tensor,
    target: Tensor,
    drawn: Tensor,
    log_expected: Tensor,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Sum over positions of the cross-entropy of a softmax over the target and a draw that all positions share.

    The draw stands for all items: each drawn logit s is entered as s - log E, where E is how often its item was to be
    expected in the draw (the "logQ correction", Bengio and Senecal 2008). A position leaves its own target out of the
    draw and enters it once, uncorrected; so the sum of exponentials is an unbiased estimate of the full softmax's.

    Parameters
    ----------
    hidden, items, target, rows, dtype
        See :func:`full_cross_entropy`.
    drawn : Tensor, shape (drawn,), int64
        Items, repeats included.
    log_expected : Tensor, shape (drawn,), float32
        Logarithm of E; for ``drawn`` independent draws with probability q, log(drawn x q).

    Returns
    -------
    Tensor, scalar
        In nats; differentiable once in ``hidden`` and ``items``.
    """
    dtype, train = dtype or hidden.dtype, learns(hidden, items)
    with torch.no_grad():
        total = hidden.new_zeros(())
        right_items, drawn_items = items[target], items[drawn]
        right = (hidden * right_items).sum(1, keepdim=True)
        d_hidden, d_right, d_drawn = torch.empty_like(hidden), torch.empty_like(right), torch.zeros_like(drawn_items)
        low_hidden, low_items = hidden.to(dtype), drawn_items.to(dtype)
        for part in blocks(hidden, len(drawn), rows):
            logits = (low_hidden[part] @ low_items.T).to(hidden.dtype).sub_(log_expected)
            logits.masked_fill_(drawn == target[part, None], -torch.inf)
            top = torch.maximum(logits.amax(1, keepdim=True), right[part])
            weights, right_weight = logits.sub_(top).exp_(), (right[part] - top).exp()
            mass = weights.sum(1, keepdim=True) + right_weight
            total += (mass.log() + top - right[part]).sum()
            if train:
                low_weights = weights.to(dtype)
                d_right[part] = right_weight / mass - 1
                d_hidden[part] = (low_weights @ low_items) / mass
                d_drawn += low_weights.T @ (hidden[part] / mass).to(dtype)
        d_items = torch.zeros_like(items)
        if train:
            d_hidden += d_right * right_items
            d_items.index_add_(0, drawn, d_drawn).index_add_(0, target, d_right * hidden)
    return with_gradient(hidden, items, total, d_hidden, d_items)
