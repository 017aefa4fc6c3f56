"""Requests to time serving with: users with a profile and clicks, candidates drawn from a catalogue, made-up words.

The time depends on how long texts are and not on what they say, so words are drawn at random; lengths are settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged
from llm_models.m6.packing import Packer

__all__ = ["Lengths", "Workload"]


@dataclass(frozen=True)
class Lengths:
    """How long texts are, in tokens without the two special ones: drawn evenly from the range.

    Attributes
    ----------
    profile : int
    click, candidate : (int, int)
        Shortest and longest. The defaults are 80% of the texts of MovieLens-100K in MiniLM's word pieces.
    """

    profile: int = 10
    click: tuple[int, int] = (8, 14)
    candidate: tuple[int, int] = (14, 21)


@dataclass(frozen=True, eq=False)
class Workload:
    """Requests.

    Attributes
    ----------
    packer : Packer
    users : Ragged
        Numbers of texts: a profile and clicks.
    candidates : Ragged
        A row for each user.
    spare : ndarray of int64
        Clicks that no user has made yet.
    """

    packer: Packer
    users: Ragged
    candidates: Ragged
    spare: NDArray[np.int64]

    @classmethod
    def drawn(
        cls,
        *,
        users: int,
        clicks: int,
        candidates: int,
        vocabulary: int,
        lengths: Lengths | None = None,
        spare: int = 4096,
        seed: int = 0,
    ) -> Workload:
        """Draw requests.

        Parameters
        ----------
        users : int
        clicks, candidates : int
            Of each user. The catalogue holds four times as many candidates, of which every user gets others.
        vocabulary : int
            Words of the backbone.
        """
        lengths = lengths or Lengths()
        rng = np.random.default_rng(seed)
        click = rng.integers(*lengths.click, size=users * clicks + spare, endpoint=True)
        catalogue = rng.integers(*lengths.candidate, size=4 * candidates, endpoint=True)
        sizes = np.concatenate([np.full(users, lengths.profile), click, catalogue])
        tokens = Ragged.from_lengths(sizes, rng.integers(vocabulary // 2, vocabulary, size=sizes.sum()))
        first = users + np.arange(users)[:, None] * clicks + np.arange(clicks)
        rows = np.concatenate([np.arange(users)[:, None], first], axis=1)
        start = users + len(click)
        chosen = [start + rng.choice(len(catalogue), candidates, replace=False) for _ in range(users)]
        packer = Packer(tokens, begin=1, end=2, max_tokens=int(sizes.sum()) + 2 * len(sizes))
        return cls(packer, Ragged.from_lists(rows), Ragged.from_lists(chosen), users * (1 + clicks) + np.arange(spare))

    @property
    def user_tokens(self) -> float:
        """Mean tokens of a user, special ones counted."""
        return float(self.packer.lengths(self.users, Ragged.empty(len(self.users))).mean())

    @property
    def candidate_tokens(self) -> float:
        """Mean tokens of a candidate, special ones counted."""
        return float((self.packer.tokens.lengths[self.candidates.values] + 2).mean())
