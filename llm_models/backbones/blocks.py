"""One transformer layer of each family, taken apart so that masks, caches and adapters can come between.

Every layer is the same three steps, whatever the family: project hidden states to queries, keys and values; let
queries read; combine what was read with the hidden states and feed the result forward. The weights are Hugging Face's
own modules, and nothing is computed otherwise: with the mask of the original model the numbers are the same.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BertBlock", "Block", "Extra", "GPT2Block", "KeysValues", "LlamaBlock", "ModernBertBlock", "Rotation"]

Extra = Callable[[Tensor], Tensor]
"""What is added to a feed-forward network: its input, shape (rows, tokens, width), to a term of that shape."""


class KeysValues(NamedTuple):
    """What later tokens read of a layer: ``keys`` and ``values``, each of shape (rows, key heads, tokens, size)."""

    keys: Tensor
    values: Tensor


class Rotation(NamedTuple):
    """Rotary positions: ``cos`` and ``sin``, each of shape (rows or 1, tokens, size)."""

    cos: Tensor
    sin: Tensor

    def turn(self, states: Tensor) -> Tensor:
        """Rotate queries or keys, shape (rows, heads, tokens, size), in float32 as the families do."""
        cos, sin = self.cos.unsqueeze(1), self.sin.unsqueeze(1)
        wide = states.float()
        first, second = wide.chunk(2, dim=-1)
        return (wide * cos + torch.cat([-second, first], dim=-1) * sin).to(states.dtype)


class Block(nn.Module):
    """A layer.

    Attributes
    ----------
    heads : int
        Of the queries; keys and values may have fewer.
    window : int or None
        Tokens further apart than this are invisible to each other.
    """

    heads: int
    window: int | None = None

    def project(self, hidden: Tensor, rotation: Rotation | None) -> tuple[Tensor, KeysValues]:
        """Make queries, shape (rows, heads, tokens, size), and keys and values of hidden states."""
        raise NotImplementedError

    def queries(self, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """Make the queries alone."""
        raise NotImplementedError

    def keys_values(self, hidden: Tensor, rotation: Rotation | None) -> KeysValues:
        """Make keys and values alone."""
        raise NotImplementedError

    def combine(self, hidden: Tensor, read: Tensor, extra: Extra | None) -> Tensor:
        """Add what was read, shape (rows, tokens, heads * size), and the feed-forward network (and ``extra``)."""
        raise NotImplementedError

    def forward(
        self,
        hidden: Tensor,
        bias: Tensor | None,
        rotation: Rotation | None,
        *,
        past: KeysValues | None = None,
        extra: Extra | None = None,
        at: Tensor | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """Compute the layer.

        Parameters
        ----------
        hidden : Tensor, shape (rows, tokens, width)
        bias : Tensor or None, broadcast to (rows, heads, tokens, past tokens + tokens)
            Added to the attention logits; ``None``: everything is visible.
        rotation : Rotation or None
            Of ``tokens``, for families with rotary positions.
        past : KeysValues or None
            What stands before the tokens; one row serves all.
        extra : callable or None
        at : Tensor of int64, shape (rows, wanted), or None
            Places whose states are wanted; ``None``: all.

        Returns
        -------
        Tensor, shape (rows, tokens, width), or (rows, wanted, width)
        KeysValues
            Of ``tokens`` alone.
        """
        queries, own = self.project(hidden, rotation)
        if at is not None:
            hidden, queries = _taken(hidden, at), queries.take_along_dim(at[:, None, :, None], dim=2)
            if bias is not None:
                bias = bias.expand(len(at), -1, -1, -1).take_along_dim(at[:, None, :, None], dim=2)
        keys, values = own
        if past is not None:
            rows = len(hidden)
            keys = torch.cat([past.keys.expand(rows, -1, -1, -1), keys], dim=2)
            values = torch.cat([past.values.expand(rows, -1, -1, -1), values], dim=2)
        read = _attend(queries, keys, values, bias)
        return self.combine(hidden, read.transpose(1, 2).flatten(2), extra), own


def _attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention; keys and values may have fewer heads than queries."""
    groups = queries.shape[1] // keys.shape[1]
    learning = torch.is_grad_enabled() and (queries.requires_grad or keys.requires_grad)
    if not (learning and queries.dtype == torch.bfloat16 and queries.device.type == "cpu"):
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, enable_gqa=groups > 1)
    # torch's own goes back through bfloat16 on CPUs two to five times as slowly as this.
    keys, values = (part.repeat_interleave(groups, dim=1) if groups > 1 else part for part in (keys, values))
    logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return (logits if bias is None else logits + bias).softmax(dim=-1) @ values


def _taken(states: Tensor, at: Tensor) -> Tensor:
    """(rows, tokens, width) at (rows, wanted) -> (rows, wanted, width)."""
    return states.take_along_dim(at.unsqueeze(-1), dim=1)


def _heads(states: Tensor, heads: int) -> Tensor:
    """(rows, tokens, heads * size) -> (rows, heads, tokens, size)."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def _columns(maps: Any, states: Tensor, columns: slice) -> Tensor:
    """Some outputs of a map that makes queries, keys and values side by side."""
    if not isinstance(getattr(maps, "weight", None), Tensor):  # a quantised map is one piece
        return maps(states)[..., columns]
    weight = maps.weight[columns] if isinstance(maps, nn.Linear) else maps.weight[:, columns].T  # GPT-2's is transposed
    return functional.linear(states, weight, None if maps.bias is None else maps.bias[columns])


def _fed(network: Callable[[Tensor], Tensor], states: Tensor, extra: Extra | None) -> Tensor:
    fed = network(states)
    return fed if extra is None else fed + extra(states)


class BertBlock(Block):
    """BERT, RoBERTa, MiniLM: normalised after each step, absolute positions."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.heads = layer.attention.self.num_attention_heads

    def project(self, hidden: Tensor, rotation: Rotation | None) -> tuple[Tensor, KeysValues]:
        """See :meth:`Block.project`."""
        return self.queries(hidden, rotation), self.keys_values(hidden, rotation)

    def queries(self, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """See :meth:`Block.queries`."""
        return _heads(self.layer.attention.self.query(hidden), self.heads)

    def keys_values(self, hidden: Tensor, rotation: Rotation | None) -> KeysValues:
        """See :meth:`Block.keys_values`."""
        maps = self.layer.attention.self
        return KeysValues(_heads(maps.key(hidden), self.heads), _heads(maps.value(hidden), self.heads))

    def combine(self, hidden: Tensor, read: Tensor, extra: Extra | None) -> Tensor:
        """See :meth:`Block.combine`."""
        first, second = self.layer.attention.output, self.layer.output
        hidden = first.LayerNorm(first.dense(read) + hidden)
        return second.LayerNorm(_fed(lambda x: second.dense(self.layer.intermediate(x)), hidden, extra) + hidden)


class GPT2Block(Block):
    """GPT-2: normalised before each step, absolute positions."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.heads = layer.attn.num_heads

    def project(self, hidden: Tensor, rotation: Rotation | None) -> tuple[Tensor, KeysValues]:
        """See :meth:`Block.project`."""
        parts = self.layer.attn.c_attn(self.layer.ln_1(hidden)).chunk(3, dim=-1)
        queries, keys, values = (_heads(part, self.heads) for part in parts)
        return queries, KeysValues(keys, values)

    def queries(self, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """See :meth:`Block.queries`."""
        states = self.layer.ln_1(hidden)
        return _heads(_columns(self.layer.attn.c_attn, states, slice(0, hidden.shape[-1])), self.heads)

    def keys_values(self, hidden: Tensor, rotation: Rotation | None) -> KeysValues:
        """See :meth:`Block.keys_values`."""
        states = self.layer.ln_1(hidden)
        keys, values = _columns(self.layer.attn.c_attn, states, slice(hidden.shape[-1], None)).chunk(2, dim=-1)
        return KeysValues(_heads(keys, self.heads), _heads(values, self.heads))

    def combine(self, hidden: Tensor, read: Tensor, extra: Extra | None) -> Tensor:
        """See :meth:`Block.combine`."""
        hidden = hidden + self.layer.attn.c_proj(read)
        return hidden + _fed(self.layer.mlp, self.layer.ln_2(hidden), extra)


class LlamaBlock(Block):
    """Llama, SmolLM, Mistral, Qwen 2 and 3: normalised before each step, rotary positions, grouped keys."""

    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        # Qwen says it layer by layer, Mistral once for all.
        window = getattr(layer.self_attn, "sliding_window", None)
        if config.model_type == "mistral":
            window = config.sliding_window
        # Their window counts the token itself: w tokens reach back w - 1 places.
        self.window = None if window is None else window - 1

    def project(self, hidden: Tensor, rotation: Rotation | None) -> tuple[Tensor, KeysValues]:
        """See :meth:`Block.project`."""
        states = self.layer.input_layernorm(hidden)
        return self._queries(states, rotation), self._keys_values(states, rotation)

    def queries(self, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """See :meth:`Block.queries`."""
        return self._queries(self.layer.input_layernorm(hidden), rotation)

    def keys_values(self, hidden: Tensor, rotation: Rotation | None) -> KeysValues:
        """See :meth:`Block.keys_values`."""
        return self._keys_values(self.layer.input_layernorm(hidden), rotation)

    def _queries(self, states: Tensor, rotation: Rotation | None) -> Tensor:
        assert rotation is not None
        maps = self.layer.self_attn
        queries = _heads(maps.q_proj(states), self.heads)
        if hasattr(maps, "q_norm"):  # Qwen 3 normalises each head
            queries = maps.q_norm(queries)
        return rotation.turn(queries)

    def _keys_values(self, states: Tensor, rotation: Rotation | None) -> KeysValues:
        assert rotation is not None
        maps = self.layer.self_attn
        keys, values = (_heads(part(states), self.key_heads) for part in (maps.k_proj, maps.v_proj))
        if hasattr(maps, "k_norm"):
            keys = maps.k_norm(keys)
        return KeysValues(rotation.turn(keys), values)

    def combine(self, hidden: Tensor, read: Tensor, extra: Extra | None) -> Tensor:
        """See :meth:`Block.combine`."""
        hidden = hidden + self.layer.self_attn.o_proj(read)
        return hidden + _fed(self.layer.mlp, self.layer.post_attention_layernorm(hidden), extra)


class ModernBertBlock(Block):
    """ModernBERT: normalised before each step, rotary positions, most layers with a window."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.heads = layer.attn.config.num_attention_heads
        window = layer.attn.sliding_window
        # Hugging Face keeps one more than the distance that is visible, as its attention kernels count.
        self.window = None if window is None else window - 1

    def project(self, hidden: Tensor, rotation: Rotation | None) -> tuple[Tensor, KeysValues]:
        """See :meth:`Block.project`."""
        assert rotation is not None
        parts = self.layer.attn.Wqkv(self.layer.attn_norm(hidden)).chunk(3, dim=-1)
        queries, keys, values = (_heads(part, self.heads) for part in parts)
        return rotation.turn(queries), KeysValues(rotation.turn(keys), values)

    def queries(self, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """See :meth:`Block.queries`."""
        assert rotation is not None
        states = self.layer.attn_norm(hidden)
        return rotation.turn(_heads(_columns(self.layer.attn.Wqkv, states, slice(0, hidden.shape[-1])), self.heads))

    def keys_values(self, hidden: Tensor, rotation: Rotation | None) -> KeysValues:
        """See :meth:`Block.keys_values`."""
        assert rotation is not None
        states = self.layer.attn_norm(hidden)
        keys, values = _columns(self.layer.attn.Wqkv, states, slice(hidden.shape[-1], None)).chunk(2, dim=-1)
        return KeysValues(rotation.turn(_heads(keys, self.heads)), _heads(values, self.heads))

    def combine(self, hidden: Tensor, read: Tensor, extra: Extra | None) -> Tensor:
        """See :meth:`Block.combine`."""
        hidden = hidden + self.layer.attn.Wo(read)
        return hidden + _fed(self.layer.mlp, self.layer.mlp_norm(hidden), extra)
