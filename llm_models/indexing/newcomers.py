"""Words for items that were met after training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import mix64, stable_hash64
from bench.errors import DataError, UsageError

__all__ = ["Newcomers", "RandomPlaces", "free_places", "read_newcomers"]

Arrays = Mapping[str, NDArray[Any]]


class Newcomers(Protocol):
    """What an index keeps to give words to items it does not hold."""

    name: ClassVar[str]
    """Under which an artefact names it."""

    def words(self, texts: pl.DataFrame, taken: frozenset[str]) -> list[str]:
        """Distinct words outside ``taken``, one a row of ``texts`` (columns as in ``Catalogue.text``)."""

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All it needs, as JSON and as arrays."""

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """Undo :meth:`state`."""


def free_places(item_ids: pl.Series, seed: int, room: int, taken: Iterable[int]) -> list[int]:
    """Give each id a random place of ``0 .. room - 1`` that is not taken.

    A place is a seeded hash of the id, or the next free one behind it, so that it does not depend on which other ids
    are asked for, unless they meet.

    Raises
    ------
    UsageError
        When there are fewer free places than ids.
    """
    occupied = set(taken)
    if len(occupied) + len(item_ids) > room:
        raise UsageError(f"{len(item_ids):,} items met after training find {room - len(occupied):,} free ids")
    places = []
    for start in (mix64(seed, stable_hash64(item_ids)) % np.uint64(room)).tolist():
        place = int(start)
        while place in occupied:
            place = (place + 1) % room
        occupied.add(place)
        places.append(place)
    return places


@dataclass(frozen=True)
class RandomPlaces:
    """Numbers at random places among those that the width of the index can write and that are free.

    Attributes
    ----------
    seed : int
    first : int
        The smallest number.
    width : int
        Digits of the largest number.
    padded : bool
        Whether all numbers are filled up to the width with zeros.
    """

    seed: int
    first: int
    width: int
    padded: bool
    name: ClassVar[str] = "random places"

    def write(self, number: int) -> str:
        """Write a number as the index does; one that is too large for the width has two or more times the digits."""
        width = self.width
        while number >= 10**width:
            width += self.width
        return f"{number:0{width}d}" if self.padded else str(number)

    def words(self, texts: pl.DataFrame, taken: frozenset[str]) -> list[str]:
        """Numbers that are free; wider ones only where there are more newcomers than free numbers."""
        occupied = {int(word) - self.first for word in taken}
        width = self.width
        while 10**width - self.first < len(occupied) + len(texts):
            width += self.width
        places = free_places(texts["item_id"], self.seed, 10**width - self.first, occupied)
        return [self.write(self.first + place) for place in places]

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All it needs, as JSON."""
        return {"seed": self.seed, "first": self.first, "width": self.width, "padded": self.padded}, {}

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """Undo :meth:`state`."""
        return cls(**settings)


def read_newcomers(name: str, settings: dict[str, Any], arrays: Arrays) -> Newcomers:
    """Restore what an artefact names.

    Raises
    ------
    DataError
        When this version knows nothing of that name.
    """
    from llm_models.indexing.semantic import SemanticCodes

    known: dict[str, type[Newcomers]] = {RandomPlaces.name: RandomPlaces, SemanticCodes.name: SemanticCodes}
    if name not in known:
        raise DataError(f"the index gives ids to newcomers by {name!r}, which this version does not know; fit again")
    return known[name].restore(settings, arrays)
