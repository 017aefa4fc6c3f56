"""T5 with whole-word embeddings, and a decoder that reads many answers to one prompt at the cost of one encoding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from llm_models.indexing.tokenizer import END, PAD
from llm_models.p5.settings import POSITION_BUCKETS, WHOLE_WORDS, P5Settings

__all__ = ["IGNORED", "Memory", "P5Network", "TrieStepper", "scratch_config"]

#: Label of a position without a token.
IGNORED = -100

Cache = list[tuple[Tensor, Tensor]]


def scratch_config(settings: P5Settings) -> T5Config:
    """Describe a T5 of the given size."""
    return T5Config(
        vocab_size=settings.vocabulary,
        d_model=settings.d_model,
        d_ff=settings.d_ff,
        d_kv=settings.d_kv,
        num_heads=settings.heads,
        num_layers=settings.layers,
        relative_attention_num_buckets=POSITION_BUCKETS,
        dropout_rate=settings.dropout,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=PAD,
    )


@dataclass
class Memory:
    """Encoded prompts, as the decoder's cross-attention reads them.

    Attributes
    ----------
    cache : list of (Tensor, Tensor)
        Per decoder block keys and values, each of shape (prompts, heads, length, d_kv).
    bias : Tensor, shape (prompts, 1, 1, length)
        0 where there is a piece, very negative where there is padding.
    """

    cache: Cache
    bias: Tensor


class P5Network(nn.Module):
    """A T5 whose encoder input says which pieces make up a word.

    The decoder runs on T5's own weights in code of ours: all answers to a prompt attend to one copy of its keys and
    values, in training and in search.
    """

    def __init__(self, t5: T5ForConditionalGeneration, *, scale: float = 1.0) -> None:
        super().__init__()
        self.t5 = t5
        self.whole_word = nn.Embedding(WHOLE_WORDS, t5.config.d_model)
        nn.init.normal_(self.whole_word.weight, std=scale)

    def encode(self, ids: Tensor, words: Tensor) -> Memory:
        """Read prompts; ``ids`` and ``words`` are int64, shape (prompts, length), 0 where there is padding."""
        mask = ids != PAD
        embedded = self.t5.shared(ids) + self.whole_word(words.clamp(max=WHOLE_WORDS - 1))
        states = self.t5.encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        cache = []
        for block in self.t5.decoder.block:
            attention = block.layer[1].EncDecAttention
            cache.append((self._split(attention.k(states)), self._split(attention.v(states))))
        bias = torch.zeros(mask.shape, device=ids.device, dtype=cache[0][0].dtype)
        return Memory(cache, bias.masked_fill(~mask, torch.finfo(bias.dtype).min)[:, None, None])

    def decode(self, tokens: Tensor, memory: Memory, past: Cache | None = None) -> tuple[Tensor, Cache]:
        """Give the logits that follow each token.

        Parameters
        ----------
        tokens : Tensor of int64, shape (prompts, rows, length)
            Rows of one prompt do not see each other.
        memory : Memory
        past : list of (Tensor, Tensor), optional
            Per block keys and values of the tokens before, each of shape (prompts, rows, heads, before, d_kv).

        Returns
        -------
        logits : Tensor, shape (prompts, rows, length, vocabulary)
        past : list of (Tensor, Tensor)
            With the tokens read.
        """
        decoder = self.t5.decoder
        prompts, rows, length = tokens.shape
        before = 0 if past is None else past[0][0].shape[3]
        bias = self._position_bias(length, before)
        hidden = decoder.dropout(self.t5.shared(tokens))
        grown: Cache = []
        for number, block in enumerate(decoder.block):
            own, cross, feed_forward = block.layer
            attention = own.SelfAttention
            normed = own.layer_norm(hidden).view(prompts * rows, length, -1)
            key, value = self._split(attention.k(normed)), self._split(attention.v(normed))
            if past is not None:
                key = torch.cat([past[number][0].flatten(0, 1), key], 2)
                value = torch.cat([past[number][1].flatten(0, 1), value], 2)
            grown.append((key.unflatten(0, (prompts, rows)), value.unflatten(0, (prompts, rows))))
            read = self._attend(self._split(attention.q(normed)), key, value, bias)
            hidden = hidden + own.dropout(attention.o(read)).view_as(hidden)

            attention = cross.EncDecAttention
            query = self._split(attention.q(cross.layer_norm(hidden).flatten(1, 2)))
            read = self._attend(query, *memory.cache[number], memory.bias)
            hidden = hidden + cross.dropout(attention.o(read)).view_as(hidden)
            hidden = feed_forward(hidden)
        hidden = decoder.dropout(decoder.final_layer_norm(hidden))
        if getattr(self.t5.config, "scale_decoder_outputs", self.t5.config.tie_word_embeddings):
            hidden = hidden * self.t5.config.d_model**-0.5
        return self.t5.lm_head(hidden), grown

    def loss(self, ids: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """Mean over answers of the mean cross-entropy of an answer's tokens.

        Parameters
        ----------
        ids, words : Tensor of int64, shape (prompts, length)
        labels : Tensor of int64, shape (prompts, answers, tokens)
            Filled up with ``IGNORED``; a whole answer of it does not count.
        """
        logits, _ = self.decode(shift_right(labels), self.encode(ids, words))
        each = functional.cross_entropy(
            logits.float().flatten(0, 2), labels.flatten(), ignore_index=IGNORED, reduction="none"
        ).view_as(labels)
        tokens = (labels != IGNORED).sum(2)
        return (each.sum(2) / tokens.clamp(min=1)).sum() / (tokens > 0).sum()

    def _split(self, states: Tensor) -> Tensor:
        """(batch, length, heads * d_kv) to (batch, heads, length, d_kv)."""
        return states.unflatten(-1, (self.t5.config.num_heads, self.t5.config.d_kv)).transpose(1, 2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """T5's attention: no scaling of the products, an additive bias."""
        dropout = self.t5.config.dropout_rate if self.training else 0.0
        read = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), dropout_p=dropout, scale=1.0
        )
        return read.transpose(1, 2).flatten(2)

    def _position_bias(self, length: int, before: int) -> Tensor:
        """Relative positions of ``length`` new tokens after ``before`` old ones, later ones hidden."""
        attention = self.t5.decoder.block[0].layer[0].SelfAttention
        device = attention.relative_attention_bias.weight.device
        key, query = torch.arange(before + length, device=device), torch.arange(before, before + length, device=device)
        distance = key - query[:, None]
        bucket = attention._relative_position_bucket(
            distance,
            bidirectional=False,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )
        bias = attention.relative_attention_bias(bucket)
        return bias.masked_fill((distance > 0)[..., None], torch.finfo(bias.dtype).min).permute(2, 0, 1)[None]


def shift_right(labels: Tensor) -> Tensor:
    """Decoder input for labels: the start mark first, no ``IGNORED``."""
    shifted = functional.pad(labels[..., :-1], (1, 0), value=PAD)
    return shifted.masked_fill(shifted == IGNORED, PAD)


class TrieStepper:
    """The network as a constrained search wants it: one token at a time, keys and values kept."""

    def __init__(self, network: P5Network, memory: Memory) -> None:
        self.network = network
        self.memory = memory
        self.past: Cache | None = None

    def __call__(self, tokens: Tensor | None, parents: Tensor | None) -> Tensor:
        """See :class:`llm_models.decoding.Stepper`."""
        if tokens is None:
            tokens = torch.full((len(self.memory.bias), 1), PAD, device=self.memory.bias.device)
        else:
            row = torch.arange(len(parents), device=parents.device)[:, None]
            self.past = [(key[row, parents], value[row, parents]) for key, value in self.past]
        logits, self.past = self.network.decode(tokens[..., None], self.memory, self.past)
        return logits[:, :, 0].float().log_softmax(-1)
