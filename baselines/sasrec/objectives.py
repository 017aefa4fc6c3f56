"""What training minimises: a loss by name, with the negatives it draws.

Draws come from torch's global generator of the device, which the caller seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from baselines.sasrec.pairwise import binary_cross_entropy, calibrated_weight
from baselines.sasrec.softmax import full_cross_entropy, sampled_cross_entropy

__all__ = ["Objective", "make_objective"]

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From encoded positions, all item vectors and targets to the sum of the losses of the positions."""


def make_objective(
    loss: Literal["ce", "bce", "gbce", "sampled"],
    *,
    met: Tensor,
    items: int,
    negatives: int,
    calibration: float,
    draw: Literal["uniform", "popularity"],
    dtype: torch.dtype,
) -> Objective:
    """Make the objective that :class:`~baselines.sasrec.model.SASRecSettings` describes.

    Parameters
    ----------
    met : Tensor, shape (events,), int64
        The item of every training event, on the device of the network: what is drawn from by popularity.
    items : int
        Number of items; losses with negatives of their own position need two.
    negatives : int
        Draws a call for ``"sampled"``, a position for ``"bce"`` and ``"gbce"``.

    Returns
    -------
    callable
        Draws anew at every call.
    """
    if loss == "ce":
        return partial(full_cross_entropy, dtype=dtype)
    if loss == "sampled":
        shared = _by_popularity(met, items, negatives) if draw == "popularity" else _uniform(met, items, negatives)
        return lambda hidden, vectors, target: sampled_cross_entropy(hidden, vectors, target, *shared(), dtype=dtype)
    weight = calibrated_weight(negatives, items, calibration if loss == "gbce" else 0.0)

    def pairwise(hidden: Tensor, vectors: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(hidden, vectors, target, _others(target, items, negatives), weight=weight)

    return pairwise


def _others(target: Tensor, items: int, count: int) -> Tensor:
    """Draw items uniformly from all but the target, shape (positions, count), repeats included.

    What else the user met may be drawn, as in gSASRec; Kang and McAuley leave it out.
    """
    drawn = torch.randint(items - 1, (len(target), count), device=target.device)
    return drawn + (drawn >= target[:, None])


def _uniform(met: Tensor, items: int, count: int) -> Callable[[], tuple[Tensor, Tensor]]:
    log_expected = torch.full((count,), count / items, device=met.device).log()
    return lambda: (torch.randint(items, (count,), device=met.device), log_expected)


def _by_popularity(met: Tensor, items: int, count: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Draw the items of random training events."""
    log_expected = (met.bincount(minlength=items) * (count / len(met))).log()

    def draw() -> tuple[Tensor, Tensor]:
        drawn = met[torch.randint(len(met), (count,), device=met.device)]
        return drawn, log_expected[drawn]

    return draw
