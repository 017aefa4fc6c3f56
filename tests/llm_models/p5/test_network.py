from __future__ import annotations

import json

import pytest

from llm_models.p5.settings import P5Settings, parameter_count

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZE = P5Settings(d_model=24, d_ff=40, d_kv=8, heads=3, layers=2, dropout=0.2)
T5_11 = {
    "vocab_size": 400, "d_model": 16, "d_ff": 24, "d_kv": 8, "num_heads": 2, "num_layers": 2, "num_decoder_layers": 1,
    "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0, "tie_word_embeddings": False, "dropout_rate": 0.2,
}  # fmt: skip


def make(settings: P5Settings = SIZE, **config):
    from llm_models.p5.network import P5Network, scratch_config

    torch.manual_seed(0)
    described = scratch_config(settings)
    for name, value in config.items():
        setattr(described, name, value)
    network = P5Network(transformers.T5ForConditionalGeneration(described)).eval()
    torch.nn.init.zeros_(network.whole_word.weight)
    return network


def make_11():
    """A T5 1.1: gated feed-forward layers, an output table of its own, nothing scaled, unequal stacks."""
    from llm_models.p5.network import P5Network, untie

    torch.manual_seed(0)
    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**T5_11))
    untie(t5)
    torch.nn.init.normal_(t5.lm_head.weight, std=0.3)
    network = P5Network(t5).eval()
    torch.nn.init.zeros_(network.whole_word.weight)
    return network


def inputs():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 400, (5, 17), generator=generator)
    ids[2, 10:] = 0
    labels = torch.randint(3, 400, (5, 3, 4), generator=generator)
    labels[0, 1, 2:] = -100
    return ids, labels


def hugging_face(network, ids, labels):
    """T5's own outputs for one answer a prompt; labels of shape (prompts, tokens)."""
    return network.t5(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels.contiguous())


BOTH = pytest.mark.parametrize(
    "network", [make, make_11, lambda: make(scale_decoder_outputs=False)], ids=["T5", "T5 1.1", "unscaled"]
)


@BOTH
def test_without_whole_words_it_is_hugging_faces_t5(network) -> None:
    from llm_models.p5.network import shift_right

    network, (ids, labels) = network(), inputs()
    with torch.inference_mode():
        logits, _ = network.decode(shift_right(labels), network.encode(ids, torch.zeros_like(ids)))
        for answer in range(labels.shape[1]):
            expected = hugging_face(network, ids, labels[:, answer]).logits
            torch.testing.assert_close(logits[:, answer], expected, atol=1e-5, rtol=1e-5)


@BOTH
def test_whole_words_left_out_in_evaluation_are_as_good_as_absent(network) -> None:
    network, (ids, labels) = network(), inputs()
    torch.nn.init.normal_(network.whole_word.weight)
    words = torch.randint(0, 9, ids.shape)
    expected = hugging_face(network, ids, labels[:, 0]).loss
    network.whole_words = "training"
    with torch.inference_mode():
        without = network.loss(ids, words, labels[:, :1, :])
        network.whole_words = "always"
        torch.testing.assert_close(
            without,
            torch.stack([hugging_face(network, ids[p : p + 1], labels[p : p + 1, 0]).loss for p in range(5)]).mean(),
        )
        assert abs(network.loss(ids, words, labels[:, :1]) - expected) > 1e-3


def test_whole_words_are_learned_even_where_they_are_left_out_later() -> None:
    network, (ids, labels) = make(P5Settings(**SIZE.model_dump() | {"dropout": 0.0})), inputs()
    network.whole_words = "training"
    network.train().loss(ids, torch.full_like(ids, 3), labels).backward()
    assert network.whole_word.weight.grad[3].norm() > 0
    assert network.whole_word.weight.grad[4].norm() == 0


@BOTH
@pytest.mark.parametrize("answers", [1, 3])
def test_loss_and_gradients_are_hugging_faces(network, answers: int) -> None:
    """The mean over answers; one of them is not there, and all of the others' tokens count alike."""
    network, (ids, labels) = network(), inputs()
    labels = labels[:, :answers].clone()
    labels[4, answers - 1] = -100
    asked = [(p, a) for p in range(5) for a in range(answers) if (p, a) != (4, answers - 1)]
    loss, each = network(ids, torch.zeros_like(ids), labels)
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    network.zero_grad()
    single = [hugging_face(network, ids[p : p + 1], labels[p : p + 1, a]).loss for p, a in asked]
    expected = torch.stack(single).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for (p, a), one in zip(asked, single, strict=True):
        torch.testing.assert_close(each[p, a], one, atol=1e-5, rtol=1e-5)
    assert each[4, answers - 1] == 0
    for name, weight in network.named_parameters():
        if name != "whole_word.weight":
            torch.testing.assert_close(found[name], weight.grad, atol=1e-5, rtol=1e-4)


def test_losses_of_parts_add_up() -> None:
    """Divided by the answers of all, the losses and gradients of two halves are those of the whole."""
    network, (ids, labels) = make(), inputs()
    words = torch.ones_like(ids)
    whole, _ = network(ids, words, labels)
    parts = [network(ids[part], words[part], labels[part], 15)[0] for part in (slice(0, 2), slice(2, 5))]
    torch.testing.assert_close(sum(parts), whole)


def test_training_with_dropout_is_noise_around_evaluation() -> None:
    network, (ids, labels) = make(), inputs()
    words = torch.ones_like(ids)
    still = network.loss(ids, words, labels).item()
    network.train()
    with torch.no_grad():
        drawn = torch.stack([network.loss(ids, words, labels) for _ in range(60)])
        torch.manual_seed(5)
        one = network.loss(ids, words, labels)
        torch.manual_seed(5)
        assert network.loss(ids, words, labels) == one
    assert drawn.std() > 1e-3
    assert abs(drawn.mean() - still) < 0.2 * still


def test_bfloat16_is_close_in_loss_and_gradients() -> None:
    network, (ids, labels) = make(), inputs()
    words = torch.ones_like(ids)
    gradients, losses = [], []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = network.loss(ids, words, labels)
        network.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]))
    assert losses[0] != losses[1]
    assert abs(losses[0] - losses[1]) < 0.05
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99


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


@BOTH
def test_a_description_makes_a_network_of_the_same_shape(network) -> None:
    from llm_models.p5.network import P5Network

    network, (ids, labels) = network(), inputs()
    again = P5Network.described(json.loads(json.dumps(network.description()))).eval()
    weights = dict(network.named_parameters())
    assert weights.keys() == dict(again.named_parameters()).keys()
    again.adopt(weights)
    words = torch.ones_like(ids)
    with torch.inference_mode():
        torch.testing.assert_close(again.loss(ids, words, labels), network.loss(ids, words, labels))
