"""Checkpoints as the original publishes them: a state dict of its T5, pickled by torch.

The names are those of Hugging Face's T5; the whole-word embeddings hang on the encoder, and training on several cards
put ``module.`` before all of them (Geng et al. 2022, the released code).
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import T5Config

from bench.errors import DataError, MissingInputError
from llm_models.indexing.tokenizer import END, PAD
from llm_models.p5.network import P5Network

__all__ = ["load_published"]

WHOLE_WORD = "encoder.whole_word_embeddings.weight"
#: Copies of the embedding table that a state dict lists under their own names.
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
#: Written by old versions of transformers, read by none: a cross-attention has no positions.
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
#: Names that an error lists.
LISTED = 5


def load_published(path: Path, *, dropout: float) -> P5Network:
    """Read a checkpoint of the original; the size of the network follows from its tensors.

    Raises
    ------
    MissingInputError
        When there is no such file.
    DataError
        When it holds anything else than such tensors: code, other names, other shapes.
    """
    weights = _renamed(path, _tensors(path))
    table, head = weights["t5.shared.weight"], weights.get("t5.lm_head.weight")
    if head is not None and torch.equal(head, table):
        del weights["t5.lm_head.weight"]
    untied = "t5.lm_head.weight" in weights
    network = P5Network.described({"config": _config(path, weights, dropout).to_dict(), "untied": untied})
    expected = dict(network.named_parameters())
    _refuse(path, "lacks", expected.keys() - weights.keys())
    _refuse(path, "holds what a P5 has not", weights.keys() - expected.keys())
    for name, weight in expected.items():
        if weight.shape != weights[name].shape:
            raise DataError(
                f"{path}: {name.removeprefix('t5.')} has the shape {tuple(weights[name].shape)}, and by the other "
                f"tensors it should have {tuple(weight.shape)}"
            )
    network.adopt(weights)
    return network


def _tensors(path: Path) -> dict[str, Tensor]:
    """Unpickle tensors, and nothing but tensors."""
    if not path.is_file():
        raise MissingInputError(f"no checkpoint at {path}: set `checkpoint` to the .pth file of a trained P5")
    try:
        # Files of old versions of torch are no archives, and cannot be mapped.
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: not a plain state dict: it holds something else than tensors, or is damaged, and is not opened, "
            "for unpickling could run any code. Save it anew with `torch.save(model.state_dict(), path)` where you "
            "trust it."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise DataError(f"{path}: torch cannot read this checkpoint: {error}") from error
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: a state dict was expected, a {type(found).__name__} is there")
    odd = [str(name) for name, value in found.items() if not isinstance(value, Tensor) or not value.is_floating_point()]
    _refuse(path, "holds what is no table of weights:", odd)
    return found


def _renamed(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Call the tensors as our network does; of copies of the embedding table one is kept."""
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    for name in ("shared.weight", WHOLE_WORD):
        if name not in tensors:
            hint = ": is it a plain T5? That is what `pretrained` takes" if name == WHOLE_WORD else ""
            raise DataError(f"{path} lacks {name}{hint}")
    for name in COPIES:
        if name in tensors and not torch.equal(tensors.pop(name), tensors["shared.weight"]):
            raise DataError(f"{path}: {name} is not the same as shared.weight; a T5 reads with one table")
    tensors.pop(UNUSED, None)
    return {"whole_word.weight" if name == WHOLE_WORD else f"t5.{name}": tensor for name, tensor in tensors.items()}


def _config(path: Path, weights: dict[str, Tensor], dropout: float) -> T5Config:
    """Tell the size from the shapes."""

    def shape(name: str) -> tuple[int, ...]:
        if f"t5.{name}" not in weights or weights[f"t5.{name}"].dim() != 2:
            raise DataError(f"{path} lacks the matrix {name}, from which its size is told")
        return tuple(weights[f"t5.{name}"].shape)

    def blocks(stack: str) -> int:
        numbers = [int(found[1]) for name in weights if (found := re.match(rf"t5\.{stack}\.block\.(\d+)\.", name))]
        return max(numbers, default=0) + 1

    gated = "t5.encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in weights
    buckets, heads = shape("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    vocabulary, d_model = shape("shared.weight")
    config: dict[str, Any] = {
        "vocab_size": vocabulary,
        "d_model": d_model,
        "d_ff": shape(f"encoder.block.0.layer.1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight")[0],
        "d_kv": shape("encoder.block.0.layer.0.SelfAttention.q.weight")[0] // heads,
        "num_heads": heads,
        "num_layers": blocks("encoder"),
        "num_decoder_layers": blocks("decoder"),
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "dropout_rate": dropout,
    }
    return T5Config(**config, pad_token_id=PAD, eos_token_id=END, decoder_start_token_id=PAD)


def _refuse(path: Path, what: str, names: Iterable[str]) -> None:
    ordered = sorted(name.removeprefix("t5.").replace("whole_word.weight", WHOLE_WORD) for name in names)
    if ordered:
        more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
        raise DataError(f"{path} {what} {', '.join(ordered[:LISTED])}{more}")
