"""The attribute-to-factor map: a collaborative model for items that nobody has touched yet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from baselines.content.settings import LearnedTextSettings
from baselines.lookup import known, positions
from baselines.simple.profiles import recency
from baselines.simple.text import ItemText, RowsOfRequests
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from baselines.content.mapping import Mapping

__all__ = ["AttributeMap", "AttributeMapSettings"]

Floats = NDArray[np.float64]


class AttributeMapSettings(LearnedTextSettings):
    """Settings of :class:`AttributeMap`, beside how text is read and which items of a history count.

    The defaults are a compromise of the validation parts of cold start on MovieLens-100K (where 64 factors do) and
    Amazon Beauty (where 256 and 512 beat 64 and 128, and 0.003 and 0.01 for ``unobserved`` are alike).

    Attributes
    ----------
    factors : int
        Length of a user's or an item's vector.
    unobserved : float
        How much it counts that a user did not pick an item, beside 1 for one that was picked.
    ridge : float
        Penalty on the factors, times how often their user or item occurs.
    text_ridge : float
        Penalty of the regression from text to factors.
    map_warm : bool
        Whether training items get the factors of their text too, instead of their own.
    """

    factors: int = Field(256, ge=1)
    unobserved: float = Field(0.01, gt=0)
    ridge: float = Field(0.01, gt=0)
    text_ridge: float = Field(3.0, gt=0)
    map_warm: bool = False


@dataclass(frozen=True, eq=False)
class _Learned:
    """Vectors of the training users and items, float64, shapes (users, factors), (items, factors), and the map."""

    user: Floats
    item: Floats
    mapping: Mapping


class AttributeMap(Recommender):
    """Implicit ALS, and a ridge regression from TF-IDF item text to its item factors.

    Training items have trained factors, cold ones those that the regression reads from their text (vocabulary, document
    frequencies and regression: training items only). A direct request is answered with the user's trained factors, a
    sequential one with factors solved from the items shown (the user's half-step of ALS, items frozen), newcomers
    included. A cold item without a known word is NaN, and so is a request without a usable item.

    Source: Gantner, Drumond, Freudenthaler, Rendle and Schmidt-Thieme, "Learning attribute-to-feature mappings for
    cold-start recommendations", ICDM 2010 (there on BPR-MF; here on ALS, see :mod:`baselines.content.als`).
    """

    Settings = AttributeMapSettings
    settings: AttributeMapSettings
    capabilities = Capabilities(
        cold_users="ALS half-step from the items shown", cold_items="ridge from text to factors", needs_text=True
    )
    version = "1"
    side = "classic"
    libraries = ("scikit-learn", "scipy", "numpy")
    preload = ("sklearn.feature_extraction.text", "sklearn.linear_model", "scipy.sparse")

    _text: ItemText
    _rows_of: RowsOfRequests
    _item: NDArray[np.int32]
    _user: NDArray[np.int32]
    _learned: _Learned

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Attribute map (iALS, TF-IDF)"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Alternate (a sweep over items and users is an epoch, and a step); sweeps are chosen by the validation number.

        Raises
        ------
        MissingInputError
            When the training items have no text.
        UsageError
            When ``min_df`` leaves no word, or the budget would never end.
        """
        from baselines.content.als import half_step, objective, transposed
        from baselines.content.course import Course

        options = self.settings
        self._read_with(ItemText.learn(training.items, options, model="attribute-map"))
        self._user, self._item = training.user, training.item
        rows, met = self._text.rows(training.items), known(training.sequences, training.item)
        met_by, terms = transposed(met, len(self._item)), self._terms
        user = np.random.default_rng(seed).normal(0, 0.1 / options.factors**0.5, (len(met), options.factors))
        item = half_step(met_by, user, **terms)
        best: list[_Learned] = []

        def ask() -> float:
            self._learned = self._map(rows, met, user, item, seed)
            return validate(self)

        course = Course(budget, validate=ask, keep=lambda: best.append(self._learned), progress=progress)
        for sweep in count(1):
            user = half_step(met, item, **terms)
            if not course.goes_on(sweep, sweep, objective(met, user, item, **terms) / len(met.values)):
                break
            item = half_step(met_by, user, **terms)
        self._learned = best[-1]
        learned = user.size + item.size + rows.shape[1] * options.factors + options.factors
        return FitReport(parameters_trained=learned, parameters_total=learned, **course.report_fields())

    @property
    def _terms(self) -> dict[str, float]:
        return {"unobserved": self.settings.unobserved, "ridge": self.settings.ridge}

    def _read_with(self, text: ItemText) -> None:
        self._text, self._rows_of = text, RowsOfRequests(text)

    def _map(self, rows: csr_array, met: Ragged, user: Floats, item: Floats, seed: int) -> _Learned:
        """Learn the map, and if wanted put its factors in the place of the trained ones."""
        from baselines.content.als import half_step
        from baselines.content.mapping import learn_mapping

        worded = np.diff(rows.indptr) > 0
        rng = np.random.default_rng(seed)
        mapping = learn_mapping(rows[worded], item[worded], ridge=self.settings.text_ridge, rng=rng)
        if self.settings.map_warm:
            item = np.where(worded[:, None], mapping(rows), item)
            user = half_step(met, item, **self._terms)
        return _Learned(user, item, mapping)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Inner products, shape (requests, candidates): about 1 for what is like the items met, 0 for the others."""
        codes, item = self._vectors(requests.text)
        user = self._users(requests, codes, item)
        return (user @ item[positions(codes, requests.catalogue.items)].T).astype(np.float32)

    def _vectors(self, text: pl.DataFrame) -> tuple[NDArray[np.int32], Floats]:
        """Codes, increasing, and vectors of a request set's items; NaN for a cold item without a known word."""
        codes, rows = self._rows_of(text)
        vectors = self._learned.mapping(rows)
        vectors[np.diff(rows.indptr) == 0] = np.nan
        trained = positions(self._item, codes)
        vectors[trained >= 0] = self._learned.item[trained[trained >= 0]]
        return codes, vectors

    def _users(self, requests: Requests, codes: NDArray[np.int32], item: Floats) -> Floats:
        """Vectors of the requests' users; NaN where nothing is known of them."""
        from baselines.content.als import half_step

        if requests.history is None:
            row = positions(self._user, requests.user)
            return np.where((row >= 0)[:, None], self._learned.user[np.maximum(row, 0)], np.nan)
        usable = codes[~np.isnan(item[:, 0])]
        recent = known(requests.history.last(self.settings.history_items), usable)
        solved = half_step(
            recent,
            item[positions(codes, usable)],
            weight=recency(recent, self.settings.half_life_items),
            catalogue=self._learned.item,
            **self._terms,
        )
        solved[recent.lengths == 0] = np.nan
        return solved

    def save(self, folder: Path) -> None:
        """Write the vocabulary, its weights, and ``factors.npz``."""
        self._text.save(folder)
        learned = self._learned
        np.savez(
            folder / "factors.npz",
            user=self._user,
            item=self._item,
            of_user=learned.user,
            of_item=learned.item,
            weight=learned.mapping.weight,
            intercept=learned.mapping.intercept,
        )

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        from baselines.content.mapping import Mapping

        model = cls(settings, device=device)
        model._read_with(ItemText.load(folder, model.settings))
        with np.load(folder / "factors.npz", allow_pickle=False) as stored:
            model._user, model._item = stored["user"], stored["item"]
            mapping = Mapping(stored["weight"], stored["intercept"])
            model._learned = _Learned(stored["of_user"], stored["of_item"], mapping)
        return model
