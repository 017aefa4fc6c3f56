"""Checkpoints of the layout in which the original publishes its own, made up here."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

from bench.errors import DataError, MissingInputError, UsageError
from llm_models.p5.settings import P5Settings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = "encoder.whole_word_embeddings.weight"


def t5(seed: int = 0, vocab_size: int = 300):
    config = transformers.T5Config(
        vocab_size=vocab_size, d_model=16, d_ff=40, d_kv=6, num_heads=3, num_layers=2, num_decoder_layers=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    return transformers.T5ForConditionalGeneration(config).eval()


def released(model, prefix: str = "module."):
    """The state dict as training on several cards leaves it: T5's names, and the table that hangs on the encoder."""
    state = OrderedDict((name, tensor.clone()) for name, tensor in model.state_dict().items())
    assert {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"} <= set(
        state
    )
    state[WORDS] = torch.randn(512, 16, generator=torch.Generator().manual_seed(4))
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def load(path: Path):
    from llm_models.p5.published import load_published

    return load_published(path, dropout=0.1).eval()


@pytest.fixture
def write(tmp_path: Path):
    def write(state, **how) -> Path:
        torch.save(state, tmp_path / "epoch-10.pth", **how)
        return tmp_path / "epoch-10.pth"

    return write


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("vocab_size", [300, 328])
def test_it_answers_as_the_network_that_was_published(write, prefix: str, vocab_size: int) -> None:
    """T5's table may hold more rows than its tokenizer has pieces (32,128 for 32,100), or not."""
    model = t5(vocab_size=vocab_size)
    state = released(model, prefix)
    network = load(write(state))
    assert network.t5.config.vocab_size == vocab_size
    assert network.t5.config.dropout_rate == 0.1
    assert network.t5.lm_head.weight is network.t5.shared.weight
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 300, (4, 11), generator=generator)
    ids[1, 7:] = 0
    words = torch.randint(0, 512, ids.shape, generator=generator)
    labels = torch.randint(3, 300, (4, 5), generator=generator)
    mask = (ids != 0).long()
    with torch.inference_mode():
        for whole_words, embedded in (
            ("always", model.shared(ids) + state[prefix + WORDS][words]),
            ("training", model.shared(ids)),
        ):
            network.whole_words = whole_words
            expected = model(inputs_embeds=embedded, attention_mask=mask, labels=labels)
            torch.testing.assert_close(network.loss(ids, words, labels[:, None]), expected.loss, atol=1e-5, rtol=1e-5)


def test_an_output_table_of_its_own_stays_its_own(write) -> None:
    state = released(t5())
    state["module.lm_head.weight"] = torch.randn(300, 16)
    network = load(write(state))
    assert torch.equal(network.t5.lm_head.weight, state["module.lm_head.weight"])
    assert torch.equal(network.t5.shared.weight, state["module.shared.weight"])


def test_files_of_older_versions_are_read(write) -> None:
    """No archive; copies of the table left out; positions of a cross-attention, which nobody ever read."""
    state = released(t5())
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        del state[f"module.{name}"]
    state["module.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.randn(32, 3)
    network = load(write(state, _use_new_zipfile_serialization=False))
    assert torch.equal(network.t5.shared.weight, state["module.shared.weight"])
    assert torch.equal(network.whole_word.weight, state[f"module.{WORDS}"])


def test_gated_layers_are_told_from_the_names(write) -> None:
    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=1, feed_forward_proj="gated-gelu"
    )
    model = transformers.T5ForConditionalGeneration(config)
    network = load(write(released(model)))
    assert torch.equal(
        network.t5.encoder.block[0].layer[1].DenseReluDense.wi_1.weight,
        model.encoder.block[0].layer[1].DenseReluDense.wi_1.weight,
    )


NORM = "decoder.block.0.layer.2.layer_norm.weight"


def change(state, name: str, value) -> None:
    if value is None:
        del state[f"module.{name}"]
    else:
        state[f"module.{name}"] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (NORM, None, f"lacks {NORM}$"),
        ("decoder.adapter.weight", torch.zeros(2, 2), r"holds what a P5 has not decoder\.adapter\.weight$"),
        (NORM, torch.zeros(17), rf"{NORM} has the shape \(17,\), and by the other tensors it should have \(16,\)"),
        (WORDS, torch.zeros(100, 16), r"shape \(100, 16\), and by the other tensors it should have \(512, 16\)"),
        (WORDS, None, rf"lacks {WORDS}: is it a plain T5\? That is what `pretrained` takes"),
        ("shared.weight", None, r"lacks shared\.weight$"),
        ("encoder.embed_tokens.weight", torch.zeros(300, 16), r"embed_tokens\.weight is not the same as shared"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", None, r"lacks the matrix .*SelfAttention\.q\.weight"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", torch.zeros(5), r"lacks the matrix .*\.q\.weight"),
        ("epoch", 10, r"holds what is no table of weights: module\.epoch"),
        (NORM, torch.zeros(16, dtype=torch.int64), rf"holds what is no table of weights: module\.{NORM}"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(write, name: str, value, message: str) -> None:
    state = released(t5())
    change(state, name, value)
    path = write(state)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


def test_code_in_a_checkpoint_is_not_run(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    state = released(t5())
    state["module.extra"] = Evil()
    path = write(state)
    for attempt in (path, tmp_path / "bare.pth"):
        if attempt != path:
            attempt.write_bytes(pickle.dumps(Evil(), protocol=2))
        with pytest.raises(DataError, match=r"not a plain state dict: .* unpickling could run any code"):
            load(attempt)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_checkpoint_is_said(write, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"no checkpoint at .*none\.pth: set `checkpoint`"):
        load(tmp_path / "none.pth")
    with pytest.raises(DataError, match="a state dict was expected, a list is there"):
        load(write([torch.zeros(2)]))
    whole = write(released(t5())).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.pth"):
        load(tmp_path / "cut.pth")


def test_settings_name_one_start_and_its_tokenizer() -> None:
    with pytest.raises(ValueError, match="from `pretrained` or from `checkpoint`, not from both"):
        P5Settings(pretrained="t5-small", checkpoint="p5.pth", tokenizer="t5-small")
    with pytest.raises(ValueError, match=r"a \.pth file brings no tokenizer: set `tokenizer`"):
        P5Settings(checkpoint="p5.pth")
    assert P5Settings(checkpoint="a/stored/model").tokenizer_source == "a/stored/model"


def test_networks_start_from_it(write, tmp_path: Path) -> None:
    from llm_models.p5.artefacts import brought_along, load_network, make_network, save_network

    state = released(t5())
    path = write(state)
    settings = P5Settings(checkpoint=str(path), tokenizer="somebody/t5", dropout=0.25)
    network = make_network(settings, range(300))
    assert torch.equal(network.t5.shared.weight, state["module.shared.weight"])
    assert network.t5.config.dropout_rate == 0.25
    with pytest.raises(UsageError, match=r"the tokenizer has 301 pieces, the checkpoint .* 300 rows"):
        make_network(settings, range(301))
    folder = tmp_path / "stored"
    folder.mkdir()
    save_network(network, folder)
    again = make_network(P5Settings(checkpoint=str(folder), dropout=0.5), range(300))
    assert again.t5.config.dropout_rate == 0.5
    for one, other in zip(again.named_parameters(), load_network(folder).named_parameters(), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
    assert torch.equal(again.whole_word.weight, state[f"module.{WORDS}"])
    with pytest.raises(MissingInputError, match="no P5 checkpoint at"):
        brought_along(P5Settings(checkpoint=str(tmp_path / "nowhere.pth"), tokenizer=_tokenizer(tmp_path)))
    digests = brought_along(P5Settings(checkpoint=str(path), tokenizer=_tokenizer(tmp_path)))
    change(state, NORM, torch.zeros(16))
    write(state)
    changed = brought_along(P5Settings(checkpoint=str(path), tokenizer=_tokenizer(tmp_path)))
    assert digests["tokenizer"] == changed["tokenizer"]
    assert digests["checkpoint"] != changed["checkpoint"]


@pytest.mark.parametrize("start", ["pretrained", "checkpoint"])
def test_a_network_of_another_shape_is_another_one(write, tmp_path: Path, start: str) -> None:
    """As many weights may be two heads or four: the shape is part of the identity."""
    from llm_models.p5.artefacts import brought_along, make_network, save_network

    path = write(released(t5()))
    save_network(make_network(P5Settings(checkpoint=str(path), tokenizer="somebody/t5"), range(300)), tmp_path)
    settings = P5Settings(**{start: str(tmp_path)}, tokenizer=_tokenizer(tmp_path))
    before = brought_along(settings)
    config = json.loads((tmp_path / "config.json").read_text())
    changed = config | {"num_heads": 2 * config["num_heads"], "d_kv": config["d_kv"] // 2}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    assert brought_along(settings)["checkpoint"] != before["checkpoint"]
    (tmp_path / "config.json").unlink()
    with pytest.raises(MissingInputError, match=r"config\.json"):
        brought_along(settings)


def _tokenizer(folder: Path) -> str:
    pytest.importorskip("sentencepiece")
    from llm_models.indexing import train_tokenizer

    path = folder / "spiece.model"
    if not path.exists():
        path.write_bytes(train_tokenizer(["one two three four five"] * 9, digits=2, size=320).model)
    return str(path)
