"""Content kNN: the classic answer to items that nobody has touched yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from baselines.lookup import known, positions
from bench.errors import MissingInputError, UsageError
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

    from baselines.simple.text import ItemText

__all__ = ["ContentKNN", "ContentKNNSettings"]


class ContentKNNSettings(Settings):
    """Settings of :class:`ContentKNN`.

    The defaults are plain TF-IDF; the half-life is the one of 0.5, 1, 2, 4, 8 and none that did best overall on the
    validation parts of MovieLens-100K (cold start) and Amazon Beauty (leave-one-out). On Beauty titles alone did
    better still, on MovieLens the categories are most of the text there is.

    Attributes
    ----------
    ngram_max : int
        Longest word n-gram.
    min_df : int
        Smallest number of training items an n-gram must occur in.
    history_items : int
        How many of the latest items make the profile.
    half_life_items : float or None
        An item this many positions before the latest counts half as much; ``None``: all count the same.
    use_categories : bool
        Whether category names are read beside titles.
    """

    ngram_max: int = Field(1, ge=1)
    min_df: int = Field(1, ge=1)
    history_items: int = Field(20, ge=1)
    half_life_items: float | None = Field(2.0, gt=0)
    use_categories: bool = True


class ContentKNN(Recommender):
    """Cosine between a candidate's TF-IDF row and the mean row of the items a user met last.

    Vocabulary and document frequencies come from training items only; the text of any other item arrives with the
    requests. A sequential request is answered from the history shown, a direct one from the user's training items.
    An item without a word known from training is NaN, and so is a request without a usable item in its history.
    """

    Settings = ContentKNNSettings
    settings: ContentKNNSettings
    capabilities = Capabilities(cold_users="natively", cold_items="natively", needs_text=True)
    version = "2"
    side = "classic"
    libraries = ("scikit-learn", "scipy", "numpy")
    preload = ("sklearn.feature_extraction.text", "scipy.sparse")

    _text: ItemText
    _user: NDArray[np.int32]
    _recent: Ragged
    """Positions in the training items of each training user's last items."""
    _rows: csr_array
    """TF-IDF rows of the training items."""

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._cached: tuple[pl.DataFrame, NDArray[np.int32], csr_array] | None = None

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Content kNN (TF-IDF)"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Fit TF-IDF on the training items.

        Raises
        ------
        MissingInputError
            When the training items have no text.
        UsageError
            When ``min_df`` leaves no word.
        """
        from baselines.simple.text import ItemText, documents

        options = self.settings
        if not any(text.strip() for text in documents(training.items, options.use_categories)):
            raise MissingInputError(
                "content-knn needs item text, and no training item has a title"
                + (" or a category" if options.use_categories else "")
                + ": supply the item file the dataset's card names, or leave the model out with --models"
            )
        self._text = ItemText(options.ngram_max, options.min_df, options.use_categories)
        try:
            self._text.fit(training.items)
        except ValueError as error:
            raise UsageError(f"content-knn: no word of the item texts is left with min_df={options.min_df}") from error
        self._user = training.user
        self._recent = known(training.sequences.last(options.history_items), training.item)
        self._rows = self._text.rows(training.items)
        self._cached = None
        words = self._rows.shape[1]
        return FitReport(parameters_trained=words, parameters_total=words)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Cosines in [0, 1], shape (requests, candidates)."""
        codes, rows = self._request_rows(requests.text)
        candidates = rows[positions(codes, requests.catalogue.items)]
        if requests.history is None:
            row = positions(self._user, requests.user)
            recent = self._recent.take(np.maximum(row, 0))
            profile = self._profiles(recent.keep((row >= 0)[recent.row_of]), self._rows)
        else:
            profile = self._profiles(known(requests.history.last(self.settings.history_items), codes), rows)
        scores = (profile @ candidates.T).toarray()
        scores[:, np.diff(candidates.indptr) == 0] = np.nan
        scores[np.diff(profile.indptr) == 0] = np.nan
        return scores

    def _request_rows(self, text: pl.DataFrame) -> tuple[NDArray[np.int32], csr_array]:
        """Codes, increasing, and TF-IDF rows of a request set's items; kept while blocks of the set are asked for."""
        if self._cached is None or self._cached[0] is not text:
            ordered = text.sort("item")
            self._cached = (text, ordered["item"].to_numpy(), self._text.rows(ordered))
        return self._cached[1:]

    def _profiles(self, recent: Ragged, rows: csr_array) -> csr_array:
        """L2-normalised weighted means of rows, shape (len(recent), vocabulary); empty where ``recent`` is empty."""
        from scipy.sparse import csr_array

        age = np.repeat(recent.offsets[1:], recent.lengths) - 1 - np.arange(len(recent.values))
        half_life = self.settings.half_life_items
        weight = np.ones(len(age)) if half_life is None else 0.5 ** (age / half_life)
        chooser = csr_array(
            (weight.astype(np.float32), recent.values, recent.offsets), shape=(len(recent), rows.shape[0])
        )
        profile = csr_array(chooser @ rows)
        norm = np.sqrt(profile.multiply(profile).sum(axis=1))
        profile.data /= np.repeat(norm, np.diff(profile.indptr))
        return profile

    def save(self, folder: Path) -> None:
        """Write the vocabulary, its weights and the training users' last items."""
        from scipy.sparse import save_npz

        self._text.save(folder)
        save_npz(folder / "items.npz", self._rows)
        np.savez(folder / "users.npz", user=self._user, offsets=self._recent.offsets, values=self._recent.values)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        from scipy.sparse import load_npz

        from baselines.simple.text import ItemText

        model = cls(settings, device=device)
        options = model.settings
        model._text = ItemText.load(folder, options.ngram_max, options.min_df, options.use_categories)
        model._rows = load_npz(folder / "items.npz")
        with np.load(folder / "users.npz", allow_pickle=False) as stored:
            model._user, model._recent = stored["user"], Ragged(stored["offsets"], stored["values"])
        return model
