"""Candidates through the last layers, behind users whose keys and values are known, up to the states of their [EOS].

Both passes compute the row of [EOS] alone where only that is asked for: in the last layer all other tokens of a
candidate are keys and values, and need no queries, no attention and no feed-forward network.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from llm_models.backbones.blocks import Block, KeysValues
from llm_models.backbones.layout import attention_bias
from llm_models.backbones.stack import Adapters, Stack
from llm_models.m6.serving.attention import Own, merged, read
from llm_models.m6.serving.chunks import Chunk

__all__ = ["Ends", "Kept", "Projected", "run_all", "run_ends"]


class Projected(NamedTuple):
    """What the first layer of a pass makes of its input, rotated from position 0 on.

    Attributes
    ----------
    queries : Tensor, shape (1, heads, tokens, size)
    own : KeysValues
        Each of shape (1, key heads, tokens, size).
    """

    queries: Tensor
    own: KeysValues


class Kept(NamedTuple):
    """Keys and values of candidates that share a rectangle.

    Attributes
    ----------
    candidates : int
        How many.
    layer : callable
        Number of a late layer, from 0, to keys and values, each of shape (candidates, key heads, room, size), for the
        caller to change: first of [EOS], then of the other tokens in order, then anything. Of [EOS] those of the first
        late layer alone mean anything.
    """

    candidates: int
    layer: Callable[[int], KeysValues]


class Ends(NamedTuple):
    """What is known of candidates before they meet a user, where only [EOS] reads the user.

    Attributes
    ----------
    hidden : Tensor, shape (candidates, width)
        Of [EOS], what the first layer reads.
    queries : Tensor, shape (candidates, heads, size)
        Of [EOS], of the first layer.
    kept : tuple of Kept
        They cover all candidates, in order.
    """

    hidden: Tensor
    queries: Tensor
    kept: tuple[Kept, ...]


def run_all(
    stack: Stack, adapters: Adapters | None, hidden: Tensor, chunk: Chunk, ready: Projected | None = None
) -> Tensor:
    """Run all tokens of candidates, each of which reads the user.

    Parameters
    ----------
    hidden : Tensor, shape (1, tokens, width)
        What layer ``chunk.first`` reads.
    ready : Projected or None
        Of that layer, where it is known.

    Returns
    -------
    Tensor, shape (candidates, width)
        At [EOS], after the last layer and the final normalisation.
    """
    last, ends = stack.depth - 1, chunk.stops - 1
    for number in range(chunk.first, last):
        block = stack.blocks[number]
        assert isinstance(block, Block)
        if ready is None or number > chunk.first:
            queries, own = block.project(hidden, chunk.rotation(block, ends=False))
        else:
            queries, own = ready
        mine = read(_rows(queries, chunk), KeysValues(*(_rows(part, chunk) for part in own)), *_causal(block, chunk))
        flat = mine.values.transpose(1, 2).flatten(0, 1).index_select(0, chunk.real)  # (tokens, heads, size)
        weight = mine.weight.transpose(1, 2).flatten(0, 1).index_select(0, chunk.real)
        mine = mine._replace(values=flat.transpose(0, 1)[None], weight=weight.T[None])
        found = merged(chunk.read_users(number, queries), mine)
        hidden = block.combine(hidden, found.transpose(1, 2).flatten(2), adapters(number) if adapters else None)
    block = stack.blocks[last]
    assert isinstance(block, Block)
    own = block.keys_values(hidden, chunk.rotation(block, ends=False))
    hidden = hidden[:, ends]
    queries = block.queries(hidden, chunk.rotation(block, ends=True))
    far = (chunk.lengths - 1).unsqueeze(1) - torch.arange(chunk.longest, device=ends.device)
    rows = Own(KeysValues(*(_rows(part, chunk) for part in own)), _near(block, far) & (far >= 0))
    found = chunk.read_at_ends(last, queries, [rows])
    ended: Tensor = stack.final(block.combine(hidden, found, adapters(last) if adapters else None))
    return ended[0]


def run_ends(stack: Stack, adapters: Adapters | None, known: Ends, chunk: Chunk) -> Tensor:
    """Run [EOS] alone through the layers; see :func:`run_all` for what is returned."""
    hidden, queries = known.hidden[None], known.queries.transpose(0, 1)[None]
    for number in range(chunk.first, stack.depth):
        block = stack.blocks[number]
        assert isinstance(block, Block)
        fresh: KeysValues | None = None
        if number > chunk.first:
            queries, fresh = block.project(hidden, chunk.rotation(block, ends=True))
        own, start = [], 0
        for part in known.kept:
            of = slice(start, start := start + part.candidates)
            kept = part.layer(number - chunk.first)
            if fresh is not None:
                for held, new in zip(kept, fresh, strict=True):
                    held[:, :, 0] = new[0, :, of].transpose(0, 1)
            place = torch.arange(kept.keys.shape[2], device=hidden.device)
            lengths = chunk.lengths[of].unsqueeze(1)
            # The end stands first; token n stands n + 1 places in, and behind the last there is nothing.
            near = _near(block, torch.where(place == 0, 0, lengths - place))
            own.append(Own(kept, near & (place < lengths)))
        hidden = block.combine(hidden, chunk.read_at_ends(number, queries, own), adapters(number) if adapters else None)
    ended: Tensor = stack.final(hidden)
    return ended[0]


def _near(block: Block, far: Tensor) -> Tensor:
    """Whether a token reads what stands ``far`` places back."""
    return torch.ones_like(far, dtype=torch.bool) if block.window is None else far <= block.window


def _rows(states: Tensor, chunk: Chunk) -> Tensor:
    """(1, heads, tokens, size) -> (candidates, heads, longest, size)."""
    found = states[0].transpose(0, 1).index_select(0, chunk.padded)
    return found.unflatten(0, (len(chunk.lengths), chunk.longest)).transpose(1, 2)


def _causal(block: Block, chunk: Chunk) -> tuple[Tensor | None, bool]:
    """Bias, and whether a causal mask is all that is needed. What stands behind a candidate's end is read by none."""
    if block.window is None or block.window >= chunk.longest:
        return None, True
    place = torch.arange(chunk.longest, device=chunk.lengths.device)
    far = place.unsqueeze(1) - place
    return attention_bias(((far >= 0) & (far <= block.window))[None], chunk.stack.dtype), False
