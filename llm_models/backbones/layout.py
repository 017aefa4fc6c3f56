"""Who sees whom: a batch of rows made of segments, as a prefix language model reads them.

A row is a sequence of segments. *Source* segments (soft prompts, profile, clicks: the user) read each other in both
directions; a *target* segment (a candidate, a text to write) reads all sources and, of itself, what stands before. Two
targets of one row do not see each other, so that many candidates can share one user. In the lower layers of late
interaction (``blocks``) every segment reads itself alone.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

__all__ = ["Layout", "attention_bias"]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the tokens of a batch belong, each of shape (rows, tokens).

    Attributes
    ----------
    segment : Tensor of int64
        Number of the segment within its row, from 0; -1 for padding.
    target : Tensor of bool
        Whether the token's segment is a target.
    """

    segment: Tensor
    target: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sequence[tuple[int, bool]]], device: str = "cpu") -> Self:
        """Lay out rows of segments.

        Parameters
        ----------
        rows : sequence of sequences of (int, bool)
            Per row its segments in order: how many tokens, and whether it is a target.
        """
        width = max((sum(length for length, _ in row) for row in rows), default=0)
        segment = torch.full((len(rows), width), -1)
        target = torch.zeros((len(rows), width), dtype=torch.bool)
        for number, row in enumerate(rows):
            lengths = torch.tensor([length for length, _ in row], dtype=torch.int64)
            total = int(lengths.sum())
            segment[number, :total] = torch.repeat_interleave(torch.arange(len(row)), lengths)
            target[number, :total] = torch.repeat_interleave(torch.tensor([flag for _, flag in row]), lengths)
        return cls(segment.to(device), target.to(device))

    @property
    def real(self) -> Tensor:
        """Which tokens are no padding, bool, shape (rows, tokens)."""
        return self.segment >= 0

    def prepended(self, tokens: int) -> Layout:
        """The same with a source segment of ``tokens`` before every row."""
        if not tokens:
            return self
        rows = len(self.segment)
        segment = torch.where(self.real, self.segment + 1, -1)
        return replace(
            self,
            segment=torch.cat([segment.new_zeros(rows, tokens), segment], dim=1),
            target=torch.cat([self.target.new_zeros(rows, tokens), self.target], dim=1),
        )

    def positions(self, *, restart: bool) -> Tensor:
        """Places of the tokens, int64, shape (rows, tokens), from 0.

        ``restart``: every segment counts from 0. Otherwise sources count on through the row, and every target goes on
        where the sources end, as if it were the only one.
        """
        place = torch.arange(self.segment.shape[1], device=self.segment.device).expand_as(self.segment)
        new = torch.ones_like(self.target)
        new[:, 1:] = self.segment[:, 1:] != self.segment[:, :-1]
        start = torch.where(new, place, 0).cummax(dim=1).values
        if restart:
            return place - start
        sources = (self.real & ~self.target).sum(dim=1, keepdim=True)
        among_sources = (self.real & ~self.target).cumsum(dim=1) - 1
        return torch.where(self.target, sources + place - start, among_sources.clamp(min=0))

    @property
    def ends(self) -> Tensor:
        """Which tokens end a target, bool, shape (rows, tokens)."""
        last = torch.ones_like(self.target)
        last[:, :-1] = self.segment[:, 1:] != self.segment[:, :-1]
        return last & self.target

    def visible(self, *, blocks: bool, only_ends: bool = False) -> Tensor:
        """Which token (second axis) reads which (third), bool, shape (rows, tokens, tokens).

        A token always sees itself, so that the attention of padding is defined. ``blocks``: each segment reads itself
        alone. ``only_ends``: of a target, its last token alone reads the sources.
        """
        reader, read = self.segment.unsqueeze(2), self.segment.unsqueeze(1)
        place = torch.arange(self.segment.shape[1], device=self.segment.device)
        same = (reader == read) & (~self.target.unsqueeze(1) | (place.unsqueeze(1) >= place.unsqueeze(0)))
        seen = same
        if not blocks:
            sources = (~self.target & self.real).unsqueeze(1)
            seen = same | (sources & (~self.target | self.ends).unsqueeze(2) if only_ends else sources)
        seen = seen & self.real.unsqueeze(1)
        return seen | torch.eye(len(place), dtype=torch.bool, device=seen.device)


def attention_bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn "who sees whom", bool, shape (rows, readers, read), into what is added to attention logits.

    Returns
    -------
    Tensor of ``dtype``, shape (rows, 1, readers, read)
        0 where visible, the most negative finite number elsewhere.
    """
    hidden = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return hidden.masked_fill_(~visible, torch.finfo(dtype).min).unsqueeze(1)
