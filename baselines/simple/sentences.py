"""Explaining sentences of training reviews, and the one nearest to what a user and an item are told by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from baselines.lookup import positions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Sentences"]


class Sentences:
    """Sentences with who wrote them, about which item and feature, and with how many stars.

    Parameters
    ----------
    known : polars.DataFrame
        ``user``, ``item`` (Int32), ``rating`` (Float32, may be null), ``feature``, ``sentence`` (String).
    rows : csr_array of float32, shape (sentences, words)
        TF-IDF rows of the sentences.
    """

    def __init__(self, known: pl.DataFrame, rows: csr_array) -> None:
        self._known, self._rows = known, rows
        self._stars = known["rating"].fill_null(float("nan")).to_numpy()
        self._of_user, self._of_item = (_Groups(known[name].to_numpy(), rows) for name in ("user", "item"))
        place = known.with_row_index("row").group_by("feature", maintain_order=True).agg("row")
        self._of_feature = {feature: np.array(own, np.int64) for feature, own in place.iter_rows()}

    def nearest(
        self,
        user: NDArray[np.int32],
        item: NDArray[np.int32],
        given: pl.DataFrame | None,
        *,
        user_weight: float,
    ) -> Iterator[str | None]:
        """The sentence for each request, as ``NearestReview`` says; ``None`` where there is none.

        Parameters
        ----------
        given : polars.DataFrame or None
            With the columns ``feature`` and ``rating`` where they are shown.
        """
        wanted = self._profiles(user, item, user_weight)
        shown = given if given is not None else pl.DataFrame()
        features = shown["feature"].to_list() if "feature" in shown.columns else [None] * len(user)
        stars = shown["rating"].to_list() if "rating" in shown.columns else [None] * len(user)
        for place, (feature, star) in enumerate(zip(features, stars, strict=True)):
            pool = self._pool(int(user[place]), int(item[place]), feature)
            if star is not None:
                pool = self._with_stars(pool, star)
            if not len(pool):
                yield None
                continue
            among, profile = self._rows[pool], wanted[[place]]
            if not profile.nnz:
                profile = _sum(among)
            yield self._known["sentence"][int(pool[(among @ profile.T).toarray()[:, 0].argmax()])]

    def _profiles(self, user: NDArray[np.int32], item: NDArray[np.int32], user_weight: float) -> csr_array:
        from scipy.sparse import csr_array

        mine, its = self._of_user.profiles(user), self._of_item.profiles(item)
        wanted = csr_array(user_weight * mine + (1 - user_weight) * its)
        wanted.eliminate_zeros()
        return wanted

    def _pool(self, user: int, item: int, feature: str | None) -> NDArray[np.int64]:
        of_item = self._of_item.of(item)
        pools = [of_item, self._of_user.of(user)]
        if feature is not None:
            about = self._of_feature.get(feature, np.empty(0, np.int64))
            pools = [np.intersect1d(of_item, about, assume_unique=True), about, *pools]
        return next((pool for pool in pools if len(pool)), pools[-1])

    def _with_stars(self, pool: NDArray[np.int64], star: float) -> NDArray[np.int64]:
        """Those of the nearest stars; all where none are known."""
        away = np.abs(self._stars[pool] - star)
        return pool if np.isnan(away).all() else pool[away == np.nanmin(away)]

    def save(self, folder: Path) -> None:
        """Write ``sentences.parquet`` and ``sentences.npz``."""
        from scipy.sparse import save_npz

        self._known.write_parquet(folder / "sentences.parquet")
        save_npz(folder / "sentences.npz", self._rows)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        from scipy.sparse import load_npz

        return cls(pl.read_parquet(folder / "sentences.parquet"), load_npz(folder / "sentences.npz"))


class _Groups:
    """Sentences by user, or by item, with the profile of each."""

    def __init__(self, code: NDArray[np.int32], rows: csr_array) -> None:
        from scipy.sparse import csr_array

        order = np.argsort(code, kind="stable")
        self._code, start = np.unique(code[order], return_index=True)
        self._members = np.split(order, start[1:])
        self._none = np.empty(0, np.int64)
        chooser = csr_array(
            (np.ones(len(order), np.float32), order, np.append(start, len(order))), shape=(len(start), len(order))
        )
        self._profiles = _normalised(csr_array(chooser @ rows))

    def of(self, code: int) -> NDArray[np.int64]:
        """Rows of the sentences of one, increasing."""
        place = int(positions(self._code, np.array([code]))[0])
        return self._members[place] if place >= 0 else self._none

    def profiles(self, code: NDArray[np.int32]) -> csr_array:
        """Normalised sums of sentence rows, shape (len(code), words); empty for who has none."""
        from scipy.sparse import csr_array, vstack

        with_none = vstack([self._profiles, csr_array((1, self._profiles.shape[1]), dtype=np.float32)], format="csr")
        return with_none[positions(self._code, code)]


def _sum(rows: csr_array) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array(rows.sum(axis=0)[None, :])


def _normalised(rows: csr_array) -> csr_array:
    norm = np.sqrt(rows.multiply(rows).sum(axis=1))
    rows.data /= np.repeat(norm, np.diff(rows.indptr))
    return rows
