"""The unit of inference: what a measurement is a sample of, and so what may be resampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import DataError, nearest

__all__ = ["Factor", "Floats", "Units"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factor:
    """A grouping of cells into clusters (the users, or the items).

    Attributes
    ----------
    name : str
        ``"user"`` or ``"item"``.
    code : ndarray of int64, shape (cells,)
        The cluster of each cell, 0 to ``clusters - 1``; every cluster occurs.
    """

    name: str
    code: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, labels: ArrayLike) -> Factor:
        """Number the clusters in the order of their labels, whatever the order of the cells."""
        labels = np.asarray(labels)
        if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"the {name}s of the requests must be a non-empty one-dimensional integer array")
        return cls(name, np.unique(labels, return_inverse=True)[1].astype(np.int64))

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """Cells per cluster, shape (clusters,)."""
        return np.bincount(self.code)

    @cached_property
    def is_trivial(self) -> bool:
        """Whether every cell is a cluster, in the same order."""
        return bool(np.array_equal(self.code, np.arange(len(self.size))))

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        return np.argsort(self.code, kind="stable"), np.cumsum(self.size) - self.size

    def totals(self, values: Floats) -> Floats:
        """Sum ``values`` (..., cells) within clusters, shape (..., clusters)."""
        if self.is_trivial:
            return values
        order, starts = self._sorted
        return np.add.reduceat(values[..., order], starts, axis=-1)

    def means(self, values: Floats) -> Floats:
        """Average ``values`` (..., cells) within clusters, shape (..., clusters)."""
        return self.totals(values) / self.size


@dataclass(frozen=True, eq=False)
class Units:
    """How the requests of a measurement hang together.

    Three designs exist. **By user**: the requests of a user are averaged first, and users are a sample of users; the
    estimate is the mean over users of the user's mean. **Pooled user**: users are the sample too, but every request
    counts alike; the estimate is the plain mean over requests, as the literature takes errors of ratings and areas
    under the curve, and whole users are resampled. **User x item**: users and items are both samples (items held
    out together, say), and a request is a cell of their cross table; the estimate is the plain mean over requests,
    because that is what a metric over a request set reports, and averaging within users first would hide from the
    item side how often each item was asked for.

    Build one with :meth:`by_user`, :meth:`pooled`, :meth:`crossed` or :meth:`of`.

    Attributes
    ----------
    kind : str
        ``"user"``, ``"pooled user"`` or ``"user x item"``.
    requests : int
    factors : tuple of Factor
        The groupings of the *cells*, the smallest pieces inference sees: one a user in the first design (one factor,
        one cell a cluster), one a request in the others (one factor, or two).
    """

    kind: str
    requests: int
    factors: tuple[Factor, ...]
    _averaging: Factor | None = None

    @classmethod
    def by_user(cls, user: ArrayLike) -> Units:
        """Users are the sample; ``user`` holds the user of each request, integers of shape (requests,)."""
        requests = Factor.of("user", user)
        users = Factor("user", np.arange(len(requests.size)))
        return cls("user", len(requests.code), (users,), requests)

    @classmethod
    def pooled(cls, user: ArrayLike) -> Units:
        """Users are the sample, requests count alike; ``user`` holds the user of each request."""
        users = Factor.of("user", user)
        return cls("pooled user", len(users.code), (users,))

    @classmethod
    def crossed(cls, user: ArrayLike, item: ArrayLike) -> Units:
        """Users and items are both samples; integer arrays of shape (requests,)."""
        users, items = Factor.of("user", user), Factor.of("item", item)
        if len(users.code) != len(items.code):
            raise DataError(f"{len(users.code)} requests have a user, but {len(items.code)} have an item")
        return cls("user x item", len(users.code), (users, items))

    @classmethod
    def of(cls, kind: str, user: ArrayLike, item: ArrayLike) -> Units:
        """Build the design called ``kind`` (``"user"``, ``"pooled user"`` or ``"user x item"``)."""
        if kind == "user":
            return cls.by_user(user)
        if kind == "pooled user":
            return cls.pooled(user)
        if kind == "user x item":
            return cls.crossed(user, item)
        raise nearest("unit of inference", kind, ("user", "pooled user", "user x item"))

    def __str__(self) -> str:
        """Such as ``"943 users"`` or ``"812 users x 84 items"``."""
        return " x ".join(f"{len(factor.size)} {factor.name}{'s'[: len(factor.size) != 1]}" for factor in self.factors)

    @property
    def cells(self) -> int:
        """How many smallest pieces there are: users where their requests are averaged first, else requests."""
        return len(self.factors[0].code)

    def to_cells(self, values: Any, name: str = "the values") -> Floats:
        """Check request values and bring them to cells.

        Parameters
        ----------
        values : array-like of float, shape (requests,) or (seeds, requests)
        name : str
            Whose values they are, for the error.

        Returns
        -------
        ndarray of float64, shape (seeds, cells)

        Raises
        ------
        DataError
            When the shape does not fit or a value is not finite (an unanswered request is a miss, not a gap).
        """
        array = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if array.ndim != 2 or array.shape[1] != self.requests or not len(array):
            raise DataError(f"{name}: shape {array.shape}, expected (seeds, {self.requests} requests)")
        if not np.isfinite(array).all():
            seed, request = np.argwhere(~np.isfinite(array))[0]
            raise DataError(
                f"{name}: the value of request {request} under seed {seed} is {array[seed, request]}; "
                "give unanswered requests the value of a miss"
            )
        return array if self._averaging is None else self._averaging.means(array)

    def all_to_cells(self, values: Mapping[str, Any]) -> dict[str, Floats]:
        """:meth:`to_cells` of every entry."""
        return {name: self.to_cells(array, name) for name, array in values.items()}
