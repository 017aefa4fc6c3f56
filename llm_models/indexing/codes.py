"""Words made of codes: a letter a level, so that a word falls apart in one way only."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bench.errors import UsageError

__all__ = ["CodeWriter"]

LETTERS = "abcdefghijklm"
LAST = "n"
"""The letter of the number that tells items of the same codes apart."""


@dataclass(frozen=True)
class CodeWriter:
    """Writes ``(3, 17)`` and the last number 42 as ``a_3b_17n_42``.

    Attributes
    ----------
    sizes : tuple of int
        How many codes each level has.
    last : int
        How many last numbers there are.
    """

    sizes: tuple[int, ...]
    last: int

    def __post_init__(self) -> None:
        if len(self.sizes) > len(LETTERS):
            raise UsageError(
                f"ids of {len(self.sizes)} levels: {len(LETTERS)} at most; set larger clusters, or fewer levels"
            )

    @classmethod
    def of_paths(cls, paths: Sequence[tuple[int, ...]], last: int) -> Self:
        """For codes that are given; they may be of different lengths."""
        depth = max(map(len, paths), default=0)
        return cls(tuple(1 + max(path[level] for path in paths if len(path) > level) for level in range(depth)), last)

    def write(self, codes: Sequence[int], last: int) -> str:
        """One word."""
        return "".join(f"{letter}_{code}" for letter, code in zip(LETTERS, codes, strict=False)) + f"{LAST}_{last}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every code as a piece of a tokenizer; those that begin words have the mark of a new word."""
        levels = [
            [f"{letter}_{code}" for code in range(size)]
            for letter, size in (*zip(LETTERS, self.sizes, strict=False), (LAST, self.last))
        ]
        return (*(f"▁{piece}" for piece in levels[0]), *(piece for level in levels[1:] for piece in level))

    @property
    def room(self) -> int:
        """How many words of all levels there are."""
        return math.prod(self.sizes) * self.last

    def place(self, word: str) -> int:
        """The number of a word of all levels among all such words."""
        number = 0
        for size, code in zip((*self.sizes, self.last), re.findall(r"\d+", word), strict=True):
            number = number * size + int(code)
        return number

    def at(self, place: int) -> str:
        """The word of a number: undoes :meth:`place`."""
        place, last = divmod(place, self.last)
        codes = []
        for size in reversed(self.sizes):
            place, code = divmod(place, size)
            codes.append(code)
        return self.write(codes[::-1], last)
