"""Random ids: every item and user of the training set is a number that says nothing about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError

__all__ = ["IdIndex", "random_ids"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class IdIndex:
    """The words that stand for codes, both ways.

    Attributes
    ----------
    code : ndarray of int32, shape (entries,)
        Item or user codes, strictly increasing.
    word : tuple of str
        The word of each code; distinct, without white space.
    """

    code: NDArray[np.int32]
    word: tuple[str, ...]

    def rows(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Position of each code in the index; -1 where it is not there."""
        if not len(self.code):
            return np.full(len(codes), -1)
        at = np.minimum(np.searchsorted(self.code, codes), len(self.code) - 1)
        return np.where(self.code[at] == codes, at, -1)

    @cached_property
    def code_of(self) -> dict[str, int]:
        """Decode table: the code a word stands for."""
        return dict(zip(self.word, self.code.tolist(), strict=True))

    @cached_property
    def digest(self) -> str:
        """Hash of the index."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        return json.dumps({"format": FORMAT, "codes": self.code_of}, indent=0)

    def save(self, path: Path) -> None:
        """Write the index as JSON: format version and decode table."""
        path.write_text(self._text(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> IdIndex:
        """Read an index written by :meth:`save`."""
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{path}: index format {content['format']}, this version reads {FORMAT}; fit again")
        return cls(np.array(list(content["codes"].values()), np.int32), tuple(content["codes"]))


def random_ids(code: NDArray[np.integer], *, seed: int, digits: int, prefix: str = "") -> IdIndex:
    """Give every code a random number of fixed width.

    The numbers are spread evenly over all that the width can write, in groups of ``digits`` digits, so that the tree of
    groups is balanced and each group is shared by as few codes as possible. Two groups are the least: ids are
    composed, not looked up.

    Parameters
    ----------
    code : ndarray of int, shape (entries,)
        Distinct codes; their order does not matter.
    seed : int
        The ids depend on the set of codes and on this, on nothing else.
    digits : int
        Digits to a group (to a piece of the tokenizer).
    prefix : str
        Put before each number (``"user_"``).
    """
    ordered = np.unique(np.asarray(code, np.int32))
    groups = 2
    while 10 ** (digits * groups) < len(ordered):
        groups += 1
    rank = np.random.default_rng([seed, len(ordered)]).permutation(len(ordered))
    number = rank * 10 ** (digits * groups) // max(len(ordered), 1)
    return IdIndex(ordered, tuple(f"{prefix}{n:0{digits * groups}d}" for n in number.tolist()))
