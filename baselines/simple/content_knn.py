"""Content kNN: the classic answer to items that nobody has touched yet."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from baselines.simple.profiles import Profiler, ProfileTextSettings, blank_unknown
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate

__all__ = ["ContentKNN", "ContentKNNSettings"]


class ContentKNNSettings(ProfileTextSettings):
    """Settings of :class:`ContentKNN`: how text is read, and which items of a history count.

    The defaults are plain TF-IDF; the half-life is the one of 0.5, 1, 2, 4, 8 and none that did best overall on the
    validation parts of MovieLens-100K (cold start) and Amazon Beauty (leave-one-out). On cold start, word bigrams are
    worth having on MovieLens (mean NDCG@10 over quadrants .067 against .062), and sublinear counts of titles read twice
    on Beauty (.056 against .053); each costs the other data set something, so both are left to tuning. What helped
    nowhere: categories as a field of their own, and raising the similarities of single items to a power.
    """


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

    _profiler: Profiler

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
        self._profiler = Profiler.learn(training, self.settings, model="content-knn")
        words = self._profiler.rows.shape[1]
        return FitReport(parameters_trained=words, parameters_total=words)

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Cosines in [0, 1], shape (requests, candidates)."""
        profile, candidates = self._profiler.read(requests)
        return blank_unknown((profile @ candidates.T).toarray(), profile, candidates)

    def save(self, folder: Path) -> None:
        """Write the vocabulary, its weights and the training users' last items."""
        self._profiler.save(folder)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        model = cls(settings, device=device)
        model._profiler = Profiler.load(folder, model.settings)
        return model
