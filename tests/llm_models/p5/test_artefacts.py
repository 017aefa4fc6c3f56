from __future__ import annotations

from pathlib import Path

import pytest

from llm_models.p5.settings import P5Settings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("pieces", [50, 60])
def test_a_t5_of_version_11_keeps_an_output_table_of_its_own(tmp_path: Path, pieces: int) -> None:
    """Also where the tokenizer has more pieces than the checkpoint has rows, and after it was stored."""
    from llm_models.p5.artefacts import load_network, make_network, save_network
    from llm_models.p5.network import untie

    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=1, feed_forward_proj="gated-gelu",
        decoder_start_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    t5 = transformers.T5ForConditionalGeneration(config)
    untie(t5)
    torch.nn.init.normal_(t5.lm_head.weight)
    t5.save_pretrained(tmp_path)
    network = make_network(P5Settings(pretrained=str(tmp_path), dropout=0.3), range(pieces))
    assert network.t5.config.dropout_rate == 0.3
    for made, table in ((network.t5.shared, t5.shared), (network.t5.lm_head, t5.lm_head)):
        assert made.weight.shape == (pieces, 16)
        assert torch.equal(made.weight[:50], table.weight)
    (tmp_path / "stored").mkdir()
    save_network(network, tmp_path / "stored")
    again = load_network(tmp_path / "stored").eval()
    ids, labels = torch.randint(3, 50, (2, 7)), torch.randint(3, 50, (2, 3, 4))
    with torch.inference_mode():
        assert torch.equal(again.loss(ids, ids, labels), network.eval().loss(ids, ids, labels))
        expected = t5.eval()(input_ids=ids, labels=labels[:, 0].contiguous()).loss
        # Without whole words, and with no more rows, it is the T5 that was loaded.
        again.whole_words = "training"
        if pieces == 50:
            torch.testing.assert_close(again.loss(ids, ids, labels[:, :1]), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_checkpoint_in_half_precision_is_trained_in_single(tmp_path: Path, dtype: str) -> None:
    from llm_models.p5.artefacts import make_network

    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=1, decoder_start_token_id=0
    )
    t5 = transformers.T5ForConditionalGeneration(config).to(getattr(torch, dtype))
    t5.save_pretrained(tmp_path)
    network = make_network(P5Settings(pretrained=str(tmp_path)), range(50))
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert torch.equal(network.t5.shared.weight, t5.shared.weight.float())
    ids = torch.randint(3, 50, (2, 7))
    network.loss(ids, ids, ids[:, None]).backward()


def test_tied_tables_are_stored_once(tmp_path: Path) -> None:
    from safetensors import safe_open

    from llm_models.p5.artefacts import load_network, save_network, scratch_network

    network = scratch_network(P5Settings(d_model=16, d_ff=24, d_kv=8, heads=2, layers=1))
    save_network(network, tmp_path)
    shape = list(network.t5.shared.weight.shape)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert [file.get_slice(name).get_shape() for name in file.offset_keys()].count(shape) == 1
    again = load_network(tmp_path)
    assert again.t5.lm_head.weight is again.t5.shared.weight
    assert torch.equal(again.t5.shared.weight, network.t5.shared.weight)
