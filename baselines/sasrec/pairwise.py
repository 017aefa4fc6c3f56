"""Binary cross-entropy of the next item against negatives that each position draws for itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from baselines.sasrec.fused import blocks, learns, with_gradient

__all__ = ["binary_cross_entropy", "calibrated_weight"]


def calibrated_weight(negatives: int, items: int, calibration: float) -> float:
    """Exponent of the positive probability in the generalised binary cross-entropy, between 0 and 1.

    beta = 1 - t (1 - alpha), with alpha = negatives / (items - 1) the share of negatives that is drawn: at t = 0 plain
    binary cross-entropy, whose scores are overconfident when few negatives are drawn; at t = 1 fully calibrated scores.
    Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative
    Sampling", RecSys 2023, where it reads alpha (t (1 - 1 / alpha) + 1 / alpha).
    """
    return 1 - calibration * (1 - min(1.0, negatives / (items - 1)))


def binary_cross_entropy(
    hidden: Tensor, items: Tensor, target: Tensor, drawn: Tensor, *, weight: float = 1.0, rows: int | None = None
) -> Tensor:
    """Sum over positions of -(weight log p(target) + the sum of log(1 - p(drawn))) / (1 + k).

    p is the logistic function of the dot product; with a weight below 1 this is the generalised binary cross-entropy,
    as weight log p = log p^weight.

    Parameters
    ----------
    hidden : Tensor, shape (positions, size), float32
    items : Tensor, shape (items, size), float32
    target : Tensor, shape (positions,), int64
    drawn : Tensor, shape (positions, k), int64
        Negatives of each position.
    weight : float
        Of the positive, see :func:`calibrated_weight`.
    rows : int, optional
        Positions a block; by default as many as keep a block within the cache.

    Returns
    -------
    Tensor, scalar
        In nats; differentiable once in ``hidden`` and ``items``.
    """
    train, scale = learns(hidden, items), 1 / (1 + drawn.shape[1])
    with torch.no_grad():
        right_items = items[target]
        right = (hidden * right_items).sum(1, keepdim=True)
        total = weight * functional.softplus(-right).sum()
        d_right = -weight * torch.sigmoid(-right)
        d_hidden, d_items = d_right * right_items, torch.zeros_like(items)
        for part in blocks(hidden, drawn.shape[1] * hidden.shape[1], rows):
            vectors, own = items[drawn[part]], hidden[part, None]
            logits = own @ vectors.mT
            total += functional.softplus(logits).sum()
            if train:
                slope = logits.sigmoid_()
                d_hidden[part] += (slope @ vectors).squeeze(1)
                d_items.index_add_(0, drawn[part].flatten(), (slope.mT * own).flatten(0, 1))
        if train:
            d_items.index_add_(0, target, d_right * hidden)
    return with_gradient(hidden, items, total * scale, d_hidden * scale, d_items * scale)
