"""Storage: zeros as bits, everything back, every weight once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from bench.errors import ModelError  # noqa: E402
from llm_models.backbones.compact import Compact  # noqa: E402
from llm_models.m6.edge.int8 import quantised  # noqa: E402
from llm_models.m6.edge.prune import Pruner, Schedule, prunable  # noqa: E402
from llm_models.m6.edge.storage import held, load_weights, pack, save_weights, stored_bytes, unpack  # noqa: E402


@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.5, -2.0]), max_size=300), st.booleans())
def test_sparse_storage_gives_everything_back(values, whole):
    tensor = torch.tensor(values, dtype=torch.int8 if whole else torch.float32)
    tensors = {"a": tensor, "b": torch.zeros(40, 7), "c": torch.randn(3, 4)}
    packed = pack(tensors)
    assert sum(part.nbytes for part in packed.values()) <= sum(t.nbytes for t in tensors.values()) + 16
    back = unpack(packed)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) and back[name].dtype == tensors[name].dtype for name in tensors)


def test_a_pruned_stack_is_small_when_stored_sparse(tiny):
    stack = tiny.stack()
    Pruner(stack, Schedule(0.8)).prune(0.8)
    matrices = {name: values for name, values in held(stack).items() if name in prunable(stack)}
    dense, sparse = (sum(part.nbytes for part in parts.values()) for parts in (matrices, pack(matrices)))
    # A bit a place and a fifth of the values.
    assert sparse / dense == pytest.approx(1 / 32 + 0.2, abs=0.06)


def test_a_shared_layer_is_stored_once():
    sizes = {"depth": 4, "width": 16, "heads": 2, "inner": 24, "vocabulary": 30, "positions": 20}
    once, each = (held(Compact(**sizes, shared=shared).make()) for shared in (True, False))
    layer = sum(values.numel() for name, values in each.items() if name.startswith("blocks.0."))
    assert sum(v.numel() for v in each.values()) - sum(v.numel() for v in once.values()) == 3 * layer


@pytest.mark.parametrize("small", [True, False])
def test_a_pruned_network_is_saved_and_loaded(tiny, batch, tmp_path, small):
    network, other = tiny.network(seed=0), tiny.network(seed=1)
    Pruner(network.stack, Schedule(0.8)).prune(0.8)
    if small:
        network.stack, other.stack = quantised(network.stack), quantised(other.stack)
    save_weights(network, tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size == stored_bytes(network)
    load_weights(other, tmp_path / "weights.safetensors")
    with torch.inference_mode():
        assert torch.equal(other(batch)[0], network(batch)[0])
    with pytest.raises(ModelError, match=r"not those of this network, beginning with .*make the network as the one"):
        load_weights(tiny.network(method="adapter"), tmp_path / "weights.safetensors")
