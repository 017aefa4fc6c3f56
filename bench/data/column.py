"""A column of a table, seen in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.data.pieces import gather

__all__ = ["Column"]

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Column(Generic[_Scalar]):
    """Values of events, not copied into their order before they are asked for.

    ``column[rows]`` (positions, a mask or a slice of the events) gives an array; ``column[:]`` all values.

    Attributes
    ----------
    source : ndarray, shape (rows of the table,)
    rows : ndarray of uint32, shape (events,)
        The row of each event there.
    """

    source: NDArray[_Scalar]
    rows: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, events: NDArray[Any] | slice) -> NDArray[_Scalar]:
        return gather(self.source, self.rows[events])
