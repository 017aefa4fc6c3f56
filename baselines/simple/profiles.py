"""What users like, told by the text of the items they met last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.lookup import known, positions
from baselines.simple.text import ItemText, RowsOfRequests, TextSettings
from bench.models import Ragged, Requests, Settings, Training

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["ProfileSettings", "ProfileTextSettings", "Profiler", "blank_unknown", "profiles", "recency"]


class ProfileSettings(Settings):
    """Which items of a history count, and how much.

    Attributes
    ----------
    history_items : int
        How many of the latest items are looked at.
    half_life_items : float or None
        An item this many positions before the latest counts half as much; ``None``: all count the same.
    """

    history_items: int = Field(20, ge=1)
    half_life_items: float | None = Field(2.0, gt=0)


class ProfileTextSettings(TextSettings, ProfileSettings):
    """How text is read, and which items of a history count."""


class Profiler:
    """Turns requests into TF-IDF rows of their users and of their candidates.

    A sequential request is told by the history shown, a direct one by the user's training items.

    Attributes
    ----------
    rows : csr_array of float32, shape (training items, words)
    """

    def __init__(
        self, options: ProfileTextSettings, text: ItemText, user: NDArray[np.int32], recent: Ragged, rows: csr_array
    ) -> None:
        self.rows = rows
        self._options, self._text, self._user, self._recent = options, text, user, recent
        self._rows_of = RowsOfRequests(text)

    @classmethod
    def learn(cls, training: Training, options: ProfileTextSettings, *, model: str) -> Self:
        """Learn words from the training items and remember the training users' last items; errors name ``model``.

        Raises
        ------
        MissingInputError, UsageError
            As :meth:`ItemText.learn`.
        """
        text = ItemText.learn(training.items, options, model=model)
        recent = known(training.sequences.last(options.history_items), training.item)
        return cls(options, text, training.user, recent, text.rows(training.items))

    def read(self, requests: Requests) -> tuple[csr_array, csr_array]:
        """Rows of users and candidates, shapes (requests, words) and (candidates, words), of length 1 or empty."""
        options = self._options
        codes, rows = self._rows_of(requests.text)
        candidates = rows[positions(codes, requests.catalogue.items)]
        if requests.history is None:
            row = positions(self._user, requests.user)
            recent = self._recent.take(np.maximum(row, 0))
            recent, rows = recent.keep((row >= 0)[recent.row_of]), self.rows
        else:
            recent = known(requests.history.last(options.history_items), codes)
        return profiles(recent, rows, options.half_life_items), candidates

    def save(self, folder: Path) -> None:
        """Write the vocabulary, its weights, the training rows and the training users' last items."""
        from scipy.sparse import save_npz

        self._text.save(folder)
        save_npz(folder / "items.npz", self.rows)
        np.savez(folder / "users.npz", user=self._user, offsets=self._recent.offsets, values=self._recent.values)

    @classmethod
    def load(cls, folder: Path, options: ProfileTextSettings) -> Self:
        """Read what :meth:`save` wrote."""
        from scipy.sparse import load_npz

        with np.load(folder / "users.npz", allow_pickle=False) as stored:
            user, recent = stored["user"], Ragged(stored["offsets"], stored["values"])
        return cls(options, ItemText.load(folder, options), user, recent, load_npz(folder / "items.npz"))


def recency(recent: Ragged, half_life_items: float | None) -> NDArray[np.float32]:
    """Weight of each value of ``recent`` (oldest first), shape (values,); the latest of a row weighs 1."""
    if half_life_items is None:
        return np.ones(len(recent.values), np.float32)
    age = np.repeat(recent.offsets[1:], recent.lengths) - 1 - np.arange(len(recent.values))
    return (0.5 ** (age / half_life_items)).astype(np.float32)


def profiles(recent: Ragged, rows: csr_array, half_life_items: float | None) -> csr_array:
    """L2-normalised weighted means of rows, float32, shape (len(recent), columns); empty where ``recent`` is empty.

    Parameters
    ----------
    recent : Ragged
        Positions in ``rows``, oldest first.
    """
    from scipy.sparse import csr_array

    weight = recency(recent, half_life_items)
    chooser = csr_array((weight, recent.values, recent.offsets), shape=(len(recent), rows.shape[0]))
    profile = csr_array(chooser @ rows)
    norm = np.sqrt(profile.multiply(profile).sum(axis=1))
    profile.data /= np.repeat(norm, np.diff(profile.indptr))
    return profile


def blank_unknown(scores: NDArray[np.float32], profile: csr_array, candidates: csr_array) -> NDArray[np.float32]:
    """Put NaN, in place, where the user or the item has no known word."""
    scores[:, np.diff(candidates.indptr) == 0] = np.nan
    scores[np.diff(profile.indptr) == 0] = np.nan
    return scores
