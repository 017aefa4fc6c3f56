from __future__ import annotations

import pytest

from llm_models.p5.settings import P5Settings, parameter_count

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZE = P5Settings(d_model=24, d_ff=40, d_kv=8, heads=3, layers=2, dropout=0.2)


def make(settings: P5Settings = SIZE, **config):
    from llm_models.p5.network import P5Network, scratch_config

    torch.manual_seed(0)
    described = scratch_config(settings)
    for name, value in config.items():
        setattr(described, name, value)
    network = P5Network(transformers.T5ForConditionalGeneration(described)).eval()
    torch.nn.init.zeros_(network.whole_word.weight)
    return network


def inputs():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 400, (5, 17), generator=generator)
    ids[2, 10:] = 0
    labels = torch.randint(3, 400, (5, 3, 4), generator=generator)
    labels[0, 1, 2:] = -100
    return ids, labels


@pytest.mark.parametrize("config", [{}, {"scale_decoder_outputs": False}])
def test_without_whole_words_it_is_hugging_faces_t5(config: dict[str, object]) -> None:
    from llm_models.p5.network import shift_right

    network = make(**config)
    ids, labels = inputs()
    with torch.inference_mode():
        logits, _ = network.decode(shift_right(labels), network.encode(ids, torch.zeros_like(ids)))
        for answer in range(labels.shape[1]):
            expected = network.t5(
                input_ids=ids, attention_mask=(ids != 0).long(), labels=labels[:, answer].contiguous()
            ).logits
            torch.testing.assert_close(logits[:, answer], expected, atol=1e-5, rtol=1e-5)


def test_loss_is_the_mean_over_answers_of_hugging_faces() -> None:
    network = make()
    ids, labels = inputs()
    labels[4, 2] = -100
    words = torch.zeros_like(ids)
    expected = [
        network.t5(
            input_ids=ids[p : p + 1], attention_mask=(ids[p : p + 1] != 0).long(), labels=labels[p, a][None]
        ).loss
        for p in range(5)
        for a in range(3)
        if (p, a) != (4, 2)
    ]
    torch.testing.assert_close(network.loss(ids, words, labels), torch.stack(expected).mean())


def test_one_token_at_a_time_is_all_at_once() -> None:
    from llm_models.p5.network import shift_right

    network = make()
    ids, labels = inputs()
    with torch.inference_mode():
        memory = network.encode(ids, torch.ones_like(ids))
        tokens = shift_right(labels)
        together, _ = network.decode(tokens, memory)
        past = None
        for place in range(tokens.shape[2]):
            logits, past = network.decode(tokens[:, :, place : place + 1], memory, past)
            torch.testing.assert_close(logits[:, :, 0], together[:, :, place], atol=1e-5, rtol=1e-5)


def test_whole_words_are_read_and_padding_is_not() -> None:
    network = make()
    torch.nn.init.normal_(network.whole_word.weight)
    ids, labels = inputs()
    words = torch.arange(17).expand(5, 17).clone()
    with torch.inference_mode():
        loss = network.loss(ids[2:3], words[2:3], labels[2:3])
        changed = words[2:3].clone()
        changed[0, 12] = 3
        torch.testing.assert_close(network.loss(ids[2:3], changed, labels[2:3]), loss)
        torch.testing.assert_close(network.loss(ids[2:3, :10], words[2:3, :10], labels[2:3]), loss)
        changed[0, 4] = 9
        assert abs(network.loss(ids[2:3], changed, labels[2:3]) - loss) > 1e-6


def test_words_past_the_table_share_its_last_row() -> None:
    network = make()
    torch.nn.init.normal_(network.whole_word.weight)
    ids, labels = inputs()
    far, last = torch.full_like(ids, 100_000), torch.full_like(ids, 511)
    torch.testing.assert_close(network.loss(ids, far, labels), network.loss(ids, last, labels))


@pytest.mark.parametrize("settings", [SIZE, P5Settings(), P5Settings(digits=3, layers=1)])
def test_parameters_are_counted_without_building(settings: P5Settings) -> None:
    assert sum(parameter.numel() for parameter in make(settings).parameters()) == parameter_count(settings)


def test_gated_checkpoints_run_too() -> None:
    """T5 1.1 has another feed-forward layer; the decoder takes it as it is."""
    from llm_models.p5.network import P5Network, shift_right

    config = transformers.T5Config(
        vocab_size=400, d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=1, feed_forward_proj="gated-gelu",
        decoder_start_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    network = P5Network(transformers.T5ForConditionalGeneration(config)).eval()
    torch.nn.init.zeros_(network.whole_word.weight)
    ids, labels = inputs()
    with torch.inference_mode():
        logits, _ = network.decode(shift_right(labels), network.encode(ids, torch.zeros_like(ids)))
        expected = network.t5(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels[:, 0].contiguous()).logits
    torch.testing.assert_close(logits[:, 0], expected, atol=1e-5, rtol=1e-5)
