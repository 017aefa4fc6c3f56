"""A chunk of candidates that are run through layers together, of one user or of several.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from llm_models.backbones.blocks import Block, KeysValues, Rotation
from llm_models.backbones.layout import attention_bias
from llm_models.backbones.stack import Stack
from llm_models.m6.serving.attention import Own, Read, read_apart, read_together
from llm_models.m6.serving.users import User

__all__ = ["Chunk"]


class Chunk:
    """Candidates without padding: the tokens of all, one after the other.

    Parameters
    ----------
    stack : Stack
    first : int
        Layer, from 0, from which the users' keys and values count.
    users : sequence of (User, int)
        Whose candidates stand there, in order, and how many. A user may come several times.
    lengths : Tensor of int64, shape (candidates,)
        Tokens of each.
    """

    def __init__(self, stack: Stack, first: int, users: Sequence[tuple[User, int]], lengths: Tensor) -> None:
        self.stack, self.first, self.users, self.lengths = stack, first, users, lengths
        self.stops = lengths.cumsum(0)
        self.longest = int(lengths.max())
        self._turned: dict[tuple[int | None, bool], Rotation | None] = {}

    @cached_property
    def place(self) -> Tensor:
        """Place of each token in its candidate, int64, shape (tokens,)."""
        starts = torch.repeat_interleave(self.stops - self.lengths, self.lengths)
        return torch.arange(len(starts), device=starts.device) - starts

    @cached_property
    def before(self) -> Tensor:
        """Tokens of the user of each token, int64, shape (tokens,)."""
        counts = torch.tensor([count for _, count in self.users], device=self.lengths.device)
        tokens = torch.tensor([user.tokens for user, _ in self.users], device=self.lengths.device)
        return torch.repeat_interleave(torch.repeat_interleave(tokens, counts), self.lengths)

    @cached_property
    def padded(self) -> Tensor:
        """Where to find the tokens of a rectangle, int64, shape (candidates * longest,); behind the end, the last."""
        inside = torch.arange(self.longest, device=self.lengths.device).expand(len(self.lengths), -1)
        inside = torch.minimum(inside, self.lengths.unsqueeze(1) - 1)
        return (inside + (self.stops - self.lengths).unsqueeze(1)).flatten()

    @cached_property
    def real(self) -> Tensor:
        """Where the rectangle holds tokens, int64, shape (tokens,)."""
        inside = torch.arange(self.longest, device=self.lengths.device) < self.lengths.unsqueeze(1)
        return inside.flatten().nonzero().squeeze(1)

    def rotation(self, block: Block, *, ends: bool) -> Rotation | None:
        """Rotary positions of all tokens, or of each candidate's last one."""
        key = (block.window, ends)
        if key not in self._turned:
            self._turned[key] = self.stack.rotation((self.lengths - 1 if ends else self.place)[None], block)
        return self._turned[key]

    def read_users(self, number: int, queries: Tensor) -> Read:
        """Let queries of layer ``number``, of all tokens, shape (1, heads, tokens, size), read the users."""
        counts = [count for _, count in self.users]
        sizes = [int(part.sum()) for part in torch.split(self.lengths, counts)]
        users, biases = self._users(number, sizes, self.place, queries.dtype)
        return read_apart(queries, users, biases)

    def read_at_ends(self, number: int, queries: Tensor, own: Sequence[Own]) -> Tensor:
        """Let queries of each candidate's last token, shape (1, heads, candidates, size), read user and candidate.

        Returns
        -------
        Tensor, shape (1, candidates, heads * size)
        """
        counts = [count for _, count in self.users]
        users, biases = self._users(number, counts, self.lengths - 1, torch.float32)
        return read_together(queries, users, biases, own)

    def _users(
        self, number: int, sizes: Sequence[int], place: Tensor, kind: torch.dtype
    ) -> tuple[list[tuple[KeysValues, slice]], list[Tensor | None]]:
        """Keys and values of each user with its queries, and what its window hides."""
        block = self.stack.blocks[number]
        assert isinstance(block, Block)
        users: list[tuple[KeysValues, slice]] = []
        biases: list[Tensor | None] = []
        start = 0
        for (user, _), size in zip(self.users, sizes, strict=True):
            of = slice(start, start + size)
            start += size
            users.append((user.layers[number - self.first], of))
            if block.window is None:
                biases.append(None)
            else:
                far = place[of].unsqueeze(1) + user.tokens - torch.arange(user.tokens, device=place.device)
                biases.append(attention_bias((far <= block.window)[None], kind))
        return users, biases
