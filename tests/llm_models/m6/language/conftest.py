"""A tokenizer of words and stacks small enough to train in a second, one of each type."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: E402

from bench.models.testing import small_world  # noqa: E402
from llm_models.backbones.stack import stack_of  # noqa: E402

WORDS = """
    the a this they chose it because item drum horn reed bell string loud bright soft warm sound tone price good
    great bad broke soon user likes and next chooses headline review category title description red blue old new . :
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def tokenizer():
    """Whole words, lower case."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[BOS]", "[EOS]", "[UNK]", *WORDS])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]", unk_token="[UNK]"
    )


SIZES = {"vocab_size": 4 + len(WORDS)}


def hugging_face(kind):
    """A decoder as Hugging Face builds it, with weights large enough to have opinions."""
    torch.manual_seed(3)
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "gpt2":
        config = hf.GPT2Config(**SIZES, **marks, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3)
        return hf.GPT2LMHeadModel(config).eval()
    config = hf.LlamaConfig(
        **SIZES,
        **marks,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        initializer_range=0.3,
    )
    return hf.LlamaForCausalLM(config).eval()


def encoder_stack():
    """A BERT without a head."""
    torch.manual_seed(3)
    config = hf.BertConfig(
        **SIZES,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        pad_token_id=0,
        initializer_range=0.3,
    )
    return stack_of(hf.BertModel(config))


@pytest.fixture
def decoder():
    """Build a decoder: its Hugging Face model, and the stack over the same weights."""

    def build(kind):
        model = hugging_face(kind)
        return model, stack_of(model)

    return build


@pytest.fixture
def encoder():
    """Build an encoder's stack."""
    return encoder_stack


@pytest.fixture(scope="session")
def backbones(tmp_path_factory):
    """Folders with a tiny BERT and a tiny Llama over the words of the small world."""
    world = small_world()
    texts = [*world.items["title"], *world.reviews.frame()["text"].drop_nulls(), "next they choose somebody :"]
    words = sorted(set(WORDS) | {word for text in texts for word in text.lower().replace(".", " . ").split()})
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
