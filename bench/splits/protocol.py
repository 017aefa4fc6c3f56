"""What every protocol offers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from bench.data import Dataset
from bench.splits.split import Cut

__all__ = ["Protocol"]


class Protocol(BaseModel):
    """A way to cut a dataset, with its parameters; a subclass has a ``name`` that suites refer to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: ClassVar[str]
    """Raised whenever the same data would be split otherwise."""

    @abstractmethod
    def describe(self) -> str:
        """The protocol with its parameters, in words, for tables."""

    @abstractmethod
    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Cut ``dataset``; ``seed`` decides ties in time and every draw.

        Raises
        ------
        DataError
            When the data lacks what the protocol needs.
        """

    def identity(self) -> dict[str, Any]:
        """What the split's identity hashes of the protocol; parameters that are not given leave no trace."""
        return {**self.model_dump(mode="json", exclude_none=True), "version": self.version}
