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

__all__ = ["Read", "merged", "read", "read_users"]

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
    # For a single query a row, plain products are faster.
    if _FLASH is not None and queries.device.type == "cpu" and queries.shape[2] > 1:
        return Read(*_FLASH(queries, keys, values, 0.0, causal, attn_mask=bias, scale=size**-0.5)[:2])
    logits = (queries @ keys.mT).float() * size**-0.5
    if causal:
        logits = logits.masked_fill(torch.ones_like(logits[0, 0], dtype=torch.bool).triu(1), -torch.inf)
    if bias is not None:
        logits = logits + bias
    return Read(logits.softmax(dim=-1).to(values.dtype) @ values, logits.logsumexp(dim=-1))


def read_users(queries: Tensor, users: Sequence[tuple[KeysValues, slice]], biases: Sequence[Tensor | None]) -> Read:
    """Read the keys of several users, each with queries of its own.

    Parameters
    ----------
    queries : Tensor, shape (1, heads, queries, size)
    users : sequence of (KeysValues of one row, slice)
        The slices cover all queries, in order.
    biases : sequence of (Tensor or None)
        Of each user, broadcast to (queries of the user, its keys).
    """
    parts = [read(queries[:, :, of], own, bias) for (own, of), bias in zip(users, biases, strict=True)]
    if len(parts) == 1:
        return parts[0]
    return Read(torch.cat([part.values for part in parts], 2), torch.cat([part.weight for part in parts], 2))


def merged(one: Read, other: Read) -> Tensor:
    """What queries took from two groups of keys, shape (rows, heads, queries, size)."""
    share = (one.weight - other.weight).sigmoid().unsqueeze(-1).to(one.values.dtype)
    return torch.lerp(other.values, one.values, share)


def _spread(own: KeysValues, heads: int) -> KeysValues:
    times = heads // own.keys.shape[1]
    if times == 1:
        return own
    return KeysValues(*(part.repeat_interleave(times, dim=1) for part in own))
