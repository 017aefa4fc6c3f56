"""Training batches of all families, drawn lazily."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.models import Training
from llm_models.p5.settings import P5Settings
from llm_models.p5.writer import Batch, Writer
from llm_models.prompts import PromptCollection

__all__ = ["Mixture"]


class Mixture:
    """An endless, seeded draw of training prompts of all families."""

    def __init__(
        self, training: Training, writer: Writer, prompts: PromptCollection, settings: P5Settings, seed: int
    ) -> None:
        raise NotImplementedError

    @property
    def steps_an_epoch(self) -> float:
        """Batches in one pass: as many prompts as the sampling numbers of all families say."""
        raise NotImplementedError

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Draw batches from number ``start`` on; each depends on the seed and its number alone."""
        raise NotImplementedError

    def trained_words(self) -> frozenset[str]:
        """Words of the templates that are drawn from."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Say what is drawn: families, rows, sampling numbers, and which templates are left out, and why."""
        raise NotImplementedError
