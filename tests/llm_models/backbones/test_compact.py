"""Compact stacks: sizes by hand, a folder that is a backbone again, a plain one that Hugging Face reads too."""

import json

import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.errors import ModelError  # noqa: E402
from llm_models.backbones.compact import Compact, CompactStack, save_compact  # noqa: E402
from llm_models.backbones.locate import locate  # noqa: E402
from llm_models.backbones.stack import load_stack, load_tokenizer  # noqa: E402

SIZES = {"depth": 3, "width": 8, "heads": 2, "inner": 12, "vocabulary": 30522, "positions": 16}
SHAPES = [(False, None), (True, None), (False, 4), (True, 4)]


@pytest.fixture(scope="module")
def minilm():
    return locate("packaged-minilm")


def _forward(stack, tokens):
    positions = torch.arange(tokens.shape[1])[None]
    return stack.run(stack.begin(stack.words(tokens), positions), None, positions).hidden


@pytest.mark.parametrize(("shared", "word_width"), SHAPES)
def test_sizes(shared, word_width):
    stack = Compact(**SIZES, shared=shared, word_width=word_width).make()
    words = 30522 * 8 if word_width is None else 30522 * word_width + word_width * 8
    layer = 4 * (8 * 8 + 8) + (8 * 12 + 12) + (12 * 8 + 8) + 4 * 8
    assert sum(weight.numel() for weight in stack.parameters()) == words + (16 + 2 + 2) * 8 + layer * (
        1 if shared else 3
    )
    assert (stack.depth, stack.width, stack.longest) == (3, 8, 16)
    assert len(set(stack.blocks)) == (1 if shared else 3)
    assert not any(weight.requires_grad for weight in stack.parameters())
    assert stack.words.weight.shape == (30522, 8)


def test_the_seed_decides_and_nothing_else_is_disturbed():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    made = [Compact(**SIZES, shared=True).make(seed=seed).words.weight for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(("shared", "word_width"), SHAPES)
@torch.inference_mode()
def test_a_saved_stack_is_a_backbone(tmp_path, minilm, capfd, shared, word_width):
    stack = Compact(**SIZES, shared=shared, word_width=word_width).make()
    save_compact(stack, tmp_path / "small", minilm)
    files = locate(str(tmp_path / "small"))
    assert files.tokenizer_sha256 == minilm.tokenizer_sha256
    loaded = load_stack(files)
    tokens = torch.tensor(load_tokenizer(files)("Heat (1995), a drama")["input_ids"])[None]
    assert tokens[0, 0] == 101  # [CLS]
    torch.testing.assert_close(_forward(loaded, tokens), _forward(stack, tokens), atol=1e-6, rtol=1e-6)
    assert isinstance(loaded, CompactStack) == (shared or word_width is not None)
    assert load_stack(files, dtype="bfloat16").dtype == torch.bfloat16
    config = json.loads((files.folder / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == (8, 3)
    assert "compact-bert" not in capfd.readouterr().err  # nobody wonders what type that is


@torch.inference_mode()
def test_a_plain_one_is_a_checkpoint_of_hugging_faces(tmp_path, minilm):
    stack = Compact(**SIZES).make(seed=5)
    save_compact(stack, tmp_path, minilm)
    model = hf.AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert isinstance(model, hf.BertModel)
    tokens = torch.arange(100, 110)[None]
    torch.testing.assert_close(model(input_ids=tokens).last_hidden_state, _forward(stack, tokens), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_shared_layer_is_the_layer_run_again(minilm):
    stack, tokens = Compact(**SIZES, shared=True).make(), torch.arange(100, 110)[None]
    positions = torch.arange(10)[None]
    hidden = stack.begin(stack.words(tokens), positions)
    for _ in range(3):
        hidden, _ = stack.blocks[0](hidden, None, None)
    torch.testing.assert_close(_forward(stack, tokens), hidden)


def test_weights_of_other_sizes_are_refused(tmp_path, minilm):
    save_compact(Compact(**SIZES, shared=True).make(), tmp_path, minilm)
    config = json.loads((tmp_path / "config.json").read_text())
    config["sizes"]["inner"] = 20
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"does not hold the weights.*'inner': 20.*distil it again"):
        load_stack(locate(str(tmp_path)))
