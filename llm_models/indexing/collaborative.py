"""Ids from clusters of the co-occurrence graph. Imports scipy: import it inside a method."""

from __future__ import annotations

from bench.models import Training
from llm_models.indexing.ids import IdIndex

__all__ = ["collaborative_ids"]


def collaborative_ids(training: Training, *, seed: int, clusters: int = 20, leaf: int = 100) -> IdIndex:
    """Cut the co-occurrence graph of training items."""
    raise NotImplementedError
