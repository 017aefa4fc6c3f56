"""A small BERT: fewer or narrower layers, one layer shared by all (as ALBERT does), short word vectors projected up.

Such a stack is made, trained by :mod:`llm_models.m6.edge.distil`, and saved as a folder that is a backbone like any
other. Without sharing and projection it is a plain BERT checkpoint, which Hugging Face's classes read too. Otherwise
``config.json`` says ``model_type: compact-bert`` and holds the fields of :class:`Compact`, and a shared layer's weights
are stored once.

Imports torch and transformers: import this module inside a method.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, BertConfig, BertModel, PretrainedConfig

from bench.errors import ModelError
from llm_models.backbones.locate import BackboneFiles
from llm_models.backbones.stack import BertStack

__all__ = ["COMPACT", "Compact", "CompactStack", "Factorised", "load_compact", "save_compact"]

COMPACT = "compact-bert"
"""``model_type`` of stacks that are no plain BERT."""


class CompactConfig(PretrainedConfig):
    """Tells Hugging Face's classes of the type: a tokenizer looks at the configuration beside it."""

    model_type = COMPACT


AutoConfig.register(COMPACT, CompactConfig, exist_ok=True)

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
    "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip


@dataclass(frozen=True)
class Compact:
    """Sizes of a small stack.

    Attributes
    ----------
    depth : int
        Layers that are computed.
    width, heads, inner : int
        Length of a hidden state, attention heads, width of the feed-forward network.
    vocabulary, positions : int
    shared : bool
        Whether all layers are the same one.
    word_width : int or None
        Length of a stored word vector, projected up to ``width``; ``None``: word vectors have that length themselves.
    """

    depth: int
    width: int
    heads: int
    inner: int
    vocabulary: int
    positions: int = 512
    shared: bool = False
    word_width: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether this is an ordinary BERT."""
        return not self.shared and self.word_width is None

    def bert(self) -> BertConfig:
        """The configuration of the BERT that holds the weights."""
        return BertConfig(
            hidden_size=self.width,
            num_hidden_layers=1 if self.shared else self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.inner,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.positions,
        )

    def make(self, *, seed: int = 0) -> CompactStack:
        """A stack of these sizes with weights drawn at random, frozen."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return CompactStack(self, BertModel(self.bert(), add_pooling_layer=False))


class Factorised(nn.Module):
    """Word vectors that are stored short and projected up.

    Attributes
    ----------
    table : torch.nn.Embedding
        Weight of shape (words, word width).
    up : torch.nn.Linear
    embedding_dim : int
        Length of a projected word vector.
    """

    def __init__(self, words: int, word_width: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, word_width)
        self.up = nn.Linear(word_width, width, bias=False)
        self.embedding_dim = width
        nn.init.normal_(self.table.weight, std=0.02)
        nn.init.normal_(self.up.weight, std=word_width**-0.5)

    @property
    def weight(self) -> Tensor:
        """All projected word vectors, shape (words, width)."""
        return self.up(self.table.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look tokens up, shape (rows, tokens) to (rows, tokens, width)."""
        return self.up(self.table(tokens))


class CompactStack(BertStack):
    """See the module; made by :meth:`Compact.make`, :func:`load_compact`.

    Attributes
    ----------
    sizes : Compact
    """

    def __init__(self, sizes: Compact, model: Any) -> None:
        super().__init__(model)
        self.sizes = sizes
        if sizes.shared:
            self.blocks = nn.ModuleList([self.blocks[0]] * sizes.depth)
        if sizes.word_width is not None:
            self.words = Factorised(sizes.vocabulary, sizes.word_width, sizes.width)
        self.eval().requires_grad_(False)


def save_compact(stack: CompactStack, folder: Path, tokenizer: BackboneFiles) -> None:
    """Save a stack as a backbone.

    Parameters
    ----------
    stack : CompactStack
    folder : Path
        Made if it is not there.
    tokenizer : BackboneFiles
        The backbone whose tokenizer it reads with.
    """
    from safetensors.torch import save_file

    sizes = stack.sizes
    folder.mkdir(parents=True, exist_ok=True)
    # A parameter that several layers share is named once.
    weights = {name: weight.detach().cpu().contiguous() for name, weight in stack.named_parameters()}
    config: dict[str, Any]
    if sizes.is_plain:
        weights = {_plain_name(name): weight for name, weight in weights.items()}
        config = {**sizes.bert().to_diff_dict(), "model_type": "bert", "architectures": ["BertModel"]}
    else:
        # The first two are for whoever only wants to know how large it is.
        size = {"hidden_size": sizes.width, "num_hidden_layers": sizes.depth}
        config = {"model_type": COMPACT, **size, "sizes": vars(sizes)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name in _TOKENIZER_FILES:
        if (tokenizer.folder / name).is_file():
            shutil.copyfile(tokenizer.folder / name, folder / name)


def load_compact(files: BackboneFiles) -> CompactStack:
    """Load a folder whose ``model_type`` is :data:`COMPACT`.

    Raises
    ------
    ModelError
        When weights and sizes do not belong together.
    """
    from safetensors.torch import load_file

    config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
    stack = Compact(**config["sizes"]).make()
    weights, wanted = load_file(files.folder / "model.safetensors"), dict(stack.named_parameters())
    if weights.keys() != wanted.keys() or any(weights[name].shape != wanted[name].shape for name in wanted):
        raise ModelError(
            f"{files.folder}: model.safetensors does not hold the weights of a stack of the sizes in config.json "
            f"({config['sizes']}); distil it again, or copy the folder whole"
        )
    for name, weight in wanted.items():
        weight.data = weights[name]
    return stack


def _plain_name(name: str) -> str:
    """Hugging Face's name of a parameter of a plain BERT."""
    for ours, theirs in (
        ("words.", "embeddings.word_embeddings."),
        ("places.", "embeddings.position_embeddings."),
        ("types.", "embeddings.token_type_embeddings."),
        ("norm.", "embeddings.LayerNorm."),
    ):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    _, number, _, rest = name.split(".", 3)  # blocks.<n>.layer.<rest>
    return f"encoder.layer.{number}.{rest}"
