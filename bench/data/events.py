"""Events with numbers in the place of ids: a third of the memory of their texts, and nothing is looked up twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.coding import number_ids

__all__ = ["EVENT_COLUMNS", "CodedEvents"]

EVENT_COLUMNS = {"rating": pl.Float32, "time": pl.Int64, "position": pl.Int64, "row": pl.UInt32}
"""What is kept of every event beside its user and item; ``row`` numbers the rows of the source."""


@dataclass(frozen=True, eq=False)
class CodedEvents:
    """Events, one row each.

    Attributes
    ----------
    users, items : polars.Series of String
        The distinct ids, sorted.
    user, item : ndarray of int32, shape (events,)
        The place of each event's id there.
    rest : polars.DataFrame
        Other columns: ``rating`` (Float32), ``time``, ``position`` (Int64)..., null where unknown.
    """

    users: pl.Series
    items: pl.Series
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rest: pl.DataFrame

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """Number the ids of a table with ``user_id``, ``item_id`` (String, no nulls) and other columns."""
        (users, user), (items, item) = number_ids(frame["user_id"]), number_ids(frame["item_id"])
        return cls(users, items, user, item, frame.drop("user_id", "item_id"))

    def __len__(self) -> int:
        return len(self.user)

    def frame(self) -> pl.DataFrame:
        """One table: ``user_id``, ``item_id`` (String), and the other columns."""
        ids = {"user_id": self.users.gather(self.user), "item_id": self.items.gather(self.item)}
        return pl.DataFrame({**ids, **self.rest.to_dict()})
