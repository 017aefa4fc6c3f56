"""What a click model sees of users and items: ids that start at 1, and the ids of an item's categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.models import Ragged, Training

__all__ = ["ItemTable", "Vocabulary"]


@dataclass(frozen=True, eq=False)
class ItemTable:
    """Features of items, one row each.

    Attributes
    ----------
    id : ndarray of int64, shape (rows,)
        0 for an item that is not known, or not shown.
    categories : Ragged
        Ids of each row's categories, from 1 on.
    """

    id: NDArray[np.int64]
    categories: Ragged

    def __len__(self) -> int:
        return len(self.id)

    def extended(self, categories: Ragged) -> ItemTable:
        """Append unknown items with these categories."""
        return ItemTable(
            np.append(self.id, np.zeros(len(categories), np.int64)),
            Ragged.from_lengths(
                np.append(self.categories.lengths, categories.lengths),
                np.append(self.categories.values, categories.values),
            ),
        )

    def with_hidden(self) -> ItemTable:
        """Append every row once more, its id hidden: row r then stands at ``len(self) + r`` too."""
        return self.extended(self.categories)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What occurs in training; ids are places plus one.

    Attributes
    ----------
    users, items : ndarray of int32
        Codes, strictly increasing.
    categories : ndarray of str
        Strictly increasing; empty where the data has none.
    table : ItemTable
        Row r is the item of id r; row 0 is nothing.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    categories: NDArray[np.str_]
    table: ItemTable

    @classmethod
    def of(cls, training: Training) -> Self:
        """Number the users and items of the labelled pairs, and the categories of these items."""
        assert training.pairs is not None
        users, items = np.unique(training.pairs.user), np.unique(training.pairs.item)
        names, lengths = _categories(items, training.items)
        categories, ids = np.unique(names, return_inverse=True)
        table = ItemTable(np.arange(len(items) + 1), Ragged.from_lengths([0, *lengths], ids + 1))
        return cls(users, items, categories, table)

    def category_ids(self, items: NDArray[np.int32], text: pl.DataFrame) -> Ragged:
        """Ids of the categories of ``items`` by their rows in ``text``; those never met in training are dropped."""
        names, lengths = _categories(items, text)
        if not len(self.categories):
            return Ragged.empty(len(items))
        place = np.minimum(np.searchsorted(self.categories, names), len(self.categories) - 1)
        return Ragged.from_lengths(lengths, place + 1).keep(self.categories[place] == names)


def _categories(items: NDArray[np.int32], text: pl.DataFrame) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Names of all categories of ``items``, item by item, each once, and how many each item has."""
    if "categories" not in text.columns:
        return np.empty(0, np.str_), np.zeros(len(items), np.int64)
    wanted = pl.DataFrame({"item": items})
    found = wanted.join(text.select("item", "categories"), on="item", how="left", maintain_order="left")["categories"]
    lists = found.fill_null([]).list.drop_nulls().list.unique(maintain_order=True)
    return np.array(lists.explode().drop_nulls().to_list(), np.str_), lists.list.len().to_numpy().astype(np.int64)
