"""T5 with whole-word embeddings, and a decoder that reads many answers to one prompt at the cost of one encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from llm_models.indexing.tokenizer import END, PAD
from llm_models.p5.layers import attend, cross_entropy, dropout
from llm_models.p5.settings import POSITION_BUCKETS, WHOLE_WORDS, P5Settings
from llm_models.p5.writer import IGNORED

__all__ = ["Memory", "P5Network", "TrieStepper", "scratch_config", "shift_right", "untie"]

#: Name of the output table, where it is not the input's.
HEAD = "t5.lm_head.weight"
#: Added to a score that must not count.
HIDDEN = -1e9

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

    Encoder and decoder run on T5's own weights in code of ours: projections of one input are one product, and all
    answers to a prompt attend to one copy of its keys and values, in training and in search.

    Parameters
    ----------
    t5 : T5ForConditionalGeneration
    scale : float
        Standard deviation of the whole-word embeddings before training.

    Attributes
    ----------
    whole_words : str
        ``"always"``, or ``"training"``: left out in evaluation mode, as the original does.
    """

    whole_words: Literal["always", "training"] = "always"

    def __init__(self, t5: T5ForConditionalGeneration, *, scale: float = 1.0) -> None:
        super().__init__()
        self.t5 = t5
        self.whole_word = nn.Embedding(WHOLE_WORDS, t5.config.d_model)
        nn.init.normal_(self.whole_word.weight, std=scale)

    def description(self) -> dict[str, Any]:
        """What :meth:`described` needs to make a network of this shape; JSON-serialisable."""
        untied = self.t5.lm_head.weight is not self.t5.shared.weight
        return {"config": self.t5.config.to_dict(), "untied": untied}

    @classmethod
    def described(cls, description: dict[str, Any]) -> P5Network:
        """Make a network with random weights."""
        t5 = T5ForConditionalGeneration(T5Config.from_dict(description["config"]))
        if description["untied"]:
            untie(t5)
        return cls(t5)

    @torch.no_grad()
    def adopt(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights in; every parameter must be there under its name."""
        for name, weight in self.named_parameters():
            weight.copy_(weights[name])

    def encode(self, ids: Tensor, words: Tensor) -> Memory:
        """Read prompts; ``ids`` and ``words`` are int64, shape (prompts, length), 0 where there is padding."""
        encoder = self.t5.encoder
        padding = torch.zeros(ids.shape, device=ids.device).masked_fill(ids == PAD, HIDDEN)[:, None, None]
        bias = self._position_bias(encoder, ids.shape[1]) + padding
        hidden = self.t5.shared(ids)
        if self.training or self.whole_words == "always":
            hidden = hidden + self.whole_word(words.clamp(max=WHOLE_WORDS - 1))
        hidden = self._dropout(hidden)
        for block in encoder.block:
            own, feed_forward = block.layer
            query, key, value = self._heads(own.layer_norm(hidden), *_projections(own.SelfAttention))
            read = attend(query, key, value, bias, self._rate)
            hidden = hidden + self._dropout(own.SelfAttention.o(read))
            hidden = self._feed_forward(feed_forward, hidden)
        hidden = self._dropout(encoder.final_layer_norm(hidden))
        cross = [block.layer[1].EncDecAttention for block in self.t5.decoder.block]
        parts = self._heads(hidden, *(part for attention in cross for part in (attention.k, attention.v)))
        return Memory(list(zip(parts[::2], parts[1::2], strict=True)), padding)

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
        hidden, grown = self._decode(tokens, memory, past)
        return self.t5.lm_head(hidden), grown

    def forward(
        self, ids: Tensor, words: Tensor, labels: Tensor, answers: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compare what the network would answer with the right answers.

        Parameters
        ----------
        ids, words : Tensor of int64, shape (prompts, length)
        labels : Tensor of int64, shape (prompts, answers, tokens)
            Each answer filled up with ``IGNORED``; a whole answer of it does not count.
        answers : float, optional
            What the sum over answers is divided by; by default their number.

        Returns
        -------
        loss : Tensor, scalar
            Mean over answers of the mean cross-entropy of an answer's tokens.
        each : Tensor of float32, shape (prompts, answers)
            That of each answer, without gradient; 0 where there is none.
        """
        read = self._read_answers(self.encode(ids, words), labels)
        length = (labels != IGNORED).sum(2)
        answer = read.place.div(labels.shape[2], rounding_mode="floor")
        weight = 1 / length.flatten()[answer]
        loss, losses = cross_entropy(
            read.states,
            self.t5.lm_head.weight,
            read.row,
            labels.flatten()[read.place],
            weight / (answers or (length > 0).sum()),
        )
        each = torch.zeros(length.numel(), device=labels.device).index_add_(0, answer, losses * weight)
        return loss, each.view_as(length)

    def loss(self, ids: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """The loss alone; see :meth:`forward`."""
        return self(ids, words, labels)[0]

    def _read_answers(self, memory: Memory, labels: Tensor) -> _Read:
        """Run the decoder over the right answers; all answers to a prompt begin with one mark, which is read once."""
        place = torch.arange(labels.numel(), device=labels.device).view_as(labels)
        real = labels != IGNORED
        begun = shift_right(labels)
        answers, tokens = labels.shape[1:]
        if answers == 1:
            return _Read.gather(self._decode(begun, memory)[0], real, place)
        first, past = self._decode(begun[:, :1, :1], memory)
        prompt = real[:, :, 0].nonzero()[:, 0]
        reads = [_Read(first.flatten(0, 2), prompt, place[:, :, 0][real[:, :, 0]])]
        if tokens > 1:
            past = [(key.expand(-1, answers, -1, -1, -1), value.expand(-1, answers, -1, -1, -1)) for key, value in past]
            rest = self._decode(begun[:, :, 1:], memory, past)[0]
            reads.append(_Read.gather(rest, real[:, :, 1:], place[:, :, 1:]))
        return _Read.join(reads)

    def _decode(self, tokens: Tensor, memory: Memory, past: Cache | None = None) -> tuple[Tensor, Cache]:
        """As :meth:`decode`, with the states that the head turns into logits instead of those."""
        decoder = self.t5.decoder
        prompts, rows, length = tokens.shape
        before = 0 if past is None else past[0][0].shape[3]
        bias = self._position_bias(decoder, length, before)
        hidden = self._dropout(self.t5.shared(tokens))
        grown: Cache = []
        for number, block in enumerate(decoder.block):
            own, cross, feed_forward = block.layer
            normed = own.layer_norm(hidden).view(prompts * rows, length, -1)
            query, key, value = self._heads(normed, *_projections(own.SelfAttention))
            if past is not None:
                key = torch.cat([past[number][0].flatten(0, 1), key], 2)
                value = torch.cat([past[number][1].flatten(0, 1), value], 2)
            grown.append((key.unflatten(0, (prompts, rows)), value.unflatten(0, (prompts, rows))))
            read = attend(query, key, value, bias, self._rate)
            hidden = hidden + self._dropout(own.SelfAttention.o(read)).view_as(hidden)

            (query,) = self._heads(cross.layer_norm(hidden).flatten(1, 2), cross.EncDecAttention.q)
            read = attend(query, *memory.cache[number], memory.bias, self._rate)
            hidden = hidden + self._dropout(cross.EncDecAttention.o(read)).view_as(hidden)
            hidden = self._feed_forward(feed_forward, hidden)
        hidden = self._dropout(decoder.final_layer_norm(hidden))
        if getattr(self.t5.config, "scale_decoder_outputs", self.t5.config.tie_word_embeddings):
            hidden = hidden * self.t5.config.d_model**-0.5
        return hidden, grown

    @property
    def _rate(self) -> float:
        return self.t5.config.dropout_rate if self.training else 0.0

    def _dropout(self, states: Tensor) -> Tensor:
        return dropout(states, self._rate)

    def _heads(self, states: Tensor, *projections: nn.Linear) -> tuple[Tensor, ...]:
        """Project states of shape (batch, length, d_model), all ways at once, to (batch, heads, length, d_kv) each."""
        weight = torch.cat([projection.weight for projection in projections])
        config = self.t5.config
        made = functional.linear(states, weight).unflatten(-1, (len(projections), config.num_heads, config.d_kv))
        return made.permute(2, 0, 3, 1, 4).contiguous().unbind()

    def _feed_forward(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        dense, normed = layer.DenseReluDense, layer.layer_norm(hidden)
        if self.t5.config.is_gated_act:
            inner = dense.act(dense.wi_0(normed)) * dense.wi_1(normed)
        else:
            inner = dense.act(dense.wi(normed))
        return hidden + self._dropout(dense.wo(self._dropout(inner)))

    def _position_bias(self, stack: nn.Module, length: int, before: int = 0) -> Tensor:
        """Bias of the relative positions of ``length`` tokens after ``before``, shape (1, heads, length, all).

        A decoder's tokens do not see later ones.
        """
        attention = stack.block[0].layer[0].SelfAttention
        device = attention.relative_attention_bias.weight.device
        key, query = torch.arange(before + length, device=device), torch.arange(before, before + length, device=device)
        distance = key - query[:, None]
        bucket = attention._relative_position_bucket(
            distance,
            bidirectional=not stack.is_decoder,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )
        bias = attention.relative_attention_bias(bucket)
        if stack.is_decoder:
            bias = bias.masked_fill((distance > 0)[..., None], HIDDEN)
        return bias.permute(2, 0, 1)[None]


def _projections(attention: nn.Module) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    return attention.q, attention.k, attention.v


@dataclass
class _Read:
    """Decoder states with the labels that follow them.

    Attributes
    ----------
    states : Tensor, shape (rows, d_model)
    row, place : Tensor of int64, shape (tokens,)
        For every token to be learned the row it follows, not decreasing, and its place in the flattened labels.
    """

    states: Tensor
    row: Tensor
    place: Tensor

    @classmethod
    def gather(cls, states: Tensor, real: Tensor, place: Tensor) -> _Read:
        """Keep the states, of shape (prompts, answers, tokens, d_model), that a token follows."""
        kept = real.flatten().nonzero()[:, 0]
        rows = torch.arange(len(kept), device=kept.device)
        return cls(states.flatten(0, 2).index_select(0, kept), rows, place.flatten()[kept])

    @classmethod
    def join(cls, reads: list[_Read]) -> _Read:
        """Put the rows of all one after the other."""
        starts = [sum(len(read.states) for read in reads[:number]) for number in range(len(reads))]
        return cls(
            torch.cat([read.states for read in reads]),
            torch.cat([read.row + start for read, start in zip(reads, starts, strict=True)]),
            torch.cat([read.place for read in reads]),
        )


def untie(t5: T5ForConditionalGeneration) -> None:
    """Give the output layer a table of its own."""
    t5.config.tie_word_embeddings = False
    t5.lm_head.weight = nn.Parameter(t5.lm_head.weight.detach().clone())


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
