"""From segments of text to batches of tokens: every distinct text is tokenised once, rows are put together by number.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from llm_models.backbones.layout import Layout
from llm_models.m6.network import Batch

__all__ = ["Packer", "buckets", "tokenise"]


def tokenise(tokenizer: Any, texts: Sequence[str], *, longest: int) -> Ragged:
    """Tokens of each text without the tokenizer's special ones, cut at ``longest``."""
    if not len(texts):
        return Ragged.empty(0)
    found = tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=longest)["input_ids"]
    lengths = np.array([len(row) for row in found])
    return Ragged.from_lengths(lengths, np.concatenate([np.asarray(row, np.int64) for row in found]))


def buckets(
    lengths: NDArray[np.int64], *, tokens: int, rng: np.random.Generator | None = None
) -> Iterator[NDArray[np.int64]]:
    """Group rows of like length into batches of at most ``tokens`` padded tokens (at least one row each).

    Parameters
    ----------
    lengths : ndarray of int64, shape (rows,)
    rng : Generator or None
        Shuffles rows of equal length, and the batches; without it the longest come first.
    """
    tie = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = np.lexsort((tie, -lengths))
    batches, start = [], 0
    while start < len(order):
        size = max(1, tokens // max(int(lengths[order[start]]), 1))
        batches.append(order[start : start + size])
        start += size
    if rng is not None:
        rng.shuffle(batches)  # type: ignore[arg-type]
    yield from batches


class Packer:
    """Puts rows together: each source as [BOS'] text [EOS'], each target as [BOS] text [EOS].

    Parameters
    ----------
    tokens : Ragged of int64
        Of every distinct text, see :func:`tokenise`.
    begin, end : int
        Tokens that stand where the special ones are put in.
    max_tokens : int
        Longest row, targets included. What does not fit is left out from the second source on (the oldest clicks; the
        first source is the profile).
    device : str
    """

    def __init__(self, tokens: Ragged, *, begin: int, end: int, max_tokens: int, device: str = "cpu") -> None:
        self.tokens, self.begin, self.end = tokens, begin, end
        self.max_tokens, self.device = max_tokens, device

    def fitting(self, user: Ragged, target: Ragged) -> Ragged:
        """The sources of each row that fit beside its targets; rows of text numbers."""
        cost = self.tokens.lengths + 2
        room = self.max_tokens - _sums(cost, target)
        order = np.arange(len(user.values)) - np.repeat(user.offsets[:-1], user.lengths)
        first = order == 0
        room = room - np.bincount(user.row_of[first], weights=cost[user.values[first]], minlength=len(user)).astype(int)
        # Cost of a source and of all that follow it in its row.
        running = np.concatenate([[0], np.cumsum(cost[user.values])])
        behind = running[np.repeat(user.offsets[1:], user.lengths)] - running[:-1]
        return user.keep(first | (behind <= room[user.row_of]))

    def lengths(self, user: Ragged, target: Ragged) -> NDArray[np.int64]:
        """Tokens of each row, soft prompts left out, shape (rows,)."""
        cost = self.tokens.lengths + 2
        return _sums(cost, user) + _sums(cost, target)

    def written(
        self, segments: NDArray[np.integer], is_target: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Write segments one after the other.

        Parameters
        ----------
        segments, is_target : ndarray, shape (segments,)
            Numbers of texts, and whether they are targets.

        Returns
        -------
        flat, special : ndarray of int64, shape (tokens,)
            As in :class:`~llm_models.m6.network.Batch`.
        lengths : ndarray of int64, shape (segments,)
            Tokens of each, the special ones among them.
        """
        texts = self.tokens.take(segments)
        lengths = texts.lengths + 2
        ends = np.cumsum(lengths)
        flat = np.full(ends[-1] if len(ends) else 0, self.begin, np.int64)
        special = np.full(len(flat), -1, np.int64)
        special[ends - lengths] = 2 * is_target
        special[ends - 1] = 2 * is_target + 1
        flat[ends - 1] = self.end
        flat[special < 0] = texts.values
        return flat, special, lengths

    def pack(self, user: Ragged, target: Ragged, tasks: Sequence[tuple[str, int]]) -> Batch:
        """Put rows together.

        Parameters
        ----------
        user, target : Ragged
            Numbers of texts, in reading order; see :meth:`fitting`.
        tasks : sequence of (str, int)
            Names of tasks and how many rows of each, in order.
        """
        # A stable sort by row puts the targets of each row behind its sources.
        order = np.argsort(np.concatenate([user.row_of, target.row_of]), kind="stable")
        segments = Ragged.from_lengths(
            user.lengths + target.lengths, np.concatenate([user.values, target.values])[order]
        )
        is_target = order >= len(user.values)
        number = np.arange(len(segments.values)) - np.repeat(segments.offsets[:-1], segments.lengths)
        flat, special, lengths = self.written(segments.values, is_target)
        of = np.repeat(np.arange(len(lengths)), lengths)
        per_row = _sums(lengths, Ragged(segments.offsets, np.arange(len(lengths))))
        inside = np.arange(per_row.max(initial=0)) < per_row[:, None]

        def laid(values: NDArray[Any], fill: int) -> torch.Tensor:
            rectangle = np.full(inside.shape, fill, values.dtype)
            rectangle[inside] = values
            return torch.from_numpy(rectangle).to(self.device)

        layout = Layout(laid(number[of].astype(np.int64), -1), laid(is_target[of], False))
        return Batch(laid(flat, self.end), laid(special, -1), layout, tuple(tasks))


def _sums(cost: NDArray[np.int64], rows: Ragged) -> NDArray[np.int64]:
    running = np.concatenate([[0], np.cumsum(cost[rows.values])])
    return running[rows.offsets[1:]] - running[rows.offsets[:-1]]
