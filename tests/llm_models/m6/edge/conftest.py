"""Tiny stacks and networks."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.data.ragged import Ragged  # noqa: E402
from llm_models.backbones.stack import stack_of  # noqa: E402
from llm_models.m6.network import M6Network  # noqa: E402
from llm_models.m6.packing import Packer  # noqa: E402
from llm_models.m6.tuning import Tuning  # noqa: E402

WIDTH, WORDS = 16, 60
TEXTS = Ragged.from_lists([[5, 6, 7], [8], [9, 10], [11, 12, 13, 14], [15, 16], [17, 18, 19, 20, 21, 22]])
USER = Ragged.from_lists([[0, 1, 2], [3], [0, 2], [5, 1], [4]])
TARGET = Ragged.from_lists([[4], [1], [3], [0], [5]])


def _stack(kind="bert", *, depth=3, seed=1):
    torch.manual_seed(seed)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": depth, "num_attention_heads": 2, "intermediate_size": 24}
    specials = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": WORDS}
    if kind == "bert":
        model = hf.BertModel(hf.BertConfig(**sizes, vocab_size=WORDS, max_position_embeddings=64))
    elif kind == "llama":
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **specials, num_key_value_heads=1))
    else:
        model = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=WIDTH, n_layer=depth, n_head=2, n_positions=64, **specials))
    for name, weight in model.named_parameters():  # as spread as in a trained model, or all answers are alike
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.3)
        elif "norm" in name.lower() or "ln_" in name:
            torch.nn.init.normal_(weight, 1.0 if name.endswith("weight") else 0.0, 0.2)
    return stack_of(model)


def _network(kind="bert", *, method="option-adapter", late=0, reading="all", stack=None, seed=0):
    stack = _stack(kind) if stack is None else stack
    generator = torch.Generator().manual_seed(seed)
    tuning = Tuning(stack, method, classes=2, prompts=3, rank=4, begin=1, end=2, generator=generator)
    for name, weight in tuning.named_parameters():
        if name.startswith("adapters"):
            torch.nn.init.normal_(weight, std=0.3)
    network = M6Network(stack, {"click": tuning}, late=late, reading=reading)
    if late:
        torch.nn.init.normal_(network.segments)
    if method == "full":
        stack.requires_grad_(True)
    return network


@pytest.fixture(scope="session")
def tiny():
    """Makes stacks and networks; ``texts``, ``user`` and ``target`` are rows to pack."""
    return SimpleNamespace(stack=_stack, network=_network, words=WORDS, width=WIDTH, user=USER, target=TARGET)


@pytest.fixture(scope="session")
def batch():
    """A batch of five rows with a candidate each."""
    return Packer(TEXTS, begin=1, end=2, max_tokens=64).pack(USER, TARGET, [("click", len(USER))])


@pytest.fixture(scope="session")
def shared_batch():
    """Rows with one, two and three candidates."""
    target = Ragged.from_lists([[4], [1, 3], [3, 5, 0], [0], [5]])
    return Packer(TEXTS, begin=1, end=2, max_tokens=64).pack(USER, target, [("click", len(USER))])
