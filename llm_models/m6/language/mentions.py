"""What reviews mention of an item, and of whoever wrote them: a few words where a catalogue says little.

Words are weighed by in how many of the reviews they stand, times the logarithm of how rare they are in all. A training
row is described without its own review, so that it never tells what is to be written.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mentions"]

_WORD = re.compile(r"[a-z][a-z'-]{2,}")
_KEPT = 40
"""Words of an item, or of a user, that are remembered: those in most of the reviews."""


class Mentions:
    """Words of items and of users.

    Parameters
    ----------
    of : dict of str to dict of int to dict of str to float
        ``"item"`` or ``"user"`` -> code -> word -> reviews with it.
    rarity : dict of str to float
        Word -> logarithm of reviews over reviews with it; of the words remembered.
    """

    def __init__(self, of: dict[str, dict[int, dict[str, int]]], rarity: dict[str, float]) -> None:
        self._of, self._rarity = of, rarity

    @classmethod
    def learn(cls, user: NDArray[np.integer], item: NDArray[np.integer], texts: Sequence[str | None]) -> Self:
        """Learn from reviews, one row each."""
        found = [_words(text) for text in texts]
        reviews = Counter(word for words in found for word in words)
        # A word that only one review has says nothing of its item to others.
        rarity = {word: math.log(len(found) / count) for word, count in reviews.items() if 1 < count < len(found)}
        of = {"user": _counted(user.tolist(), found, rarity), "item": _counted(item.tolist(), found, rarity)}
        remembered = {word for codes in of.values() for counts in codes.values() for word in counts}
        return cls(of, {word: weight for word, weight in rarity.items() if word in remembered})

    def words(self, kind: str, code: int, most: int, *, without: str | None = None) -> list[str]:
        """Words of an item or of a user, weightiest first; none where nothing is known.

        Parameters
        ----------
        kind : {"item", "user"}
        without : str, optional
            A review of theirs that is not to be counted.
        """
        own = _words(without)
        counts = self._of[kind].get(code, {})
        weight = {word: (count - (word in own)) * self._rarity[word] for word, count in counts.items()}
        ranked = sorted((word for word, value in weight.items() if value > 0), key=lambda word: (-weight[word], word))
        return ranked[:most]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps({"of": self._of, "rarity": self._rarity}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        of = {kind: {int(code): counts for code, counts in codes.items()} for kind, codes in raw["of"].items()}
        return cls(of, raw["rarity"])


def _words(text: str | None) -> set[str]:
    return set(_WORD.findall((text or "").lower()))


def _counted(codes: Iterable[int], found: Sequence[set[str]], known: dict[str, float]) -> dict[int, dict[str, int]]:
    counts: dict[int, Counter[str]] = {}
    for code, words in zip(codes, found, strict=True):
        counts.setdefault(code, Counter()).update(word for word in words if word in known)
    kept = {}
    for code, own in counts.items():
        ranked = sorted(own, key=lambda word: (-own[word] * known[word], word))
        kept[code] = {word: own[word] for word in ranked[:_KEPT]}
    return kept
