"""Candidates through the last layers, behind users whose keys and values are known, up to the states of their [EOS].

Both passes compute the row of [EOS] alone where only that is asked for: in the last layer all other tokens of a
candidate are keys and values, and need no queries, no attention and no feed-forward network.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from llm_models.backbones.blocks import Block, KeysValues
from llm_models.backbones.layout import attention_bias
from llm_models.backbones.stack import Adapters, Stack
from llm_models.m6.serving.attention import merged, read
from llm_models.m6.serving.chunks import Chunk

__all__ = ["Ends", "Projected", "run_all", "run_ends"]


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


class Ends(NamedTuple):
    """What is known of candidates before they meet a user, where only [EOS] reads the user.

    Attributes
    ----------
    hidden : Tensor, shape (candidates, width)
        Of [EOS], what the first layer reads.
    queries : Tensor, shape (candidates, heads, size)
        Of [EOS], of the first layer.
    keys_values : Tensor, shape (candidates, layers, 2, key heads, room, size)
        First of [EOS], then of the other tokens in order, then anything. Of [EOS] the first layer's alone are used.
    """

    hidden: Tensor
    queries: Tensor
    keys_values: Tensor


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
        found = merged(chunk.read_users(number, queries, ends=False), mine)
        hidden = block.combine(hidden, found.transpose(1, 2).flatten(2), adapters(number) if adapters else None)
    block = stack.blocks[last]
    assert isinstance(block, Block)
    own = block.keys_values(hidden, chunk.rotation(block, ends=False))
    hidden = hidden[:, ends]
    queries = block.queries(hidden, chunk.rotation(block, ends=True))
    far = (chunk.lengths - 1).unsqueeze(1) - torch.arange(chunk.longest, device=ends.device)
    rows = KeysValues(*(_rows(part, chunk) for part in own))
    return stack.final(_layer(stack, adapters, last, hidden, queries, rows, far, chunk))[0]


def run_ends(stack: Stack, adapters: Adapters | None, known: Ends, chunk: Chunk) -> Tensor:
    """Run [EOS] alone through the layers; see :func:`run_all` for what is returned."""
    place = torch.arange(known.keys_values.shape[4], device=chunk.lengths.device)
    # The end stands first; token n behind it is n + 1 places in.
    far = torch.where(place == 0, 0, chunk.lengths.unsqueeze(1) - place)
    far = torch.where((place > 0) & (far < 1), -1, far)  # behind the candidate: room that is not used
    hidden, queries = known.hidden[None], known.queries.transpose(0, 1)[None]
    for number in range(chunk.first, stack.depth):
        block = stack.blocks[number]
        assert isinstance(block, Block)
        keys, values = known.keys_values[:, number - chunk.first].unbind(1)
        if number > chunk.first:
            queries, own = block.project(hidden, chunk.rotation(block, ends=True))
            keys[:, :, 0], values[:, :, 0] = own.keys[0].transpose(0, 1), own.values[0].transpose(0, 1)
        hidden = _layer(stack, adapters, number, hidden, queries, KeysValues(keys, values), far, chunk)
    return stack.final(hidden)[0]


def _layer(
    stack: Stack,
    adapters: Adapters | None,
    number: int,
    hidden: Tensor,
    queries: Tensor,
    own: KeysValues,
    far: Tensor,
    chunk: Chunk,
) -> Tensor:
    """A layer for one token of each candidate, shape (1, candidates, width).

    ``own`` is of shape (candidates, key heads, room, size); ``far``, shape (candidates, room), is how many tokens
    back each key stands, negative where there is none.
    """
    block = stack.blocks[number]
    assert isinstance(block, Block)
    near = (far >= 0) if block.window is None else (far >= 0) & (far <= block.window)
    bias = attention_bias(near.unsqueeze(1), torch.float32)
    mine = read(queries[0].transpose(0, 1).unsqueeze(2), own, bias)
    mine = mine._replace(values=mine.values.squeeze(2).transpose(0, 1)[None], weight=mine.weight.squeeze(2).T[None])
    found = merged(chunk.read_users(number, queries, ends=True), mine)
    return block.combine(hidden, found.transpose(1, 2).flatten(2), adapters(number) if adapters else None)


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
