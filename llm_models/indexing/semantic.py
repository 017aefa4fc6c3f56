"""Ids from clusters of texts. Imports scipy: import it inside a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import polars as pl
from numpy.typing import NDArray

from bench.models import Training
from llm_models.indexing.ids import IdIndex

__all__ = ["SemanticCodes", "semantic_ids"]


class SemanticCodes:
    """What gives words to items by their texts."""

    name: ClassVar[str] = "semantic codes"

    def words(self, texts: pl.DataFrame, taken: frozenset[str]) -> list[str]:
        """Words of new items."""
        raise NotImplementedError

    def state(self) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
        """All it needs."""
        raise NotImplementedError

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo :meth:`state`."""
        raise NotImplementedError


def semantic_ids(
    training: Training,
    *,
    seed: int,
    method: Literal["kmeans", "rq-vae"] = "kmeans",
    embedder: Literal["tfidf", "minilm"] = "tfidf",
    levels: int = 3,
    codebook: int = 256,
    device: str = "cpu",
) -> IdIndex:
    """Quantise the texts of training items."""
    raise NotImplementedError
