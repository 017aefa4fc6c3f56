"""Distillation of attention relations into a smaller stack, before any task is tuned.

Of one layer of the teacher and the last of the student the queries of all tokens are compared with one another, softmax
(q q^T / sqrt(d)), and keys and values likewise; the loss is the mean of the three divergences KL(teacher || student).
Queries of all heads stand side by side and are cut anew into *relation heads*, so the two may differ in width and in
heads. Tokens see of each other what the mask of the prefix language model lets them.

Source: Wang et al., "MiniLM", 2020, and "MiniLMv2: Multi-Head Self-Attention Relation Distillation", 2021. M6-Rec does
this while it pre-trains (to 24 layers that share one set of weights, 128-d word vectors projected up); here it is done
on the texts of the training data, by default from a student that starts with what fits of the teacher: its word vectors
(the best approximation of their rank, where the student's are shorter) and, where the widths agree, evenly spaced
layers. In a student whose layers are not shared, what stands behind the last layer's projections gets no gradient.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from llm_models.backbones.compact import CompactStack, Factorised
from llm_models.backbones.layout import Layout
from llm_models.backbones.stack import Stack

__all__ = ["distil", "relation_loss", "relations", "start_from"]


def relations(
    stack: Stack, tokens: Tensor, layout: Layout, *, layer: int | None = None
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Queries, keys and values of a layer, heads side by side.

    Parameters
    ----------
    tokens : Tensor of int64, shape (rows, tokens)
    layout : Layout
    layer : int or None
        From 1; ``None``: the last.

    Returns
    -------
    tuple of three Tensors, each of shape (rows, tokens, heads * size)
    Tensor of bool, shape (rows, tokens, tokens)
        Who sees whom.
    """
    layer = stack.depth if layer is None else layer
    positions, visible = layout.positions(restart=False), layout.visible(blocks=False)
    hidden = stack.begin(stack.words(tokens), positions)
    hidden = stack.run(hidden, visible, positions, last=layer - 1).hidden
    block = stack.blocks[layer - 1]
    queries, (keys, values) = block.project(hidden, stack.rotation(positions, block))
    query, key, value = (part.transpose(1, 2).flatten(2) for part in (queries, keys, values))
    return (query, key, value), visible


def relation_loss(
    teacher: tuple[Tensor, ...], student: tuple[Tensor, ...], visible: Tensor, real: Tensor, *, heads: int
) -> Tensor:
    """Mean divergence of the student's relations from the teacher's, in nats.

    Parameters
    ----------
    teacher, student : tuple of Tensors, each of shape (rows, tokens, width of its own)
        From :func:`relations`.
    visible : Tensor of bool, shape (rows, tokens, tokens)
    real : Tensor of bool, shape (rows, tokens)
        Which tokens count.
    heads : int
        Relation heads; they divide all widths.
    """
    losses = []
    for theirs, ours in zip(teacher, student, strict=True):
        goal, found = _log_relation(theirs, visible, heads), _log_relation(ours, visible, heads)
        # Hidden pairs have probability 0, and a finite logarithm so that nothing is lost to 0 * inf.
        each = (goal.exp() * (goal - found)).sum(dim=3).mean(dim=1)
        losses.append(each[real].mean())
    return torch.stack(losses).mean()


def _log_relation(states: Tensor, visible: Tensor, heads: int) -> Tensor:
    """Log-softmax of scaled dot products, float32, shape (rows, heads, tokens, tokens)."""
    if states.shape[2] % heads:
        raise ValueError(f"{heads} relation heads do not divide queries, keys or values of length {states.shape[2]}")
    cut = states.float().unflatten(2, (heads, -1)).transpose(1, 2)
    products = cut @ cut.transpose(2, 3) * cut.shape[3] ** -0.5
    return products.masked_fill(~visible.unsqueeze(1), torch.finfo(products.dtype).min / 2).log_softmax(dim=3)


def distil(
    teacher: Stack,
    student: Stack,
    batches: Iterable[tuple[Tensor, Layout]],
    *,
    heads: int,
    layer: int | None = None,
    learning_rate: float = 3e-4,
    weight_decay: float = 0.01,
    warm_up: int = 20,
    told: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a student in place; it ends frozen.

    Parameters
    ----------
    teacher, student : Stack
        With the same words.
    batches : iterable of (Tensor of int64, Layout)
        Tokens of each step; their number is the number of steps.
    heads : int
        Relation heads.
    layer : int or None
        Of the teacher, from 1; ``None``: its last.
    learning_rate, weight_decay, warm_up
        Of AdamW; the rate rises over ``warm_up`` steps.
    told : callable or None
        Called after each step with its number, from 1, and its loss.

    Returns
    -------
    list of float
        Loss of each step.
    """
    if layer is not None and not 1 <= layer <= teacher.depth:
        raise ValueError(f"the teacher has layers 1 to {teacher.depth}, not {layer}")
    student.requires_grad_(True)
    optimiser = torch.optim.AdamW(student.parameters(), lr=learning_rate, weight_decay=weight_decay)
    losses = []
    for step, (tokens, layout) in enumerate(batches, start=1):
        with torch.no_grad():
            goal, visible = relations(teacher, tokens, layout, layer=layer)
        found, _ = relations(student, tokens, layout)
        loss = relation_loss(goal, found, visible, layout.real, heads=heads)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, step / max(warm_up, 1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if told is not None:
            told(step, losses[-1])
    student.requires_grad_(False)
    return losses


@torch.no_grad()
def start_from(student: CompactStack, teacher: Stack) -> None:
    """Give a student what fits of its teacher: word vectors, positions, and evenly spaced layers.

    Word vectors that must be shorter become the nearest of their rank (Eckart and Young); where the student is narrower
    than the teacher its word vectors are the leading components of the teacher's. Layers are copied where all their
    shapes agree; a shared layer gets the teacher's middle one.
    """
    _start_words(student, teacher.words.weight.float())
    own = dict(student.named_parameters())
    fitting = {
        name: weight
        for name, weight in teacher.named_parameters()
        if not name.startswith(("blocks.", "words.")) and name in own and own[name].shape == weight.shape
    }
    for name, weight in fitting.items():
        own[name].copy_(weight)
    distinct = list(dict.fromkeys(student.blocks))
    for number, block in enumerate(distinct):
        place = int((number + 0.5) * teacher.depth / len(distinct))
        source = dict(teacher.blocks[place].named_parameters())
        target = dict(block.named_parameters())
        if source.keys() == target.keys() and all(source[name].shape == target[name].shape for name in target):
            for name, weight in target.items():
                weight.copy_(source[name])


def _start_words(student: CompactStack, table: Tensor) -> None:
    """Word vectors from a teacher's, shape (words, width of the teacher)."""
    words, width = student.words, table.shape[1]
    factorised = isinstance(words, Factorised)
    length = words.table.embedding_dim if factorised else student.width
    if length > width:
        return
    # Of words x width only the small side is decomposed; all directions together change nothing.
    spread, directions = torch.linalg.eigh(table.T @ table)
    leading = directions[:, spread.argsort(descending=True)[:length]] if length < width else torch.eye(width)
    (words.table if factorised else words).weight.copy_(table @ leading)
    if factorised and student.width == width:
        words.up.weight.copy_(leading)
