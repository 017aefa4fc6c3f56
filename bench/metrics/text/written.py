"""What the scorer keeps of a block of texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import digest_frame
from bench.errors import DataError

__all__ = ["Written", "has_features"]


@dataclass(frozen=True, eq=False)
class Written:
    """What the scorer keeps of a block of texts.

    Attributes
    ----------
    actual : polars.Series of String, shape (requests,)
        What the user wrote; no nulls.
    written : polars.Series of String, shape (requests,)
        What the model wrote; null where it was not served.
    feature : polars.Series of String, shape (requests,), or None
        The feature the user's text is about, where the task knows one; no nulls.

    Raises
    ------
    DataError
        When lengths differ, or the user's text or its feature is missing somewhere.
    """

    actual: pl.Series
    written: pl.Series
    feature: pl.Series | None = None

    def __post_init__(self) -> None:
        for name, series in (("actual", self.actual), ("feature", self.feature)):
            if series is None:
                continue
            if len(series) != len(self.written):
                raise DataError(f"{len(self.written)} texts were written, but {name!r} has {len(series)} rows")
            if series.null_count():
                row = series.is_null().arg_max()
                raise DataError(f"column {name!r} is empty in row {row}; leave requests without it out of the task")

    @property
    def served(self) -> NDArray[np.bool_]:
        """Whether the model wrote anything, shape (requests,)."""
        return self.written.is_not_null().to_numpy()

    def columns(self) -> dict[str, Any]:
        """What a store keeps of each request."""
        kept = {"actual": self.actual, "written": self.written, "served": self.served}
        return kept if self.feature is None else {**kept, "feature": self.feature}

    @classmethod
    def of(cls, measurements: pl.DataFrame) -> Self:
        """Read what :meth:`columns` stored."""
        feature = measurements["feature"] if has_features(measurements) else None
        return cls(measurements["actual"], measurements["written"], feature)

    @classmethod
    def concatenate(cls, blocks: Iterable[Written]) -> Self:
        """Join blocks of consecutive requests, all with features or all without.

        Raises
        ------
        DataError
            Some have features and some have none.
        """
        parts = list(blocks)
        features = [part.feature for part in parts if part.feature is not None]
        if features and len(features) < len(parts):
            raise DataError("some blocks of texts have features and some have none")
        return cls(
            pl.concat([part.actual for part in parts]),
            pl.concat([part.written for part in parts]),
            pl.concat(features) if features else None,
        )

    @cached_property
    def texts(self) -> pl.Series:
        """What the model wrote; an unanswered request is an empty text."""
        return self.written.cast(pl.String).fill_null("")

    def pairs(self) -> Iterable[tuple[str, str]]:
        """What the user wrote with what the model wrote."""
        return zip(self.actual, self.texts, strict=True)

    @cached_property
    def digest(self) -> str:
        """Equal for equal pairs of texts."""
        return digest_frame(pl.DataFrame({"actual": self.actual, "written": self.texts}))


def has_features(measurements: pl.DataFrame) -> bool:
    """Whether stored measurements say what the users' texts are about."""
    return "feature" in measurements.columns and measurements["feature"].null_count() < measurements.height
