"""Texts as the frozen backbone reads them: hidden states after layer L', and the pooled vector after the last layer.

Every distinct text is read once in the life of the object, alone and in both directions, as [BOS'] text [EOS'] (the
tokens that the backbone was pre-trained with). Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.ragged import Ragged
from llm_models.backbones.layout import Layout
from llm_models.backbones.locate import BackboneFiles
from llm_models.backbones.segments import MemorySegments, Packed, states_of
from llm_models.backbones.stack import Stack, load_stack, load_tokenizer
from llm_models.m6.packing import buckets, tokenise

__all__ = ["FrozenTexts", "edges", "shared_texts"]

_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}  # small batches stay in the cache of a CPU
_STATES_BYTES = 2**32
"""Room for states; what does not fit is computed again when asked for."""

Told = Callable[[int, int], None]


def edges(tokenizer: Any) -> tuple[int, int]:
    """Tokens that begin and end a text for a backbone."""
    begin = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return (end if begin is None else begin), end


class FrozenTexts:
    """States and vectors of texts.

    Parameters
    ----------
    stack : Stack
        Frozen.
    tokenizer : transformers tokenizer
    late : int or None
        L', the layer whose output is kept; ``None``: the last one.
    max_tokens : int
        Longer texts are cut, the two special tokens included.

    Attributes
    ----------
    tokens_read : int
        So far, special ones included, padding not.
    """

    def __init__(self, stack: Stack, tokenizer: Any, *, late: int | None, max_tokens: int) -> None:
        self.stack, self.tokenizer = stack, tokenizer
        self.late = stack.depth if late is None else late
        self.begin, self.end = edges(tokenizer)
        self.max_tokens = min(max_tokens, stack.longest or max_tokens)
        self.tokens_read = 0
        self._row: dict[str, int] = {}
        self._texts: list[str] = []
        self._matrix = np.empty((0, stack.width), np.float32)
        dtype = str(stack.dtype).removeprefix("torch.")
        self._segments = MemorySegments(width=stack.width, dtype=dtype, max_bytes=_STATES_BYTES)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.stack.width

    def index(self, texts: list[str], *, progress: Told | None = None) -> NDArray[np.int64]:
        """Read what is new, and return the row of each text, shape (texts,), for the other methods."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._row]
        if fresh:
            vectors = np.empty((len(fresh), self.width), np.float32)
            done = 0
            for batch, states, real in self._read(fresh):
                vectors[batch] = _mean(self._rest(states, real), real)
                self._segments.put([fresh[row] for row in batch], _apart(states, real))
                done += len(batch)
                if progress is not None:
                    progress(done, len(fresh))
            self._row |= {text: row for row, text in enumerate(fresh, start=len(self._texts))}
            self._texts += fresh
            self._matrix = np.concatenate([self._matrix, vectors])
        return np.array([self._row[text] for text in texts], dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Unit vectors by row, shape (rows, width): the mean of the last states of all tokens."""
        return self._matrix[rows]

    def states(self, rows: NDArray[np.int64]) -> Packed:
        """States after layer L' by row, every token's."""
        return self._segments.states([self._texts[row] for row in rows.tolist()], self._states)

    def _states(self, texts: list[str]) -> list[Any]:
        found: list[Any] = [None] * len(texts)
        for batch, states, real in self._read(texts):
            for row, state in zip(batch.tolist(), _apart(states, real), strict=True):
                found[row] = state
        return found

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
        """Layers 1 to L' in batches of like length: rows, states, shape (batch, tokens, width), and what is real."""
        tokens = tokenise(self.tokenizer, texts, longest=self.max_tokens - 2)
        lengths = tokens.lengths + 2
        self.tokens_read += int(lengths.sum())
        device = self.stack.device
        for batch in buckets(lengths, tokens=_BATCH_TOKENS[device.type]):
            words, real = _padded(tokens.take(batch), self.begin, self.end, device)
            places = torch.arange(words.shape[1], device=device).expand_as(words)
            hidden = self.stack.begin(self.stack.words(words), places)
            yield batch, self.stack.run(hidden, _visible(real), places, last=self.late).hidden, real

    @torch.inference_mode()
    def _rest(self, states: Tensor, real: Tensor) -> Tensor:
        if self.late == self.stack.depth:
            return states
        places = torch.arange(states.shape[1], device=states.device).expand(states.shape[:2])
        return self.stack.run(states, _visible(real), places, first=self.late).hidden


def _padded(tokens: Ragged, begin: int, end: int, device: torch.device) -> tuple[Tensor, Tensor]:
    lengths = tokens.lengths + 2
    place = np.arange(lengths.max())
    words = np.full((len(lengths), len(place)), end, np.int64)
    words[:, 0] = begin
    words[(place >= 1) & (place < lengths[:, None] - 1)] = tokens.values
    return torch.from_numpy(words).to(device), torch.from_numpy(place < lengths[:, None]).to(device)


def _visible(real: Tensor) -> Tensor:
    return Layout(torch.where(real, 0, -1), torch.zeros_like(real)).visible(blocks=True)


def _mean(hidden: Tensor, real: Tensor) -> NDArray[np.float32]:
    weight = real.unsqueeze(-1).float()
    pooled = (hidden.float() * weight).sum(dim=1) / weight.sum(dim=1)
    return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()


def _apart(states: Tensor, real: Tensor) -> list[Any]:
    lengths = real.sum(dim=1).tolist()
    return [row[:length] for row, length in zip(states_of(states), lengths, strict=True)]


@cache
def shared_texts(files: BackboneFiles, late: int | None, max_tokens: int, dtype: str, device: str) -> FrozenTexts:
    """The process's reader of these files: what it has read serves all models that use it."""
    stack = load_stack(files, dtype=dtype, device=device)
    return FrozenTexts(stack, load_tokenizer(files), late=late, max_tokens=max_tokens)
