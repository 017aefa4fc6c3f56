"""Gradual magnitude pruning: while a network trains, more and more of its smallest weights are held at 0.

The share pruned after step t follows the cubic schedule of Zhu and Gupta, "To prune, or not to prune" (2017):
s_t = s_f (1 - (1 - (t - t_0) / (t_1 - t_0))^3) from step t_0 to t_1, s_f from then on. A weight once pruned is the
smallest there is, so it stays pruned. Magnitudes are compared over all matrices at once (``"global"``) or within each
(``"layer"``).

What is pruned: every matrix of the stack's layers, and its word vectors; not vectors (biases, normalisations), not
positions, and nothing of a tuning. Where the stack itself is frozen, its surviving weights stay as they are and what
is trained learns to live with the rest.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from llm_models.backbones.stack import Stack

__all__ = ["Pruner", "Schedule", "prunable"]


@dataclass(frozen=True)
class Schedule:
    """Which share of the weights is pruned after which step.

    Attributes
    ----------
    share : float
        At the end, 0 to 1.
    first, last : int
        Steps between which it grows.
    every : int
        Steps between two prunings.
    """

    share: float = 0.8
    first: int = 0
    last: int = 1000
    every: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 <= self.first < self.last or self.every < 1:
            raise ValueError(f"a pruning schedule needs 0 <= share <= 1, 0 <= first < last and every >= 1, not {self}")

    def at(self, step: int) -> float:
        """The share after ``step`` optimiser steps."""
        done = min(max(step - self.first, 0) / (self.last - self.first), 1.0)
        return self.share * (1 - (1 - done) ** 3)

    def due(self, step: int) -> bool:
        """Whether to prune after this step: every so often while the share grows, and at its end."""
        return self.first <= step <= self.last and ((step - self.first) % self.every == 0 or step == self.last)


def prunable(stack: Stack) -> dict[str, nn.Parameter]:
    """The matrices of a stack's layers and its word vectors, by name; a matrix that several layers share once."""
    return {
        name: weight
        for name, weight in stack.named_parameters()
        if weight.ndim == 2 and name.startswith(("blocks.", "words."))
    }


class Pruner:
    """Masks on a stack's matrices.

    Parameters
    ----------
    stack : Stack
        Changed in place.
    schedule : Schedule
    scope : {"global", "layer"}
        Over what the smallest weights are looked for.
    """

    def __init__(self, stack: Stack, schedule: Schedule, *, scope: Literal["global", "layer"] = "global") -> None:
        self.schedule, self.scope = schedule, scope
        self.weights = prunable(stack)
        self.masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}

    @property
    def share(self) -> float:
        """Share of the weights that is pruned now."""
        kept = sum(int(mask.sum()) for mask in self.masks.values())
        return 1 - kept / sum(mask.numel() for mask in self.masks.values())

    def after_step(self, step: int) -> None:
        """Prune if it is due after optimiser step ``step`` (from 1), and put pruned weights back to 0."""
        if self.schedule.due(step):
            self.prune(self.schedule.at(step))
        self.enforce()

    @torch.no_grad()
    def prune(self, share: float) -> None:
        """Mask the smallest weights: of all (or of each matrix) exactly the share, rounded to whole weights."""
        self.enforce()
        groups = [list(self.weights)] if self.scope == "global" else [[name] for name in self.weights]
        for names in groups:
            sizes = [self.weights[name].numel() for name in names]
            magnitude = torch.cat([self.weights[name].abs().flatten() for name in names])
            # A weight that is 0 for another reason must not take the place of one that is pruned.
            magnitude[~torch.cat([self.masks[name].flatten() for name in names])] = -1
            kept = torch.ones_like(magnitude, dtype=torch.bool)
            kept[magnitude.topk(round(share * len(magnitude)), largest=False, sorted=False).indices] = False
            for name, part in zip(names, kept.split(sizes), strict=True):
                self.masks[name] = part.view_as(self.weights[name])
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Set every masked weight to 0."""
        for name, weight in self.weights.items():
            weight.masked_fill_(~self.masks[name], 0)
