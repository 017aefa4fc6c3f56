"""Means: what a rating, or the chance of a click, comes to before anyone's taste is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.lookup import positions
from bench.errors import MissingInputError
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate

__all__ = ["Means"]


class MeansSettings(Settings):
    """Settings of :class:`Means`.

    Attributes
    ----------
    of : str
        ``"all"`` (the mean label), ``"majority"`` (the most frequent label, the smallest of equals), ``"users"``,
        ``"items"``, or ``"both"`` (the mean plus a deviation of the user and one of the item).
    shrinkage : float
        How many labels at the mean are added to those of each user and item; deviations of few are thereby small.
    """

    of: Literal["all", "majority", "users", "items", "both"] = "both"
    shrinkage: float = Field(5.0, ge=0)


class Means(Recommender):
    r"""Predict a label by means of the training labels (stars, or 1 for a click and 0 for none).

    With :math:`\mu` the mean of all labels and :math:`\lambda` the shrinkage, deviations of items and then of users
    are taken one after the other (Koren 2010, "Factor in the neighbors", section 2.1):

    .. math:: b_i = \frac{\sum_u (r_{ui} - \mu)}{\lambda + n_i}, \qquad
              b_u = \frac{\sum_i (r_{ui} - \mu - b_i)}{\lambda + n_u}.

    The prediction is :math:`\mu + b_i + b_u`, kept within the range of the labels; what was never met deviates by 0.
    The text of a review that is shown (``preference``) is not looked at.
    """

    Settings = MeansSettings
    settings: MeansSettings
    capabilities = Capabilities(
        tasks=frozenset({"rating", "click", "preference"}), cold_users="the mean", cold_items="the mean"
    )
    version = "1"
    side = "floor"
    libraries = ("numpy",)

    _mean: float
    _range: tuple[float, float]
    _users: NDArray[np.int32]
    _of_user: NDArray[np.float64]
    _items: NDArray[np.int32]
    _of_item: NDArray[np.float64]

    @classmethod
    def label(cls, settings: MeansSettings) -> str:  # type: ignore[override]
        """The name a table prints."""
        return {
            "all": "Mean label",
            "majority": "Majority label",
            "users": "User means",
            "items": "Item means",
            "both": "User and item means",
        }[settings.of]

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Average.

        Raises
        ------
        MissingInputError
            When nothing in training carries a label.
        """
        user, item, label = _labelled(training)
        settings = self.settings
        self._range = (float(label.min()), float(label.max()))
        self._mean = float(label.mean())
        if settings.of == "majority":
            values, counts = np.unique(label, return_counts=True)
            self._mean = float(values[counts.argmax()])
        rest = label - self._mean
        self._items, self._of_item = np.empty(0, np.int32), np.empty(0)
        self._users, self._of_user = self._items, self._of_item
        if settings.of in ("items", "both"):
            self._items, self._of_item, rest = _deviations(item, rest, settings.shrinkage)
        if settings.of in ("users", "both"):
            self._users, self._of_user, rest = _deviations(user, rest, settings.shrinkage)
        learned = 1 + len(self._users) + len(self._items)
        return FitReport(parameters_trained=learned, parameters_total=learned)

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """The mean with its deviations."""
        assert requests.item is not None
        found = self._mean + _look_up(self._items, self._of_item, requests.item)
        found = found + _look_up(self._users, self._of_user, requests.user)
        return np.clip(found, *self._range).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``means.npz``."""
        np.savez(
            folder / "means.npz",
            mean=self._mean,
            range=self._range,
            users=self._users,
            of_user=self._of_user,
            items=self._items,
            of_item=self._of_item,
        )

    @classmethod
    def load(cls, folder: Path, settings: MeansSettings, *, device: str = "cpu") -> Self:  # type: ignore[override]
        """Read ``means.npz``."""
        model = cls(settings, device=device)
        with np.load(folder / "means.npz", allow_pickle=False) as stored:
            model._mean, model._range = float(stored["mean"]), tuple(stored["range"].tolist())
            model._users, model._of_user = stored["users"], stored["of_user"]
            model._items, model._of_item = stored["items"], stored["of_item"]
        return model


def _labelled(training: Training) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """User, item and label of everything that carries one."""
    if training.pairs is not None:
        pairs = training.pairs
        return pairs.user, pairs.item, pairs.label.astype(np.float64)
    if training.rating is None:
        raise MissingInputError(
            "means need labels, and no training event has a rating: choose a dataset with ratings, or a protocol that "
            "declares negatives (temporal, clicks: {negatives: 4})"
        )
    user = training.user[training.sequences.row_of]
    return user, training.sequences.values, training.rating.astype(np.float64)


def _deviations(
    code: NDArray[np.int32], rest: NDArray[np.float64], shrinkage: float
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Codes, their shrunken mean of ``rest``, and what they leave of it."""
    known, place, counts = np.unique(code, return_inverse=True, return_counts=True)
    deviation = np.bincount(place, weights=rest) / (shrinkage + counts)
    return known, deviation, rest - deviation[place]


def _look_up(
    known: NDArray[np.int32], deviation: NDArray[np.float64], wanted: NDArray[np.int32]
) -> NDArray[np.float64]:
    if not len(known):
        return np.zeros(len(wanted))
    place = positions(known, wanted)
    return np.where(place >= 0, deviation[np.maximum(place, 0)], 0.0)
