"""8-bit weights: errors within their bounds, every family, shared layers, no deprecated part of torch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from llm_models.backbones.compact import Compact  # noqa: E402
from llm_models.m6.edge.int8 import Int8Linear, Int8Words, quantise, quantised  # noqa: E402
from llm_models.m6.edge.storage import held  # noqa: E402
from llm_models.m6.network import M6Network, last_of  # noqa: E402


def _matrix(seed, rows=13, columns=24, spread=1.0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * spread


@given(st.integers(0, 99), st.floats(1e-4, 1e4))
def test_a_weight_is_off_by_half_a_step_at_most(seed, spread):
    matrix = _matrix(seed, spread=spread)
    numbers, scale = quantise(matrix)
    assert numbers.dtype == torch.int8
    assert int(numbers.abs().max()) == 127
    torch.testing.assert_close(scale.squeeze(1), matrix.abs().amax(1) / 127)
    assert ((matrix - numbers * scale).abs() <= scale * 0.5001).all()


def test_a_row_of_zeros_stays_one():
    numbers, scale = quantise(torch.zeros(2, 3))
    assert not numbers.any()
    assert scale.tolist() == [[1.0], [1.0]]


@given(st.integers(0, 99))
def test_the_error_of_an_output_is_bounded(seed):
    weight, bias, x = _matrix(seed), _matrix(seed + 1, 1, 13)[0], _matrix(seed + 2, 7)
    exact = torch.nn.functional.linear(x, weight, bias)
    _, step = quantise(weight)
    step = step.squeeze(1)
    # Each of the inputs meets a weight that is off by half a step.
    bound = 0.5 * x.abs().sum(1, keepdim=True) * step
    float_error = (Int8Linear(weight, bias, "float")(x) - exact).abs()
    assert (float_error <= bound * 1.001 + 1e-5).all()
    # Inputs are off by half a step of theirs, and meet the rounded weights.
    of_inputs = x.abs().amax(1, keepdim=True) / 127
    bound = bound + 0.5 * of_inputs * (weight.abs().sum(1) + 0.5 * step * weight.shape[1])
    assert ((Int8Linear(weight, bias)(x) - exact).abs() <= bound * 1.001 + 1e-5).all()


def test_words_are_looked_up_rounded():
    table = _matrix(3, 50, 16)
    words, tokens = Int8Words(table), torch.tensor([[3, 49], [0, 7]])
    assert words.embedding_dim == 16
    torch.testing.assert_close(words(tokens), words.weight[tokens])
    torch.testing.assert_close(words.weight, table, atol=float(table.abs().max()) / 254 * 1.01, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
@torch.inference_mode()
def test_a_quantised_network_answers_nearly_the_same(tiny, shared_batch, kind):
    network = tiny.network(kind)
    hidden, layout = network(shared_batch)
    exact = network.tuning("click").classify(hidden[layout.ends])
    for arithmetic in ("int8", "float"):
        stack = quantised(network.stack, arithmetic)
        small = M6Network(stack, {"click": network.tuning("click")})
        hidden, _ = small(shared_batch)
        found = small.tuning("click").classify(hidden[layout.ends])
        assert not torch.equal(found, exact)
        assert (found - exact).abs().max() < 0.1 * exact.std()
        block, states = stack.blocks[0], hidden[:, :4]
        whole, _ = block.project(states, stack.rotation(torch.arange(4)[None], block))
        torch.testing.assert_close(block.queries(states, stack.rotation(torch.arange(4)[None], block)), whole)
    assert network.stack.words.weight.dtype == torch.float32  # the original is left alone


@pytest.mark.parametrize("word_width", [None, 6])
@torch.inference_mode()
def test_shared_layers_and_short_words_are_quantised_once(tiny, batch, word_width):
    sizes = {"depth": 3, "width": 16, "heads": 2, "inner": 24, "vocabulary": 60, "positions": 32}
    stack = Compact(**sizes, shared=True, word_width=word_width).make()
    network = tiny.network(stack=stack)
    small = M6Network(quantised(stack), {"click": network.tuning("click")})
    assert small.stack.blocks[0] is small.stack.blocks[2]
    ends = [last_of(*each(batch), target=True) for each in (network, small)]
    torch.testing.assert_close(ends[1], ends[0], atol=0.05, rtol=0.05)
    whole, rounded = (sum(part.nbytes for part in held(each).values()) for each in (stack, small.stack))
    assert rounded < 0.6 * whole  # positions stay as they are
