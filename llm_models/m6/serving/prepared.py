"""Candidates made ready before any user is known: what the first late layers make of their cached states.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_models.backbones.blocks import Block, KeysValues
from llm_models.backbones.stack import Adapters
from llm_models.m6.network import M6Network
from llm_models.m6.packing import buckets
from llm_models.m6.serving.passes import Ends, Projected
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

    So it is in the last layer of any network, and in all late layers of one with ``reading="end"``.

    Parameters
    ----------
    network : M6Network
    adapters : callable or None
        Of one task.
    lower : LowerStates
    texts : int
        How many numbers of texts there are.
    tokens : int
        Padded tokens computed at a time.
    """

    def __init__(
        self, network: M6Network, adapters: Adapters | None, lower: LowerStates, texts: int, *, tokens: int
    ) -> None:
        self.network, self.adapters, self.lower, self.tokens = network, adapters, lower, tokens
        self._row = np.full(texts, -1)
        self.room = -(-(lower.packer.tokens.lengths + 2) // _ROOM) * _ROOM
        self._shelves: dict[int, tuple[Growing, Growing, Growing]] = {}

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(part.bytes for shelf in self._shelves.values() for part in shelf)

    def cost(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes of each candidate, about."""
        late = self.network.stack.depth - self.network.late
        return self.room[numbers] * (2 * late * self.network.stack.width * self.network.stack.dtype.itemsize)

    def missing(self, numbers: NDArray[np.integer]) -> NDArray[np.integer]:
        """Which distinct candidates are not here yet."""
        found: NDArray[np.integer] = np.unique(numbers[self._row[numbers] < 0])
        return found

    def add(self, numbers: NDArray[np.integer]) -> None:
        """Make candidates ready, each one once."""
        lengths = self.lower.packer.tokens.lengths[numbers] + 2
        for rows in buckets(self.room[numbers], tokens=self.tokens):
            states = self.lower.of(numbers[rows], target=True)
            padded = _padded(states)
            ends = torch.from_numpy(lengths[rows] - 1).to(padded.device)
            known = self._known(padded + self.network.segments[1].to(padded.dtype), ends)
            for room in np.unique(self.room[numbers[rows]]):
                mine = np.flatnonzero(self.room[numbers[rows]] == room)
                shelf = self._shelves.setdefault(int(room), (Growing(), Growing(), Growing()))
                self._row[numbers[rows[mine]]] = len(shelf[0]) + np.arange(len(mine))
                of = torch.from_numpy(mine).to(padded.device)
                kept = known.keys_values[of, ..., :room, :]
                if kept.shape[4] < room:
                    kept = torch.nn.functional.pad(kept, (0, 0, 0, int(room) - kept.shape[4]))
                for part, values in zip(shelf, (known.hidden[of], known.queries[of], kept), strict=True):
                    part.append(values)

    def take(self, numbers: NDArray[np.integer], room: int) -> Ends:
        """Candidates that share a rectangle, copied."""
        rows = torch.from_numpy(self._row[numbers]).to(self.network.stack.device)
        return Ends(*(part.values.index_select(0, rows) for part in self._shelves[room]))

    def _known(self, hidden: Tensor, ends: Tensor) -> Ends:
        """Late layers of candidates alone, shape (candidates, tokens, width), whose ends stand at ``ends``."""
        stack, late = self.network.stack, self.network.late
        rows, place = (torch.arange(size, device=hidden.device) for size in hidden.shape[:2])
        place = place[None]
        causal = torch.ones(1, hidden.shape[1], hidden.shape[1], dtype=torch.bool, device=hidden.device).tril()
        first, last = stack.blocks[late], stack.blocks[-1]
        assert isinstance(first, Block)
        assert isinstance(last, Block)
        run = stack.run(hidden, causal, place, first=late, last=stack.depth - 1, adapters=self.adapters, keep=True)
        layers = (*run.cache, last.keys_values(run.hidden, stack.rotation(place, last)))
        # The end goes to the front; where it stood, nothing is read.
        order = (place - 1).clamp(min=0).expand(len(ends), -1).clone()
        order[:, 0] = ends
        order = order[:, None, :, None]

        def ordered(part: Tensor) -> Tensor:
            return part.gather(2, order.expand(-1, part.shape[1], -1, part.shape[3]))

        keys_values = torch.stack([torch.stack([ordered(part) for part in layer], dim=1) for layer in layers], dim=1)
        at_end = hidden[rows, ends]
        queries = first.queries(at_end[None], stack.rotation(ends[None], first))[0].transpose(0, 1)
        return Ends(at_end, queries, keys_values)


class AllTokens:
    """Candidates of which all tokens meet the user: their states, and the first late layer's projections of them.

    Parameters: see :class:`EndsAlone`.
    """

    def __init__(self, network: M6Network, lower: LowerStates, texts: int) -> None:
        self.network, self.lower = network, lower
        self.lengths = lower.packer.tokens.lengths + 2
        self._start = np.full(texts, -1)
        self._parts = (Growing(), Growing(), Growing(), Growing())

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(part.bytes for part in self._parts)

    def cost(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes of each candidate, about."""
        return self.lengths[numbers] * (4 * self.network.stack.width * self.network.stack.dtype.itemsize)

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
        first = self.network.stack.blocks[self.network.late]
        assert isinstance(first, Block)
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


def _padded(states: States) -> Tensor:
    """Shape (segments, longest, width); what stands behind an end is 0."""
    lengths: NDArray[Any] = states.lengths
    inside = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(states.values.device)
    found = states.values.new_zeros(*inside.shape, states.values.shape[1])
    found[inside] = states.values
    return found
