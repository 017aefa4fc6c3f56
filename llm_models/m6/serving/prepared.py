"""Candidates made ready before any user is known: what the first late layers make of their cached states.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from llm_models.backbones.blocks import Block, KeysValues
from llm_models.backbones.stack import Adapters
from llm_models.m6.network import M6Network
from llm_models.m6.packing import buckets
from llm_models.m6.serving.passes import Ends, Kept, Projected
from llm_models.m6.serving.segments import LowerStates, States

__all__ = ["AllTokens", "EndsAlone", "Growing"]

_ROOM = 8  # candidates of like length share a rectangle: lengths are rounded up to multiples


class Growing:
    """A tensor that rows are appended to, each append at a constant mean cost."""

    def __init__(self) -> None:
        self._held: Tensor | None = None
        self._rows = 0

    @property
    def values(self) -> Tensor:
        """All rows."""
        assert self._held is not None
        return self._held[: self._rows]

    @property
    def bytes(self) -> int:
        """Memory held, room for rows to come included."""
        return 0 if self._held is None else self._held.nbytes

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: Tensor) -> None:
        """Add rows; the first ones decide shape and dtype."""
        wanted = self._rows + len(rows)
        if self._held is None:
            self._held = torch.empty_like(rows, memory_format=torch.contiguous_format)
        if wanted > len(self._held):
            larger = self._held.new_empty(max(wanted, len(self._held) * 3 // 2), *self._held.shape[1:])
            larger[: self._rows] = self._held[: self._rows]
            self._held = larger
        self._held[self._rows : wanted] = rows
        self._rows = wanted


class EndsAlone:
    """Candidates of which [EOS] alone meets the user: keys and values of all other tokens, in every late layer.

    So it is in the last layer of any network, and in all late layers of one with ``reading="end"``. Candidates of like
    length stand in a rectangle.

    Parameters
    ----------
    network : M6Network
    adapters : callable or None
        Of one task.
    lower : LowerStates
    tokens : int
        Padded tokens computed at a time.
    """

    def __init__(self, network: M6Network, adapters: Adapters | None, lower: LowerStates, *, tokens: int) -> None:
        self.network, self.adapters, self.lower, self.tokens = network, adapters, lower, tokens
        lengths = lower.packer.tokens.lengths + 2
        self.room = -(-lengths // _ROOM) * _ROOM
        # Where a candidate stands in its rectangle, and its [EOS] among all.
        self._row, self._end = np.full(len(lengths), -1), np.full(len(lengths), -1)
        late = network.stack.depth - network.late
        self._token_bytes = 2 * late * _key_width(network) * network.stack.dtype.itemsize
        self._hidden, self._queries = Growing(), Growing()
        self._rectangles: dict[int, list[tuple[Growing, Growing]]] = {}

    @property
    def bytes(self) -> int:
        """Memory held."""
        kept = [part.bytes for rectangle in self._rectangles.values() for layer in rectangle for part in layer]
        return self._hidden.bytes + self._queries.bytes + sum(kept)

    def cost(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes of each candidate, without those of its [EOS]."""
        return self.room[numbers] * self._token_bytes

    def missing(self, numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        """Which distinct candidates are not here yet."""
        found: NDArray[np.integer] = np.unique(numbers[self._row[numbers] < 0])
        return found

    def add(self, numbers: NDArray[np.integer]) -> None:
        """Make candidates ready, each one once."""
        for rows in buckets(self.room[numbers], tokens=self.tokens):
            part = numbers[rows]
            states = self.lower.of(part, target=True)
            hidden = _padded(states) + self.network.segments[1].to(states.values.dtype)
            ends = torch.from_numpy(states.lengths - 1).to(hidden.device)
            self._end[part] = len(self._hidden) + np.arange(len(part))
            at_end = hidden[torch.arange(len(part), device=hidden.device), ends]
            first = _block(self.network, self.network.late)
            queries = first.queries(at_end[None], self.network.stack.rotation(ends[None], first))
            self._hidden.append(at_end)
            self._queries.append(queries[0].transpose(0, 1))
            layers = self._layers(hidden, ends)
            for room in np.unique(self.room[part]).tolist():
                self._append(part, np.flatnonzero(self.room[part] == room), room, layers)

    def take(self, numbers: NDArray[np.integer]) -> Ends:
        """Candidates, those that share a rectangle side by side."""
        ends = torch.from_numpy(self._end[numbers]).to(self.network.stack.device)
        starts = np.flatnonzero(np.diff(self.room[numbers], prepend=-1))
        kept = []
        for part in np.split(numbers, starts[1:]):
            rows = torch.from_numpy(self._row[part]).to(ends.device)
            kept.append(Kept(len(part), partial(_taken, self._rectangles[int(self.room[part[0]])], rows)))
        hidden, queries = (held.values.index_select(0, ends) for held in (self._hidden, self._queries))
        return Ends(hidden, queries, tuple(kept))

    def _append(
        self, numbers: NDArray[np.integer], mine: NDArray[np.int64], room: int, layers: list[KeysValues]
    ) -> None:
        """Put some of the candidates of a batch into their rectangle."""
        rectangle = self._rectangles.setdefault(room, [(Growing(), Growing()) for _ in layers])
        self._row[numbers[mine]] = len(rectangle[0][0]) + np.arange(len(mine))
        for held, found in zip(rectangle, layers, strict=True):
            for growing, values in zip(held, found, strict=True):
                values = values[torch.from_numpy(mine).to(values.device), :, :room]
                growing.append(functional.pad(values, (0, 0, 0, room - values.shape[2])))

    def _layers(self, hidden: Tensor, ends: Tensor) -> list[KeysValues]:
        """Late layers of candidates alone, shape (candidates, tokens, width), their ends moved to the front."""
        stack, late = self.network.stack, self.network.late
        last, tokens = _block(self.network, stack.depth - 1), hidden.shape[1]
        place = torch.arange(tokens, device=hidden.device)[None]
        causal = torch.ones(1, tokens, tokens, dtype=torch.bool, device=hidden.device).tril()
        run = stack.run(hidden, causal, place, first=late, last=stack.depth - 1, adapters=self.adapters, keep=True)
        layers = (*run.cache, last.keys_values(run.hidden, stack.rotation(place, last)))
        order = (place - 1).clamp(min=0).repeat(len(ends), 1)
        order[:, 0] = ends  # where it stood, nothing is read
        order = order[:, None, :, None]
        return [
            KeysValues(*(part.gather(2, order.expand(-1, part.shape[1], -1, part.shape[3])) for part in layer))
            for layer in layers
        ]


class AllTokens:
    """Candidates of which all tokens meet the user: their states, and the first late layer's projections of them.

    Parameters
    ----------
    network, lower
        See :class:`EndsAlone`.
    """

    def __init__(self, network: M6Network, lower: LowerStates) -> None:
        self.network, self.lower = network, lower
        self.lengths = lower.packer.tokens.lengths + 2
        self._start = np.full(len(self.lengths), -1)
        self._token_bytes = 2 * (network.stack.width + _key_width(network)) * network.stack.dtype.itemsize
        self._parts = (Growing(), Growing(), Growing(), Growing())

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(part.bytes for part in self._parts)

    def cost(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes of each candidate."""
        return self.lengths[numbers] * self._token_bytes

    def missing(self, numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        """Which distinct candidates are not here yet."""
        found: NDArray[np.integer] = np.unique(numbers[self._start[numbers] < 0])
        return found

    def add(self, numbers: NDArray[np.integer]) -> None:
        """Make candidates ready, each one once."""
        states = self.lower.of(numbers, target=True)
        hidden = (states.values + self.network.segments[1].to(states.values.dtype))[None]
        starts = np.cumsum(states.lengths) - states.lengths
        place = torch.from_numpy(np.arange(hidden.shape[1]) - np.repeat(starts, states.lengths)).to(hidden.device)
        first = _block(self.network, self.network.late)
        queries, own = first.project(hidden, self.network.stack.rotation(place[None], first))
        self._start[numbers] = len(self._parts[0]) + starts
        for part, values in zip(self._parts, (hidden, *(x.transpose(1, 2) for x in (queries, *own))), strict=True):
            part.append(values[0])

    def take(self, numbers: NDArray[np.integer]) -> tuple[Tensor, Projected]:
        """States of candidates, shape (1, tokens, width), one after the other, and their projections; copies."""
        lengths = self.lengths[numbers]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = torch.from_numpy(np.repeat(self._start[numbers], lengths) + within).to(self.network.stack.device)
        hidden, *projected = (part.values.index_select(0, rows) for part in self._parts)
        queries, keys, values = (part.transpose(0, 1)[None] for part in projected)
        return hidden[None], Projected(queries, KeysValues(keys, values))


def _block(network: M6Network, number: int) -> Block:
    block = network.stack.blocks[number]
    assert isinstance(block, Block)
    return block


def _key_width(network: M6Network) -> int:
    """Numbers of a token's keys: fewer than its width where several query heads share them."""
    block, stack = _block(network, network.late), network.stack
    nothing = torch.zeros(1, 1, stack.width, dtype=stack.dtype, device=stack.device)
    place = torch.zeros(1, 1, dtype=torch.int64, device=stack.device)
    return block.keys_values(nothing, stack.rotation(place, block)).keys.numel()


def _taken(rectangle: list[tuple[Growing, Growing]], rows: Tensor, layer: int) -> KeysValues:
    return KeysValues(*(part.values.index_select(0, rows) for part in rectangle[layer]))


def _padded(states: States) -> Tensor:
    """Shape (segments, longest, width); what stands behind an end is 0."""
    lengths: NDArray[Any] = states.lengths
    inside = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(states.values.device)
    found = states.values.new_zeros(*inside.shape, states.values.shape[1])
    found[inside] = states.values
    return found
