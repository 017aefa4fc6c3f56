"""Attention in parts: what is read of the user and of the candidate itself, computed apart and put together exactly.

A softmax over two groups of keys is the mean of the softmaxes over each, weighted by the sums of their exponentials
(the rule of FlashAttention, Dao et al., 2022). So keys of a user stay as they are, once, for all candidates, instead of
being copied beside the keys of each.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from llm_models.backbones.blocks import KeysValues

__all__ = ["Own", "Read", "merged", "read", "read_apart", "read_together"]

# Private, but the only attention on CPUs that tells the sum of the exponentials; where it is missing, read() counts.
_FLASH = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)


class Read(NamedTuple):
    """What queries took from some keys.

    Attributes
    ----------
    values : Tensor, shape (rows, heads, queries, size)
        Mean of the values, weighted by the softmax over these keys.
    weight : Tensor of float32, shape (rows, heads, queries)
        Logarithm of the sum of the exponentials of the logits.
    """

    values: Tensor
    weight: Tensor


def read(queries: Tensor, own: KeysValues, bias: Tensor | None = None, causal: bool = False) -> Read:
    """Read keys.

    Parameters
    ----------
    queries : Tensor, shape (rows, heads, queries, size)
    own : KeysValues
        Heads may be fewer, as many times as they divide those of the queries.
    bias : Tensor or None, broadcast to (rows, heads, queries, keys)
        Added to the logits.
    causal : bool
        Query n reads keys up to n; not together with a bias.
    """
    keys, values = _spread(own, queries.shape[1])
    size = queries.shape[-1]
    if not keys.shape[2]:
        return Read(torch.zeros_like(queries), queries.new_full(queries.shape[:-1], -torch.inf, dtype=torch.float32))
    if _FLASH is not None and queries.device.type == "cpu":
        return Read(*_FLASH(queries, keys, values, 0.0, causal, attn_mask=bias, scale=size**-0.5)[:2])
    logits = (queries @ keys.mT).float() * size**-0.5
    if causal:
        logits = logits.masked_fill(torch.ones_like(logits[0, 0], dtype=torch.bool).triu(1), -torch.inf)
    if bias is not None:
        logits = logits + bias
    return Read(logits.softmax(dim=-1).to(values.dtype) @ values, logits.logsumexp(dim=-1))


def read_apart(queries: Tensor, users: Sequence[tuple[KeysValues, slice]], biases: Sequence[Tensor | None]) -> Read:
    """Read the keys of several users, each with queries of its own.

    Parameters
    ----------
    queries : Tensor, shape (1, heads, queries, size)
    users : sequence of (KeysValues of one row, slice)
        The slices cover all queries, in order.
    biases : sequence of (Tensor or None)
        Of each user, broadcast to (1, 1, queries of the user, its keys).
    """
    parts = [read(queries[:, :, of], own, bias) for (own, of), bias in zip(users, biases, strict=True)]
    if len(parts) == 1:
        return parts[0]
    return Read(torch.cat([part.values for part in parts], 2), torch.cat([part.weight for part in parts], 2))


class Own(NamedTuple):
    """Keys and values of some candidates themselves, each of shape (candidates, key heads, room, size).

    Attributes
    ----------
    keys_values : KeysValues
    seen : Tensor of bool, shape (candidates, room)
        Which places [EOS] reads; at least one.
    """

    keys_values: KeysValues
    seen: Tensor


def read_together(
    queries: Tensor, users: Sequence[tuple[KeysValues, slice]], biases: Sequence[Tensor | None], own: Sequence[Own]
) -> Tensor:
    """Read user and candidate with one query a candidate: few numbers, so all is put together plainly, in float32.

    Parameters
    ----------
    queries : Tensor, shape (1, heads, candidates, size)
    users, biases
        See :func:`read_apart`, for the candidates.
    own : sequence of Own
        They cover all candidates, in order.

    Returns
    -------
    Tensor of the queries' dtype, shape (1, candidates, heads * size)
    """
    key_heads, size = own[0].keys_values.keys.shape[1], queries.shape[-1]
    asked = queries[0].transpose(0, 1).float().unflatten(1, (key_heads, -1)) * size**-0.5
    room = max(part.seen.shape[1] for part in own)
    logits = asked.new_full((*asked.shape[:3], room), -torch.inf)
    parts, start = [], 0
    for part in own:
        parts.append(slice(start, start := start + len(part.seen)))
        found = asked[parts[-1]] @ part.keys_values.keys.float().mT
        hidden = ~part.seen[:, None, None]
        logits[parts[-1], :, :, : found.shape[3]] = found.masked_fill_(hidden, -torch.inf)
    taken = torch.empty_like(asked)
    for (user, of), bias in zip(users, biases, strict=True):
        keys, values = user.keys[0].float(), user.values[0].float()
        mine = asked[of].transpose(0, 1)  # (key heads, candidates, heads a key head, size)
        shared = (mine.flatten(1, 2) @ keys.mT).unflatten(1, mine.shape[1:3]).transpose(0, 1)
        if bias is not None:
            shared = shared + bias[0, 0][:, None, None]
        shares = torch.cat([shared, logits[of]], dim=3).softmax(dim=3)
        of_user, logits[of] = shares.split([keys.shape[1], room], dim=3)
        of_user = of_user.transpose(0, 1).flatten(1, 2) @ values
        taken[of] = of_user.unflatten(1, mine.shape[1:3]).transpose(0, 1)
    for of, part in zip(parts, own, strict=True):
        taken[of] += logits[of, :, :, : part.seen.shape[1]] @ part.keys_values.values.float()
    return taken.flatten(1)[None].to(queries.dtype)


def merged(one: Read, other: Read) -> Tensor:
    """What queries took from two groups of keys, shape (rows, heads, queries, size)."""
    share = (one.weight - other.weight).sigmoid().unsqueeze(-1).to(one.values.dtype)
    return torch.lerp(other.values, one.values, share)


def _spread(own: KeysValues, heads: int) -> KeysValues:
    times = heads // own.keys.shape[1]
    if times == 1:
        return own
    return KeysValues(*(part.repeat_interleave(times, dim=1) for part in own))
