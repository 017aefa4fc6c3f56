"""The categories that many items share, and how often a history meets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.pieces import blocks
from bench.data.ragged import Ragged
from llm_models.m6.counting import Bands, Places, positions, steps

__all__ = ["Categories", "Shelf"]

_LEAST_SHARE = 0.005  # of the training items: a rarer category says little of how a user chooses
_HABIT = (1, 2, 5)


@dataclass(frozen=True, eq=False)
class Categories:
    """The categories that many training items share, the rarest first."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, items: pl.DataFrame) -> Self:
        """Take those that at least two items, and one in 200, have."""
        listed = items.select("item", name="categories").explode("name").drop_nulls().unique()
        least = max(2, int(np.ceil(_LEAST_SHARE * len(items))))
        counted = listed.group_by("name").len().filter(pl.col("len") >= least).sort("len", "name")
        return cls(tuple(counted["name"].to_list()))

    def shelve(self, text: pl.DataFrame) -> Shelf:
        """Find the categories of the items of a text table."""
        text = text.sort("item")
        member = np.zeros((len(text), len(self.names)), bool)
        if self.names and isinstance(text.schema.get("categories"), pl.List):
            known = pl.DataFrame({"name": self.names, "code": np.arange(len(self.names))})
            listed = text.select(pl.int_range(pl.len()).alias("row"), name="categories").explode("name")
            found = listed.join(known, on="name")
            member[found["row"].to_numpy(), found["code"].to_numpy()] = True
        main = np.where(member.any(axis=1), member.argmax(axis=1), -1) if self.names else np.full(len(text), -1)
        return Shelf(text["item"].to_numpy(), member, main)


@dataclass(frozen=True, eq=False)
class Shelf:
    """Items of a text table (``codes`` increasing), their categories (``member``) and the one spoken of (``main``)."""

    codes: NDArray[np.int32]
    member: NDArray[np.bool_]
    main: Places

    def habit(self, history: Ragged, category: Places) -> Bands:
        """How often each history meets a category."""
        place, row = positions(self.codes, history.values), history.row_of
        met = np.zeros(len(history), np.int64)
        for block in blocks(len(place), least=len(history)):
            wanted = category[row[block]]
            hit = (place[block] >= 0) & (wanted >= 0)
            hit[hit] = self.member[place[block][hit], wanted[hit]]
            met += np.bincount(row[block][hit], minlength=len(history))
        return np.where((category >= 0) & (history.lengths > 0), steps(met, _HABIT), -1).astype(np.int8)
