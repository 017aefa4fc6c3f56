from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

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


@pytest.fixture
def theirs():
    """RecBole's SASRec over 39 items, 0 being its padding, with everything around the model left out."""
    pytest.importorskip("recbole")
    from baselines.recbole.fence import fence

    with fence():
        from recbole.config import Config
        from recbole.model.sequential_recommender.sasrec import SASRec

        settings = {"hidden_size": 16, "inner_size": 24, "n_layers": 2, "n_heads": 2, "gpu_id": ""}
        given = {"MAX_ITEM_LIST_LENGTH": 12, "train_neg_sample_args": None, "hidden_dropout_prob": 0.0}
        config = Config(model="SASRec", dataset="none", config_dict={**settings, **given, "attn_dropout_prob": 0.0})
        yield SASRec(config, SimpleNamespace(num=lambda field: 40))


def copy(ours: Network, theirs: nn.Module) -> None:
    """Give RecBole's SASRec our weights."""
    pairs = [(theirs.item_embedding, ours.item), (theirs.position_embedding, ours.position)]
    pairs.append((theirs.LayerNorm, ours.norm))
    for block, layer in zip(ours.blocks, theirs.trm_encoder.layer, strict=True):
        attention, wide = layer.multi_head_attention, layer.feed_forward
        pairs += [(attention.dense, block.out), (attention.LayerNorm, block.mix_norm)]
        pairs += [(wide.dense_1, block.widen), (wide.dense_2, block.narrow), (wide.LayerNorm, block.wide_norm)]
        for place, name in enumerate(("query", "key", "value")):
            part = slice(16 * place, 16 * (place + 1))
            weights = {"weight": block.mix.weight[part], "bias": block.mix.bias[part]}
            getattr(attention, name).load_state_dict(weights)
    for target, source in pairs:
        target.load_state_dict(source.state_dict())


def test_scores_and_loss_equal_recboles_under_copied_weights(theirs):
    ours = network()
    copy(ours, theirs)
    length = torch.tensor([12, 1, 5, 9, 3, 12])
    real = torch.arange(12) < length[:, None]
    history, target = torch.randint(1, 40, (6, 12)) * real, torch.randint(1, 40, (6,))
    asked = {theirs.ITEM_SEQ: history, theirs.ITEM_SEQ_LEN: length, theirs.POS_ITEM_ID: target}

    hidden = ours(history)[torch.arange(6), length - 1]
    torch.testing.assert_close(hidden, theirs(history, length), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden @ ours.item.weight.T, theirs.full_sort_predict(asked), rtol=1e-5, atol=1e-5)
    loss, expected = full_cross_entropy(hidden, ours.item.weight, target) / 6, theirs.calculate_loss(asked)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    # The padding takes no gradient as an input of theirs; every other vector takes it as input and as output.
    found, wanted = ours.item.weight.grad[1:], theirs.item_embedding.weight.grad[1:]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.position.weight.grad, theirs.position_embedding.weight.grad, rtol=1e-4, atol=1e-5)
