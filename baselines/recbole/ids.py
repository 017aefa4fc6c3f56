"""Between the harness's codes and RecBole's ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ids"]


class Ids:
    """Between our codes and RecBole's ids, which start at 1 in an order of its own; 0 is its padding.

    Attributes
    ----------
    code : ndarray of int32, shape (ids,)
        Code of each id; -1 for the padding.
    """

    def __init__(self, tokens: NDArray[np.str_]) -> None:
        self.code = np.array([-1, *tokens[1:].astype(np.int64)], np.int32)
        self._order = np.argsort(self.code)
        self._sorted = self.code[self._order]

    def of(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Ids of ``codes``; 0 for those RecBole does not know."""
        place = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        return np.where(self._sorted[place] == codes, self._order[place], 0)
