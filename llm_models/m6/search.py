"""The nearest items of a user: exact search, in NumPy, or in FAISS where the catalogue is large."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingInputError
from bench.models import Ragged

__all__ = ["FAISS_FROM", "Found", "Index", "best"]

FAISS_FROM = 1_000_000
"""So many items, and FAISS looks for the nearest."""
_BLOCK = 32_000_000  # scores at once


class Found(NamedTuple):
    """Best first: rows of the index, a row a query (fewer than asked for where nothing else is left), and scores."""

    rows: Ragged
    scores: NDArray[np.float32]


def best(scores: NDArray[np.float32], k: int) -> Found:
    """The ``k`` best columns of each row; of equal ones the first. NaN and minus infinity are never listed.

    Parameters
    ----------
    scores : ndarray of float32, shape (queries, items)
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    k = min(k, scores.shape[1])
    # The k-th best score of a row; everything above it is in, and of its equals the first ones.
    least = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k] if k else np.empty((len(scores), 1))
    lists, values = [], []
    for row, bound in zip(scores, least[:, 0] if k else [], strict=False):
        inside = np.flatnonzero((row >= bound) & (row > -np.inf))
        inside = inside[np.argsort(-row[inside], kind="stable")][:k]
        lists.append(inside)
        values.append(row[inside])
    if not k:
        return Found(Ragged.empty(len(scores)), np.empty(0, np.float32))
    return Found(
        Ragged.from_lists(lists), np.concatenate(values).astype(np.float32) if values else np.empty(0, np.float32)
    )


class Index:
    """Inner-product search over item vectors.

    Parameters
    ----------
    vectors : ndarray of float32, shape (items, width)
    faiss_from : int
        With so many items FAISS is used (its flat index, which is exact too).

    Raises
    ------
    MissingInputError
        When FAISS is needed and not installed.
    """

    def __init__(self, vectors: NDArray[np.float32], *, faiss_from: int = FAISS_FROM) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._faiss: Any = None
        if len(vectors) >= faiss_from:
            if find_spec("faiss") is None:
                raise MissingInputError(
                    f"{len(vectors):,} items are searched with FAISS, which is not installed: "
                    "pip install 'llm-rec-bench[faiss]'"
                )
            import faiss

            self._faiss = faiss.IndexFlatIP(self.vectors.shape[1])
            self._faiss.add(self.vectors)

    @property
    def method(self) -> str:
        """``"exact"`` or ``"faiss"``."""
        return "exact" if self._faiss is None else "faiss"

    def top(self, queries: NDArray[np.float32], k: int, *, exclude: Ragged | None = None) -> Found:
        """The ``k`` items with the largest inner products, for each of the queries, shape (queries, width).

        Parameters
        ----------
        exclude : Ragged, optional
            Per query the rows that may not be listed.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        exclude = Ragged.empty(len(queries)) if exclude is None else exclude
        if self._faiss is not None:
            return self._from_faiss(queries, k, exclude)
        size = max(1, _BLOCK // max(len(self.vectors), 1))
        parts = []
        for start in range(0, len(queries), size):
            rows = np.arange(start, min(start + size, len(queries)))
            scores = queries[rows] @ self.vectors.T
            hidden = exclude.take(rows)
            scores[hidden.row_of, hidden.values] = -np.inf
            parts.append(best(scores, k))
        return Found(
            Ragged.from_lists([row for part in parts for row in part.rows]),
            np.concatenate([part.scores for part in parts]) if parts else np.empty(0, np.float32),
        )

    def _from_faiss(self, queries: NDArray[np.float32], k: int, exclude: Ragged) -> Found:
        asked = min(len(self.vectors), k + int(exclude.lengths.max(initial=0)))
        scores, rows = self._faiss.search(queries, asked)
        lists, values = [], []
        for found, score, hidden in zip(rows, scores, exclude, strict=True):
            keep = ~np.isin(found, hidden) & (found >= 0)
            found, score = found[keep], score[keep]
            order = np.lexsort((found, -score))[:k]
            lists.append(found[order])
            values.append(score[order])
        return Found(Ragged.from_lists(lists), np.concatenate(values) if values else np.empty(0, np.float32))
