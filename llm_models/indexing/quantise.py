"""Residual quantisation: a vector becomes a row of codes, each level saying what the levels before left over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from llm_models.indexing.kmeans import kmeans, nearest_centre

__all__ = ["Quantiser", "residual_kmeans"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quantiser:
    """Layers that a vector passes first (none: it is taken as it is), and the code books of the levels.

    Attributes
    ----------
    layers : tuple of (ndarray of float32, shape (in, out); ndarray of float32, shape (out,))
        Weights and bias of each layer; what is negative becomes 0 between layers.
    books : ndarray of float32, shape (levels, codes, width)
    scale : float
        Vectors are multiplied by it first.
    """

    layers: tuple[tuple[Floats, Floats], ...]
    books: Floats
    scale: float = 1.0

    def enter(self, vectors: Floats) -> Floats:
        """Vectors where they are quantised, shape (vectors, width of the books)."""
        inner = vectors * np.float32(self.scale)
        for depth, (weight, bias) in enumerate(self.layers):
            inner = (np.maximum(inner, 0) if depth else inner) @ weight + bias
        return inner

    def encode(self, vectors: Floats) -> NDArray[np.int64]:
        """Codes of vectors, shape (vectors, levels)."""
        rest = self.enter(vectors)
        codes = np.empty((len(vectors), len(self.books)), np.int64)
        for level, book in enumerate(self.books):
            codes[:, level] = nearest_centre(rest, book)[0]
            rest = rest - book[codes[:, level]]
        return codes

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All of it, as JSON and as arrays."""
        arrays: dict[str, NDArray[Any]] = {"books": self.books}
        for depth, (weight, bias) in enumerate(self.layers):
            arrays |= {f"weight{depth}": weight, f"bias{depth}": bias}
        return {"layers": len(self.layers), "scale": self.scale}, arrays

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Undo :meth:`state`."""
        layers = tuple((arrays[f"weight{depth}"], arrays[f"bias{depth}"]) for depth in range(settings["layers"]))
        return cls(layers, arrays["books"], settings["scale"])


def residual_kmeans(vectors: Floats, *, levels: int, codebook: int, seed: int) -> Floats:
    """Code books by k-means: each level clusters what the levels before left over.

    Returns
    -------
    ndarray of float32, shape (levels, min(codebook, vectors), width)
    """
    rest = vectors
    books = []
    for level in range(levels):
        book = kmeans(rest, min(codebook, len(rest)), seed=seed + level)
        rest = rest - book[nearest_centre(rest, book)[0]]
        books.append(book)
    return np.stack(books)
