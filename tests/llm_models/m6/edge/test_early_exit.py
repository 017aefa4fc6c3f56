"""Early exit: weights by hand, the last exit is the plain network, and rows that left are really gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from llm_models.m6.edge.early_exit import (  # noqa: E402
    AtDepth,
    Certain,
    Patient,
    answer,
    every_exit,
    exit_loss,
    exit_weights,
    leave,
)
from llm_models.m6.network import M6Network, last_of  # noqa: E402

KINDS = [("bert", 0, "all"), ("llama", 0, "all"), ("bert", 1, "all"), ("llama", 1, "end"), ("gpt2", 0, "all")]


def test_both_readings_of_the_weights():
    torch.testing.assert_close(exit_weights(4, "quoted"), torch.tensor([1, 2 / 3, 1 / 2, 2 / 5]))
    torch.testing.assert_close(exit_weights(4, "normalised"), torch.tensor([0.1, 0.2, 0.3, 0.4]))


@given(st.integers(1, 60))
def test_the_quoted_weights_fall_and_the_normalised_rise_and_sum_to_one(exits):
    quoted, normalised = exit_weights(exits, "quoted"), exit_weights(exits, "normalised")
    assert (quoted.diff() < 0).all()
    assert (normalised.diff() > 0).all()
    assert float(normalised.sum()) == pytest.approx(1)


@pytest.mark.parametrize(("kind", "late", "reading"), KINDS)
@torch.inference_mode()
def test_the_last_exit_is_the_plain_network(tiny, batch, kind, late, reading):
    network = tiny.network(kind, late=late, reading=reading)
    hidden, layout = network(batch)
    plain = network.tuning("click").classify(last_of(hidden, layout, target=True))
    exits = every_exit(network, batch)
    assert exits.shape == (3 - late, 5, 2)
    torch.testing.assert_close(exits[-1], plain)
    for never in (AtDepth(3 - late), AtDepth(99), Patient(99), Certain(-1.0)):
        found = answer(network, batch, never)
        torch.testing.assert_close(found.logits, plain, atol=1e-5, rtol=1e-5)
        assert found.exit.tolist() == [3 - late] * 5


@pytest.mark.parametrize(("kind", "late", "reading"), KINDS)
@torch.inference_mode()
def test_each_candidate_leaves_with_what_its_exit_said(tiny, shared_batch, kind, late, reading):
    network = tiny.network(kind, late=late, reading=reading)
    exits = every_exit(network, shared_batch)
    assert exits.shape[1] == 8
    entropy = torch.distributions.Categorical(logits=exits).entropy()
    threshold = float(entropy[0].sort().values[3:5].mean())  # between two, so that rounding decides nothing
    for leaving, early in (
        (AtDepth(1), torch.ones_like(exits[..., 0], dtype=torch.bool)),
        (Certain(threshold), entropy < threshold),
        (Patient(1), torch.ones_like(exits[..., 0], dtype=torch.bool)),
        (Patient(2), (exits.argmax(2) == exits.argmax(2).roll(1, 0)) & (torch.arange(len(exits))[:, None] > 0)),
    ):
        early[-1] = True
        first = early.int().argmax(dim=0)
        found = answer(network, shared_batch, leaving)
        assert found.exit.tolist() == (first + 1).tolist()
        expected = exits[first, torch.arange(8)]
        torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=1e-5)
        at_once = leave(exits, leaving)
        assert torch.equal(at_once.exit, found.exit)
        torch.testing.assert_close(at_once.logits, found.logits, atol=1e-5, rtol=1e-5)


def test_layers_after_an_exit_compute_the_rows_that_are_left(tiny, batch, monkeypatch):
    network = tiny.network()
    with torch.inference_mode():
        entropy = torch.distributions.Categorical(logits=every_exit(network, batch)).entropy()
    threshold = float(entropy[0].sort().values[1:3].mean())
    rows = []
    for block in network.stack.blocks:
        block.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    found = answer(network, batch, Certain(threshold))
    assert rows == [int((found.exit >= number).sum()) for number in range(1, 1 + len(rows))]
    assert rows[1] == 3
    rows.clear()
    answer(network, batch, AtDepth(2))
    assert rows == [5, 5]


def test_the_loss_is_the_weighted_sum_of_the_losses_of_all_exits(tiny, batch):
    network, labels = tiny.network("llama"), torch.tensor([0, 1, 1, 0, 1])
    logits = every_exit(network, batch).detach()
    each = [torch.nn.functional.cross_entropy(one, labels) for one in logits]
    for weighting, weights in (("quoted", (1, 2 / 3, 1 / 2)), ("normalised", (1 / 6, 2 / 6, 3 / 6))):
        loss = exit_loss(network, batch, labels, weighting)
        assert loss.item() == pytest.approx(sum(w * float(one) for w, one in zip(weights, each, strict=True)))
    loss.backward()
    assert all(network.tuning("click").adapters[str(layer)].up.weight.grad.abs().sum() > 0 for layer in range(3))


def test_there_is_no_exit_where_no_layer_reads_everything(tiny, batch):
    with pytest.raises(ValueError, match="late below the depth"):
        every_exit(tiny.network(late=3), batch)
    network = tiny.network()
    both = M6Network(network.stack, {"click": network.tuning("click"), "stars": network.tuning("click")})
    with pytest.raises(ValueError, match=r"one task at a time.*click.*stars"):
        every_exit(both, type(batch)(batch.tokens, batch.special, batch.layout, (("click", 2), ("stars", 3))))
