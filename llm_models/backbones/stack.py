"""Any single-stack Hugging Face transformer as a frozen stack of layers that can be run in part, and under any mask.

Encoders (BERT, MiniLM, RoBERTa, ModernBERT) and decoders (GPT-2, Llama, SmolLM, Mistral, Qwen) become the same thing:
word vectors go in, :meth:`Stack.begin` gives them positions, :meth:`Stack.run` computes layers ``first`` to ``last``.
What makes them a prefix language model is the mask alone (:mod:`llm_models.backbones.layout`).

Imports torch and transformers: import this module inside a method.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from bench.errors import UsageError
from llm_models.backbones.blocks import (
    BertBlock,
    Block,
    Extra,
    GPT2Block,
    KeysValues,
    LlamaBlock,
    ModernBertBlock,
    Rotation,
)
from llm_models.backbones.layout import attention_bias
from llm_models.backbones.locate import BackboneFiles

__all__ = ["FAMILIES", "Run", "Stack", "load_stack", "load_tokenizer", "stack_of"]

Adapters = Callable[[int], Extra | None]
"""Per layer, numbered from 0, what is added to its feed-forward network."""


class Run(NamedTuple):
    """What came of some layers.

    Attributes
    ----------
    hidden : Tensor, shape (rows, tokens, width)
        After the last of them; after the stack's last layer the final normalisation is done.
    cache : tuple of KeysValues
        Of these tokens, one a layer run; empty unless asked for.
    layers : tuple of Tensor
        Hidden states after each layer run, without the final normalisation; empty unless asked for.
    """

    hidden: Tensor
    cache: tuple[KeysValues, ...] = ()
    layers: tuple[Tensor, ...] = ()


class Stack(nn.Module):
    """A transformer without its mask.

    Attributes
    ----------
    kind : str
        ``"encoder"`` or ``"decoder"``: which mask it was pre-trained with.
    words : torch.nn.Embedding
        Word vectors.
    blocks : torch.nn.ModuleList of Block
        The same block may stand there several times (shared layers).
    final : torch.nn.Module
        Normalisation after the last layer.
    head : torch.nn.Module or None
        Pre-trained next-token logits over the vocabulary; ``None`` for encoders, which have none.
    longest : int or None
        Positions that exist; ``None`` where positions are rotary and never end.
    """

    kind: str
    longest: int | None = None

    def __init__(self, words: nn.Module, blocks: Sequence[Block], final: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.words = words
        self.blocks = nn.ModuleList(blocks)
        self.final = final
        self.head = head

    @property
    def width(self) -> int:
        """Length of a hidden state."""
        return int(self.words.embedding_dim)  # type: ignore[arg-type]

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.blocks)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.blocks.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.blocks.parameters()).device

    def begin(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Turn word vectors (or soft prompts), shape (rows, tokens, width), into what the first layer reads.

        Parameters
        ----------
        positions : Tensor of int64, shape (rows or 1, tokens)
            From 0.
        """
        raise NotImplementedError

    def rotation(self, positions: Tensor, block: Block) -> Rotation | None:
        """Rotary positions for a block, where the family has them."""
        return None

    def run(
        self,
        hidden: Tensor,
        visible: Tensor | None,
        positions: Tensor,
        *,
        first: int = 0,
        last: int | None = None,
        adapters: Adapters | None = None,
        past: Sequence[KeysValues] | None = None,
        keep: bool = False,
        every_layer: bool = False,
        at: Tensor | None = None,
    ) -> Run:
        """Compute layers ``first`` to ``last`` (exclusive; by default all that follow).

        Parameters
        ----------
        hidden : Tensor, shape (rows, tokens, width)
            From :meth:`begin`, or from earlier layers.
        visible : Tensor of bool, shape (rows or 1, tokens, past tokens + tokens), or None
            Who reads whom; ``None``: everyone everything.
        positions : Tensor of int64, shape (rows or 1, tokens)
            For rotary families; windows count the order of the tokens instead.
        adapters : callable or None
        past : sequence of KeysValues or None
            Of what stands before the tokens, one a layer run (``keep`` of an earlier call); one row serves all.
        keep, every_layer : bool
            Whether to return the keys and values, and the states after each layer.
        at : Tensor of int64, shape (rows, wanted), or None
            The places whose states are wanted after the last of these layers, which then computes nothing else;
            ``None``: all.
        """
        last = self.depth if last is None else last
        before = past[0].keys.shape[2] if past else 0
        biases = _Biases(visible, hidden, before)
        rotations: dict[int | None, Rotation | None] = {}
        cache, layers = [], []
        for number in range(first, last):
            block = self.blocks[number]
            assert isinstance(block, Block)
            if block.window not in rotations:
                rotations[block.window] = self.rotation(positions, block)
            hidden, own = block(
                hidden,
                biases[block.window],
                rotations[block.window],
                past=past[number - first] if past else None,
                extra=adapters(number) if adapters is not None else None,
                at=at if number == last - 1 else None,
            )
            if keep:
                cache.append(own)
            if every_layer:
                layers.append(hidden)
        if last == self.depth:
            hidden = self.final(hidden)
        return Run(hidden, tuple(cache), tuple(layers))


class _Biases:
    """The attention bias of each window, made when first asked for."""

    def __init__(self, visible: Tensor | None, hidden: Tensor, before: int) -> None:
        self._visible, self._hidden, self._before = visible, hidden, before
        self._made: dict[int | None, Tensor | None] = {}

    def __getitem__(self, window: int | None) -> Tensor | None:
        if window not in self._made:
            visible, tokens = self._visible, self._hidden.shape[1]
            if window is not None:
                place = torch.arange(self._before + tokens, device=self._hidden.device)
                near = (place[self._before :, None] - place).abs() <= window
                visible = near.unsqueeze(0) if visible is None else visible & near
            self._made[window] = None if visible is None else attention_bias(visible, self._hidden.dtype)
        return self._made[window]


class BertStack(Stack):
    """BERT, MiniLM, RoBERTa."""

    kind = "encoder"

    def __init__(self, model: Any) -> None:
        embeddings = model.embeddings
        super().__init__(
            embeddings.word_embeddings, [BertBlock(layer) for layer in model.encoder.layer], nn.Identity(), None
        )
        self.places, self.types, self.norm = (
            embeddings.position_embeddings,
            embeddings.token_type_embeddings,
            embeddings.LayerNorm,
        )
        # RoBERTa counts positions from the padding's number on.
        self.offset = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
        self.longest = self.places.num_embeddings - self.offset

    def begin(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """See :meth:`Stack.begin`."""
        return self.norm(vectors + self.types.weight[0] + self.places(positions + self.offset))


class ModernBertStack(Stack):
    """ModernBERT."""

    kind = "encoder"

    def __init__(self, model: Any) -> None:
        super().__init__(
            model.embeddings.tok_embeddings, [ModernBertBlock(layer) for layer in model.layers], model.final_norm, None
        )
        self.norm, self.rotary = model.embeddings.norm, model.rotary_emb

    def begin(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """See :meth:`Stack.begin`."""
        return self.norm(vectors)

    def rotation(self, positions: Tensor, block: Block) -> Rotation | None:
        """See :meth:`Stack.rotation`: windowed layers turn at a rate of their own."""
        kind = "full_attention" if block.window is None else "sliding_attention"
        return Rotation(*self.rotary(self.words.weight[:1].float(), positions, kind))


class GPT2Stack(Stack):
    """GPT-2."""

    kind = "decoder"

    def __init__(self, model: Any) -> None:
        config, body = model.config, model.transformer
        if config.scale_attn_by_inverse_layer_idx or not config.scale_attn_weights:
            raise UsageError(
                "this GPT-2 scales its attention in a way of its own (scale_attn_*), which is not supported"
            )
        super().__init__(body.wte, [GPT2Block(layer) for layer in body.h], body.ln_f, model.lm_head)
        self.places = body.wpe
        self.longest = self.places.num_embeddings

    def begin(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """See :meth:`Stack.begin`."""
        return vectors + self.places(positions)


class LlamaStack(Stack):
    """Llama, SmolLM, Mistral, Qwen 2 and 3."""

    kind = "decoder"

    def __init__(self, model: Any) -> None:
        body = model.model
        super().__init__(
            body.embed_tokens, [LlamaBlock(layer, model.config) for layer in body.layers], body.norm, model.lm_head
        )
        self.rotary = body.rotary_emb

    def begin(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """See :meth:`Stack.begin`."""
        return vectors

    def rotation(self, positions: Tensor, block: Block) -> Rotation | None:
        """See :meth:`Stack.rotation`."""
        return Rotation(*self.rotary(self.words.weight[:1].float(), positions))


_ENCODERS: dict[str, type[Stack]] = {
    "bert": BertStack,
    "roberta": BertStack,
    "xlm-roberta": BertStack,
    "modernbert": ModernBertStack,
}
_DECODERS: dict[str, type[Stack]] = {
    "gpt2": GPT2Stack,
    "llama": LlamaStack,
    "mistral": LlamaStack,
    "qwen2": LlamaStack,
    "qwen3": LlamaStack,
}
FAMILIES = tuple(sorted(_ENCODERS | _DECODERS))
"""Values of ``model_type`` in a configuration that can be a backbone."""


def stack_of(model: Any) -> Stack:
    """Take a Hugging Face model apart: a ``...Model`` of an encoder family, a ``...ForCausalLM`` of a decoder family.

    Raises
    ------
    UsageError
        For another family.
    """
    return _family(model.config.model_type)(model).eval().requires_grad_(False)


def _family(name: str) -> type[Stack]:
    known = _ENCODERS | _DECODERS
    if name not in known:
        raise UsageError(
            f"a backbone of type {name!r} is not supported: one stack of layers of {', '.join(FAMILIES)} is "
            "(models of an encoder and a decoder, such as T5, have two)"
        )
    return known[name]


def load_stack(files: BackboneFiles, *, dtype: str = "float32", device: str = "cpu") -> Stack:
    """Load a backbone's weights, frozen.

    Parameters
    ----------
    files : BackboneFiles
    dtype : {"float32", "bfloat16"}
    device : str

    Raises
    ------
    UsageError
        For a family that cannot be one.
    """
    if _model_type(files) == "compact-bert":  # ours, which Hugging Face does not know
        from llm_models.backbones.compact import load_compact

        return load_compact(files).to(device=device, dtype=getattr(torch, dtype))
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(files.folder, local_files_only=True)
        _family(config.model_type)
        kind = AutoModelForCausalLM if config.model_type in _DECODERS else AutoModel
        model = kind.from_pretrained(
            files.folder, local_files_only=True, use_safetensors=True, dtype=getattr(torch, dtype)
        )
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
    return stack_of(model).to(device)


def _model_type(files: BackboneFiles) -> str | None:
    found: str | None = json.loads((files.folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    return found


def load_tokenizer(files: BackboneFiles) -> Any:
    """The tokenizer of a backbone; one without a padding token pads with its end token."""
    if _model_type(files) == "compact-bert":
        import llm_models.backbones.compact  # noqa: F401 (makes the type known)
    tokenizer = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
