"""What a network takes to store: its weights once each, zeros as bits.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import ModelError

__all__ = ["held", "load_weights", "nonzero", "pack", "save_weights", "stored_bytes", "unpack"]


def held(module: nn.Module) -> dict[str, Tensor]:
    """All that must be stored of a module, by name: parameters and lasting buffers (8-bit weights), each once."""
    lasting = module.state_dict(keep_vars=True)
    seen: set[int] = set()
    kept = {}
    for name, values in lasting.items():
        if id(values) not in seen and values.numel():
            seen.add(id(values))
            kept[name] = values.detach()
    return kept


def nonzero(module: nn.Module) -> int:
    """How many of the numbers that are stored are not 0."""
    return sum(int(values.count_nonzero()) for values in held(module).values())


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Store tensors with many zeros as a bit a place and the values that are not 0; :func:`unpack` gives them back.

    A tensor that would not become smaller is left as it is.
    """
    packed: dict[str, Tensor] = {}
    for name, values in tensors.items():
        flat = values.detach().cpu().flatten()
        present = flat != 0
        bits = torch.from_numpy(np.packbits(present.numpy()))
        filled = flat[present]
        if bits.nbytes + filled.nbytes >= flat.nbytes:
            packed[name] = values.detach().cpu().contiguous()
            continue
        packed |= {
            f"{name}|bits": bits,
            f"{name}|values": filled,
            f"{name}|shape": torch.tensor(values.shape, dtype=torch.int64),
        }
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give back what :func:`pack` was given."""
    tensors = {}
    for key, stored in packed.items():
        name, _, part = key.partition("|")
        if not part:
            tensors[name] = stored
        elif part == "bits":
            shape = packed[f"{name}|shape"].tolist()
            count = int(np.prod(shape))
            present = torch.from_numpy(np.unpackbits(stored.numpy(), count=count).astype(bool))
            values = packed[f"{name}|values"]
            flat = torch.zeros(count, dtype=values.dtype)
            flat[present] = values
            tensors[name] = flat.view(shape)
    return tensors


def stored_bytes(module: nn.Module) -> int:
    """Size of the file that :func:`save_weights` writes."""
    from safetensors.torch import save

    return len(save(pack(held(module))))


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights, tensors with many zeros sparse."""
    from safetensors.torch import save_file

    save_file(pack(held(module)), path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Read weights into a module of the same make (for 8-bit weights: one that was quantised).

    Raises
    ------
    ModelError
        When the file holds those of another.
    """
    from safetensors.torch import load_file

    found, wanted = unpack(load_file(path)), held(module)
    for name, values in wanted.items():
        if name not in found or found[name].shape != values.shape or found[name].dtype != values.dtype:
            raise ModelError(
                f"{path}: its weights are not those of this network, beginning with {name}: make the network as the "
                "one that was saved (sizes, 8-bit weights or not), then load"
            )
    with torch.no_grad():
        for name, values in wanted.items():
            values.copy_(found[name])
