from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.sasrec.network import Network
from baselines.sasrec.softmax import full_cross_entropy
from baselines.sasrec.windows import Windows, batches, right_padded


def network(dropout: float = 0.0, **sizes: int) -> Network:
    torch.manual_seed(3)
    shape = {"size": 16, "heads": 2, "inner": 24, "layers": 2, "length": 12} | sizes
    made = Network(40, **shape, dropout=dropout, input_dropout=dropout)
    with torch.no_grad():  # away from the start, where norms are 1 and biases 0
        for weight in made.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return made


@torch.inference_mode()
def test_all_positions_at_once_equal_each_prefix_alone():
    made = network(dropout=0.5).eval()
    sequences = torch.randint(0, 40, (5, 12))
    whole = made(sequences)
    for end in range(1, 13):
        torch.testing.assert_close(made(sequences[:, :end])[:, -1], whole[:, end - 1], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_padding_does_not_leak():
    made = network().eval()
    values, lengths = np.random.default_rng(0).integers(0, 40, 30), np.array([12, 1, 5, 9, 3])
    windows = Windows(np.cumsum(lengths) - lengths, lengths)
    together, real = right_padded(values, windows)
    encoded = made(torch.from_numpy(together))
    for row in range(5):
        alone = made(torch.from_numpy(together[row : row + 1, : lengths[row]]))
        torch.testing.assert_close(encoded[row, real[row]], alone[0], rtol=1e-5, atol=1e-5)


def test_bucketed_batches_add_up_to_the_unbucketed_loss():
    made = network().eval()
    rng = np.random.default_rng(1)
    values, length = rng.integers(0, 40, 200), rng.integers(1, 12, 25)
    windows = Windows(np.cumsum(length) - length, length)

    def total(chosen: np.ndarray) -> torch.Tensor:
        inputs, real = right_padded(values, windows.take(chosen))
        target, _ = right_padded(values[1:], windows.take(chosen))
        hidden = made(torch.from_numpy(inputs))[torch.from_numpy(real)]
        return full_cross_entropy(hidden, made.item.weight, torch.from_numpy(target[real]))

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(made.parameters()))])

    whole = total(np.arange(25))
    dealt = sum(total(chosen) for chosen in batches(windows, 20, rng))
    torch.testing.assert_close(dealt, whole, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient(dealt), gradient(whole), rtol=1e-4, atol=1e-3)


def test_the_order_of_the_history_matters():
    made = network().eval()
    there, back = made(torch.tensor([[1, 2, 3]]))[0, -1], made(torch.tensor([[2, 1, 3]]))[0, -1]
    assert (there - back).abs().max() > 1e-3


def test_dropout_acts_in_training_only():
    made, sequence = network(dropout=0.5), torch.tensor([[1, 2, 3]])
    assert not torch.equal(made(sequence), made(sequence))
    made.eval()
    assert torch.equal(made(sequence), made(sequence))


def test_equals_recbole_under_copied_weights():
    layers = pytest.importorskip("recbole.model.layers")
    ours = network(dropout=0.5).eval()
    theirs = layers.TransformerEncoder(
        n_layers=2,
        n_heads=2,
        hidden_size=16,
        inner_size=24,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
    ).eval()
    with torch.no_grad():
        for block, layer in zip(ours.blocks, theirs.layer, strict=True):
            attention, wide = layer.multi_head_attention, layer.feed_forward
            pairs = [(attention.dense, block.out), (attention.LayerNorm, block.mix_norm)]
            pairs += [(wide.dense_1, block.widen), (wide.dense_2, block.narrow), (wide.LayerNorm, block.wide_norm)]
            for target, source in pairs:
                target.load_state_dict(source.state_dict())
            for place, name in enumerate(("query", "key", "value")):
                part = slice(16 * place, 16 * (place + 1))
                weights = {"weight": block.mix.weight[part], "bias": block.mix.bias[part]}
                getattr(attention, name).load_state_dict(weights)
        sequence = torch.randint(0, 40, (6, 12))
        embedded = ours.norm(ours.item(sequence) + ours.position.weight)
        mask = torch.full((12, 12), -10000.0).triu(1)[None, None]
        expected = theirs(embedded, mask)[-1]
        torch.testing.assert_close(ours(sequence), expected, rtol=1e-5, atol=1e-5)
