"""Hidden states of text segments: what every cache of them can do, and the one in memory.

Of each segment (a click, a query, a candidate's text) late interaction keeps the states after layer L', shape (tokens,
width), to compute them once and use them in every request.

Of bfloat16 numbers the bits are kept, as uint16, since NumPy has no such type: :func:`states_of` makes them of a
tensor, and :meth:`Packed.tensor` a tensor of them.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError, UsageError, nearest
from llm_models.backbones.segment_generation import Array

if TYPE_CHECKING:
    import torch

__all__ = ["MemorySegments", "Packed", "SegmentStats", "Segments", "states_of"]

_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
}


@dataclass(frozen=True, eq=False)
class Packed:
    """States of several segments, one after the other.

    Attributes
    ----------
    values : ndarray of float32, float16 or (bits of bfloat16) uint16, shape (tokens, width)
        A copy, the caller's own.
    offsets : ndarray of int64, shape (segments + 1,)
        Segment ``s`` is ``values[offsets[s]:offsets[s + 1]]``.
    """

    values: Array
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, segment: int) -> Array:
        if not 0 <= segment < len(self):
            raise IndexError(segment)
        return self.values[self.offsets[segment] : self.offsets[segment + 1]]

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each segment, shape (segments,)."""
        return np.diff(self.offsets)

    def tensor(self) -> torch.Tensor:
        """The values as a tensor on the same memory, shape (tokens, width); bfloat16 where they are its bits."""
        import torch

        if self.values.dtype == np.uint16:
            return torch.from_numpy(self.values.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(self.values)


def states_of(tensor: torch.Tensor) -> Array:
    """Turn a tensor, on any device, into the array that is stored; uint16 bits for bfloat16."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


@dataclass(frozen=True)
class SegmentStats:
    """What a cache holds, and what was asked of this object.

    Attributes
    ----------
    entries : int
        Segments of this space.
    bytes : int
        Of all spaces.
    hits, misses : int
        Looked up by this object; a text that occurs twice in one call counts once.
    evicted : int
        Segments that this object removed to make room.
    damaged : int
        Segments found torn or changed, and dropped.
    unstored : int
        Segments given to this object that could not be kept: larger than the bound, or the folder cannot be written.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    evicted: int
    damaged: int
    unstored: int


class Segments(ABC):
    """What both caches do.

    Parameters
    ----------
    width : int
        Of a state.
    dtype : {"float32", "float16", "bfloat16"}
    max_bytes : int
        Bound of what is kept.

    Raises
    ------
    UsageError
        On an unknown dtype, or a width or bound below 1.
    """

    def __init__(self, *, width: int, dtype: str, max_bytes: int) -> None:
        if dtype not in _STORED:
            raise nearest("dtype of segment states", dtype, _STORED)
        for name, value in (("width", width), ("max_bytes", max_bytes)):
            if value < 1:
                raise UsageError(f"segment cache: {name} is {value}; it must be 1 or more")
        self.width, self.dtype, self.max_bytes = width, dtype, max_bytes
        self._stored = _STORED[dtype]
        self._hits = self._misses = self._unstored = 0
        self._closed = False

    def get(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], Packed]:
        """Look up segments.

        Returns
        -------
        found : ndarray of bool, shape (texts,)
        states : Packed
            In the order of the texts; no tokens where not found.
        """
        rows = self._rows(texts)
        return np.array([row is not None for row in rows], bool), self._pack(rows)

    def views(self, texts: Sequence[str]) -> list[Array | None]:
        """Look up segments without copying: read-only arrays, shape (tokens, width), None where not found."""
        return [None if row is None else row.reshape(-1, self.width) for row in self._rows(texts)]

    def states(self, texts: Sequence[str], compute: Callable[[list[str]], Sequence[Array]]) -> Packed:
        """Return the states of all texts, computing those that are missing.

        Parameters
        ----------
        texts : sequence of str
            May repeat.
        compute : callable
            Given the missing texts, each once; returns their states, each of shape (tokens, width). Not called
            where nothing is missing.

        Returns
        -------
        Packed
            In the order of the texts. Also where the results cannot be kept; of that a `RuntimeWarning` tells.

        Raises
        ------
        ValueError
            When what was computed has another number, shape or dtype.
        """
        distinct = list(dict.fromkeys(texts))
        rows = dict(zip(distinct, self._rows(distinct), strict=True))
        missing = [text for text in distinct if rows[text] is None]
        if missing:
            fresh = self._checked(missing, compute(missing))
            rows |= fresh
            try:
                self._keep(fresh)
            except DataError as error:
                warnings.warn(f"{error}; going on without storing", RuntimeWarning, stacklevel=2)
        return self._pack([rows[text] for text in texts])

    def put(self, texts: Sequence[str], states: Sequence[Array]) -> None:
        """Keep states, each of shape (tokens, width); a text that is there already keeps what it has.

        Raises
        ------
        DataError
            When the folder cannot be written.
        ValueError
            When number, shape or dtype of the states are wrong.
        """
        self._keep(self._checked(texts, states))

    @property
    @abstractmethod
    def stats(self) -> SegmentStats:
        """What it holds, and what was asked of it."""

    def close(self) -> None:
        """Let go of everything; arrays that were handed out stay valid."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _find(self, texts: list[str]) -> list[Array | None]:
        """Flat states of distinct texts."""

    @abstractmethod
    def _keep(self, states: dict[str, Array]) -> None:
        """Add flat states."""

    def _rows(self, texts: Sequence[str]) -> list[Array | None]:
        if self._closed:
            raise ValueError("segment cache is closed")
        distinct = list(dict.fromkeys(texts))
        rows = self._find(distinct)
        missed = sum(row is None for row in rows)
        self._misses += missed
        self._hits += len(rows) - missed
        if len(distinct) == len(texts):
            return rows
        by_text = dict(zip(distinct, rows, strict=True))
        return [by_text[text] for text in texts]

    def _checked(self, texts: Sequence[str], states: Sequence[Array]) -> dict[str, Array]:
        if self._closed:
            raise ValueError("segment cache is closed")
        if len(states) != len(texts):
            raise ValueError(f"{len(states)} states for {len(texts)} texts")
        for text, state in zip(texts, states, strict=True):
            if state.ndim != 2 or state.shape[1] != self.width or state.dtype != self._stored:
                raise ValueError(
                    f"states of {text[:40]!r} are {state.dtype} of shape {state.shape}, not {self._stored} of shape "
                    f"(tokens, {self.width}); this cache is of {self.dtype}"
                )
        return {text: state.reshape(-1) for text, state in zip(texts, states, strict=True)}

    def _pack(self, rows: Sequence[Array | None]) -> Packed:
        sizes = [0 if row is None else len(row) // self.width for row in rows]
        parts = [row for row in rows if row is not None]
        flat = np.concatenate(parts) if parts else np.empty(0, self._stored)
        return Packed(flat.reshape(-1, self.width), np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]))


class MemorySegments(Segments):
    """States of segments in memory, for one process; the segments used longest ago go first. See :class:`Segments`."""

    def __init__(self, *, width: int, dtype: str = "float32", max_bytes: int = 2**30) -> None:
        super().__init__(width=width, dtype=dtype, max_bytes=max_bytes)
        self._rows_by_text: OrderedDict[str, Array] = OrderedDict()
        self._bytes = self._evicted = 0

    @property
    def stats(self) -> SegmentStats:
        """What it holds, and what was asked of it."""
        return SegmentStats(
            len(self._rows_by_text), self._bytes, self._hits, self._misses, self._evicted, 0, self._unstored
        )

    def close(self) -> None:
        """Let go of everything; arrays that were handed out stay valid."""
        super().close()
        self._rows_by_text.clear()
        self._bytes = 0

    def _find(self, texts: list[str]) -> list[Array | None]:
        rows = [self._rows_by_text.get(text) for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if row is not None:
                self._rows_by_text.move_to_end(text)
        return rows

    def _keep(self, states: dict[str, Array]) -> None:
        for text, state in states.items():
            if text in self._rows_by_text:
                continue
            if state.nbytes > self.max_bytes:
                self._unstored += 1
                continue
            while self._bytes + state.nbytes > self.max_bytes:
                _, oldest = self._rows_by_text.popitem(last=False)
                self._bytes -= oldest.nbytes
                self._evicted += 1
            kept = state.copy()  # a slice would hold the batch that it was cut from
            kept.flags.writeable = False
            self._rows_by_text[text] = kept
            self._bytes += kept.nbytes
