"""Early exit: a loss at every layer in training, an answer from any of them in serving.

All layers share the task's classifier (its soft options). With late interaction the first L' layers read segments
alone, so the exits are the L - L' layers after them; they are numbered k = 1 to K, and without late interaction K is
the depth of the stack. A stack with a final normalisation applies it before every exit.

Two readings of the weight of layer k are in circulation for M6-Rec: 2k / (k (k + 1)), as it is quoted, which is
2 / (k + 1), falls with depth and does not sum to 1; and 2k / (K (K + 1)), which rises with depth and sums to 1. Both
are here (``"quoted"``, ``"normalised"``).

In serving a row leaves the batch when its targets have left, and later layers compute the others only. They leave at
a fixed depth (a class of device); when the same class came out ahead at several exits in a row (*patience*: Zhou et
al., "BERT Loses Patience", 2020); or when the entropy of the answer is low (Xin et al., "DeeBERT", 2020).

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from llm_models.backbones.layout import Layout
from llm_models.m6.network import Batch, M6Network, segment_kinds

__all__ = [
    "AtDepth",
    "Certain",
    "Exits",
    "Leaving",
    "Patient",
    "Weighting",
    "answer",
    "every_exit",
    "exit_loss",
    "exit_weights",
    "leave",
]

Weighting = Literal["quoted", "normalised"]


def exit_weights(exits: int, weighting: Weighting) -> Tensor:
    """Weights of the losses at exits 1 to ``exits``, float32, shape (exits,)."""
    k = torch.arange(1, exits + 1)
    return 2 / (k + 1) if weighting == "quoted" else 2 * k / (exits * (exits + 1))


def every_exit(network: M6Network, batch: Batch) -> Tensor:
    """Logits of every exit for a batch of one task, float32, shape (exits, targets, classes).

    Targets stand row by row in the order of the batch.
    """
    task = _only_task(network, batch)
    layout, hidden = _before_exits(network, batch)
    positions, visible = _seen(network, layout)
    run = network.stack.run(
        hidden, visible, positions, first=network.late, adapters=network.adapters(batch.tasks), every_layer=True
    )
    states = [network.stack.final(layer[layout.ends]) for layer in run.layers]
    return torch.stack([network.tuning(task).classify(state) for state in states])


def exit_loss(network: M6Network, batch: Batch, labels: Tensor, weighting: Weighting) -> Tensor:
    """Weighted sum over the exits of the mean cross-entropy.

    Parameters
    ----------
    batch : Batch
        Of one task.
    labels : Tensor of int64, shape (targets,)
    weighting : {"quoted", "normalised"}
    """
    logits = every_exit(network, batch)
    losses = torch.stack([functional.cross_entropy(each, labels) for each in logits])
    return exit_weights(len(losses), weighting).to(losses.device) @ losses


class Leaving(Protocol):
    """When targets leave."""

    @property
    def last(self) -> int | None:
        """The exit, from 1, that nothing goes past; ``None``: the last there is."""

    def leaves(self, answers: Tensor) -> Tensor:
        """Which leave now, bool, shape (targets,), given logits so far, shape (exits so far, targets, classes)."""


@dataclass(frozen=True)
class AtDepth:
    """All leave at the same exit, from 1."""

    last: int

    def leaves(self, answers: Tensor) -> Tensor:
        """See :class:`Leaving`."""
        return torch.full((answers.shape[1],), len(answers) == self.last, device=answers.device)


@dataclass(frozen=True)
class Patient:
    """A target leaves when ``exits`` exits in a row, at least 1, have given the same class."""

    exits: int
    last: ClassVar[None] = None

    def leaves(self, answers: Tensor) -> Tensor:
        """See :class:`Leaving`."""
        if len(answers) < self.exits:
            return torch.zeros(answers.shape[1], dtype=torch.bool, device=answers.device)
        classes = answers[-self.exits :].argmax(dim=2)
        return (classes == classes[-1]).all(dim=0)


@dataclass(frozen=True)
class Certain:
    """A target leaves when the entropy of its answer, in nats, is below ``entropy``."""

    entropy: float
    last: ClassVar[None] = None

    def leaves(self, answers: Tensor) -> Tensor:
        """See :class:`Leaving`."""
        logs = answers[-1].log_softmax(dim=1)
        return -(logs.exp() * logs).sum(dim=1) < self.entropy


class Exits(NamedTuple):
    """What targets left with, row by row in the order of the batch.

    Attributes
    ----------
    logits : Tensor of float32, shape (targets, classes)
    exit : Tensor of int64, shape (targets,)
        Number of the exit, from 1.
    """

    logits: Tensor
    exit: Tensor


@torch.inference_mode()
def answer(network: M6Network, batch: Batch, leaving: Leaving) -> Exits:
    """Answer a batch of one task layer by layer; a layer is computed for the rows that have a target left."""
    task = _only_task(network, batch)
    tuning, stack = network.tuning(task), network.stack
    layout, hidden = _before_exits(network, batch)
    positions, visible = _seen(network, layout)
    exits = stack.depth - network.late if leaving.last is None else min(leaving.last, stack.depth - network.late)
    # The places of each row's targets, in order, and others to fill up.
    wanted = int(layout.ends.sum(dim=1).max())
    at = layout.ends.int().argsort(dim=1, descending=True, stable=True)[:, :wanted]
    targets = layout.ends.gather(1, at)
    logits = torch.zeros(*at.shape, tuning.classes, device=at.device)
    taken = torch.zeros_like(at)
    rows, left, answers = torch.arange(len(at), device=at.device), targets, logits[None][:0]
    for number in range(1, exits + 1):
        layer, is_last = network.late + number - 1, number == exits
        adapters = network.adapters(((task, len(rows)),))
        # After the last of these layers nothing else is read.
        only = at if is_last else None
        run = stack.run(hidden, visible, positions, first=layer, last=layer + 1, adapters=adapters, at=only)
        hidden = run.hidden
        states = hidden if is_last else hidden.take_along_dim(at.unsqueeze(2), dim=1)
        # The stack itself normalises after its last layer.
        said = tuning.classify(states if layer + 1 == stack.depth else stack.final(states))
        answers = torch.cat([answers, said[None]])
        gone = left if is_last else left & leaving.leaves(answers.flatten(1, 2)).view_as(left)
        logits[rows] = torch.where(gone.unsqueeze(2), said, logits[rows])
        taken[rows] = torch.where(gone, number, taken[rows])
        left = left & ~gone
        stay = left.any(dim=1)
        if not stay.any():
            break
        if not stay.all():
            rows, left, at, answers = rows[stay], left[stay], at[stay], answers[:, stay]
            hidden, positions, visible = hidden[stay], positions[stay], visible[stay]
    return Exits(logits[targets], taken[targets])


def leave(answers: Tensor, leaving: Leaving) -> Exits:
    """What :func:`answer` would give, of the logits that :func:`every_exit` gave, shape (exits, targets, classes)."""
    exits = len(answers) if leaving.last is None else min(leaving.last, len(answers))
    gone = torch.stack([leaving.leaves(answers[:number]) for number in range(1, exits + 1)])
    gone[-1] = True
    first = gone.int().argmax(dim=0)
    return Exits(answers[first, torch.arange(answers.shape[1], device=answers.device)], first + 1)


def _before_exits(network: M6Network, batch: Batch) -> tuple[Layout, Tensor]:
    """The layout with soft prompts, and what the first layer with an exit reads."""
    embedded = network.embed(batch)
    hidden = network.lower(embedded, batch.tasks)
    if network.late:
        kinds = segment_kinds(embedded.layout, embedded.prompts)
        hidden = hidden + network.segments[kinds].to(hidden.dtype)
    return embedded.layout, hidden


def _seen(network: M6Network, layout: Layout) -> tuple[Tensor, Tensor]:
    """Positions, and who sees whom, in the layers with an exit."""
    return layout.positions(restart=False), layout.visible(blocks=False, only_ends=network.reading == "end")


def _only_task(network: M6Network, batch: Batch) -> str:
    tasks = {task for task, _ in batch.tasks}
    if len(tasks) != 1:
        raise ValueError(f"early exit answers one task at a time, and this batch holds rows of {sorted(tasks)}")
    if network.late == network.stack.depth:
        raise ValueError("no layer reads users and candidates together, so there is no exit: set late below the depth")
    return tasks.pop()
