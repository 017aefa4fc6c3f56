"""The harness's contract, on a backbone written to disk: an encoder whose head is trained, a decoder with its own."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: E402

from bench.models import Budget  # noqa: E402
from bench.models.testing import RecommenderContract, small_world  # noqa: E402
from llm_models.m6.language.likelihood import M6Likelihood  # noqa: E402
from llm_models.m6.language.writer import M6Writer  # noqa: E402


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Folders with a tiny BERT and a tiny Llama over the words of the small world."""
    world = small_world()
    texts = [*world.items["title"], *world.reviews.frame()["text"].drop_nulls(), "next they choose somebody headline :"]
    words = sorted({word for text in texts for word in text.lower().replace(".", " . ").split()})
    marks = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate([*marks, *words])}, "[UNK]"))
    plain.normalizer, plain.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    own = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    sizes = {"vocab_size": len(marks) + len(words), "hidden_size": 16, "num_hidden_layers": 1, "initializer_range": 0.3}
    sizes |= {"num_attention_heads": 2, "intermediate_size": 16, "pad_token_id": 0}
    folders = {}
    for kind in ("bert", "llama"):
        torch.manual_seed(0)
        folders[kind] = tmp_path_factory.mktemp(kind)
        if kind == "bert":
            model = hf.BertModel(hf.BertConfig(**sizes, max_position_embeddings=256))
            tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=plain, cls_token="[CLS]", sep_token="[SEP]", **own)
        else:
            model = hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, num_key_value_heads=1, bos_token_id=1, eos_token_id=2))
            tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="[CLS]", eos_token="[SEP]", **own)
        model.save_pretrained(folders[kind])
        tokenizer.save_pretrained(folders[kind])
    return folders


class OnTinyBackbones(RecommenderContract):
    """The settings name a backbone that a fixture writes."""

    kind: ClassVar[str]
    rest: ClassVar[dict[str, Any]] = {}
    budget = Budget(max_steps=6, eval_every_steps=3, patience=2)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def with_backbone(cls, backbones):
        cls.settings = {"backbone": str(backbones[cls.kind]), "prompts": 2, "rank": 2, **cls.rest}


class TestWriter(OnTinyBackbones):
    model = M6Writer
    kind = "bert"
    rest: ClassVar = {"longest": 6, "learning_rate": 0.02}


class TestWriterThatDraws(OnTinyBackbones):
    model = M6Writer
    kind = "llama"
    rest: ClassVar = {"decode": "top-p", "longest": 5, "tuned": "prompt", "mentions": 0}


class TestZeroShotLikelihood(OnTinyBackbones):
    model = M6Likelihood
    kind = "llama"
    rest: ClassVar = {"tuned": "zero-shot", "against_nobody": 0.5}


class TestTrainedLikelihood(OnTinyBackbones):
    model = M6Likelihood
    kind = "bert"
    rest: ClassVar = {"samples": 20}
