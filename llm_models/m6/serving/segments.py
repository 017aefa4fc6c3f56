"""States of segments after the first L' layers: computed alone, kept in a cache, found by what they depend on.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.ragged import Ragged
from llm_models.backbones.segment_cache import MemorySegments, Segments, states_of
from llm_models.m6.network import M6Network
from llm_models.m6.packing import Packer, buckets

__all__ = ["LowerStates", "States", "fingerprint", "word_vectors"]


class States(NamedTuple):
    """States of segments, one after the other: shape (tokens, width), and how many tokens each has (int64)."""

    values: Tensor
    lengths: NDArray[np.int64]


def fingerprint(network: M6Network, task: str) -> str:
    """Digest of everything that states after L' depend on, besides a segment's tokens: the ``space`` of a cache.

    That is L', the weights below, what stands there of the task's adapters, and its special tokens. Tasks that share
    all these share their segments.
    """
    stack, tuning, late = network.stack, network.tuning(task), network.late
    below = {str(layer) for layer in range(late)}
    found = hashlib.sha256(f"{late} {stack.depth} {stack.dtype}".encode())
    for name, value in _weights(stack.state_dict()):
        part, _, rest = name.partition(".")
        above = part == "head" or (part == "final" and late < stack.depth)
        if not (above or (part == "blocks" and rest.split(".")[0] not in below)):
            _add(found, name, value)
    for name, value in _weights(tuning.state_dict()):
        part, _, rest = name.partition(".")
        if part == "specials" or (part == "adapters" and rest.split(".")[0] in below):
            _add(found, name, value)
    return found.hexdigest()


def word_vectors(network: M6Network, task: str, tokens: Tensor, special: Tensor) -> Tensor:
    """Word vectors with the task's special tokens in their places, shape (*tokens.shape, width)."""
    put = network.tuning(task).specials.to(network.stack.dtype)[special.clamp(min=0)]
    return torch.where((special >= 0).unsqueeze(-1), put, network.stack.words(tokens))


def _weights(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a state; quantised layers keep theirs in tuples."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from _weights(value, f"{name}.{key}" if name else key)
    elif isinstance(state, tuple):
        for number, value in enumerate(state):
            yield from _weights(value, f"{name}.{number}")


def _add(found: Any, name: str, value: Tensor) -> None:
    value = value.dequantize() if value.is_quantized else value
    value = value.detach().cpu().contiguous()
    found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
    found.update(value.flatten().view(torch.uint8).numpy())


class LowerStates:
    """States of segments after L', each computed once.

    Parameters
    ----------
    network : M6Network
        With ``late`` of at least 1.
    task : str
    packer : Packer
        Holds the tokens of all texts.
    cache : Segments or None
        Where states are kept; by default in memory. Entries are found by :func:`fingerprint` and tokens, so one cache
        may serve several networks. States are kept in the dtype of the cache.
    tokens : int
        Padded tokens computed at a time.

    Attributes
    ----------
    segments, computed_tokens : int
        Computed so far, the special tokens counted among them.
    """

    def __init__(
        self, network: M6Network, task: str, packer: Packer, cache: Segments | None = None, *, tokens: int = 4096
    ) -> None:
        self.network, self.task, self.packer, self.tokens = network, task, packer, tokens
        if cache is None:
            cache = MemorySegments(width=network.stack.width, dtype=str(network.stack.dtype).removeprefix("torch."))
        self.cache = cache
        self._space = fingerprint(network, task)
        self.segments = self.computed_tokens = 0

    def of(self, numbers: NDArray[np.integer], *, target: bool) -> States:
        """States of texts, by number; sources read themselves in both directions, targets from left to right."""
        keys = [self._key(int(number), target) for number in numbers]
        by_key = dict(zip(keys, numbers, strict=True))

        def compute(missing: list[str]) -> list[NDArray[Any]]:
            return self._compute(np.array([by_key[key] for key in missing], np.int64), target)

        packed = self.cache.states(keys, compute)
        return States(packed.tensor().to(self.network.stack.device, self.network.stack.dtype), packed.tokens)

    def prompts(self) -> Tensor:
        """States of the task's soft prompts, which are a segment too, shape (prompts, width)."""
        network, prompts = self.network, self.network.tuning(self.task).prompts
        positions = torch.arange(len(prompts), device=prompts.device)[None]
        hidden = network.stack.begin(prompts.to(network.stack.dtype)[None], positions)
        if not len(prompts):
            return hidden[0]
        adapters = network.adapters(((self.task, 1),))
        return network.stack.run(hidden, None, positions, last=network.late, adapters=adapters).hidden[0]

    def _key(self, number: int, target: bool) -> str:
        return f"{self._space} {'target' if target else 'source'} {self.packer.tokens[number].tobytes().hex()}"

    def _compute(self, numbers: NDArray[np.int64], target: bool) -> list[NDArray[Any]]:
        network, kind = self.network, getattr(torch, self.cache.dtype)
        lengths = self.packer.tokens.lengths[numbers] + 2
        self.segments += len(numbers)
        self.computed_tokens += int(lengths.sum())
        states: list[NDArray[Any]] = [np.empty(0)] * len(numbers)
        for rows in buckets(lengths, tokens=self.tokens):
            alone, none = Ragged.from_lengths(np.ones(len(rows), int), numbers[rows]), Ragged.empty(len(rows))
            tasks = ((self.task, len(rows)),)
            batch = self.packer.pack(none if target else alone, alone if target else none, tasks)
            layout = batch.layout
            positions = layout.positions(restart=True)
            hidden = network.stack.begin(word_vectors(network, self.task, batch.tokens, batch.special), positions)
            run = network.stack.run(
                hidden, layout.visible(blocks=True), positions, last=network.late, adapters=network.adapters(tasks)
            )
            for row, found in zip(rows, run.hidden.to(kind), strict=True):
                states[row] = states_of(found[: lengths[row]])
        return states
