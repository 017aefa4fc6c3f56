"""Two linear towers over TF-IDF, trained contrastively: content matching that learns which words go together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.content.settings import LearnedTextSettings
from baselines.lookup import known
from baselines.simple.profiles import Profiler, blank_unknown
from bench.errors import MissingInputError
from bench.models import Budget, Capabilities, FitReport, Progress, Recommender, Requests, Settings, Training, Validate

if TYPE_CHECKING:
    from baselines.content.towers import Towers

__all__ = ["TwoTowers", "TwoTowersSettings"]


class TwoTowersSettings(LearnedTextSettings):
    """Settings of :class:`TwoTowers`, beside how text is read and which items of a history count.

    Words that a single training item has stay in by default: they let the towers learn that item by itself, which on
    MovieLens-100K is worth more among warm items than all other words together.

    Attributes
    ----------
    dimensions : int
        Of the space that both sides are projected to.
    temperature : float
        The softmax's at the start; it is learned.
    batch_pairs : int
        Pairs a step, about; their items are each other's negatives.
    learning_rate : float
    word_dropout : float
        Share of the words that the projections do not see in a step.
    """

    dimensions: int = Field(64, ge=1)
    temperature: float = Field(0.1, gt=0)
    batch_pairs: int = Field(1024, ge=2)
    learning_rate: float = Field(0.001, gt=0)
    word_dropout: float = Field(0.5, ge=0, lt=1)


class TwoTowers(Recommender):
    """Score an item by its projected text against the projected texts of the items a user met last.

    The score is that of :mod:`baselines.content.towers`: the cosine of the TF-IDF rows, plus what two linear maps,
    trained to tell the next item from the other items of a batch, make of them. Users and items have no weights of
    their own, so that newcomers among both are served as all others are. Vocabulary and document frequencies come from
    training items only. A sequential request is answered from the history shown, a direct one from the user's training
    items. An item without a word known from training is NaN, and so is a request without a usable item in its history.
    """

    Settings = TwoTowersSettings
    settings: TwoTowersSettings
    capabilities = Capabilities(cold_users="natively", cold_items="natively", needs_text=True)
    version = "1"
    side = "classic"
    libraries = ("torch", "scikit-learn", "scipy", "numpy")
    preload = ("torch", "sklearn.feature_extraction.text", "scipy.sparse")

    _profiler: Profiler
    _weights: dict[str, NDArray[np.float32]]
    """``user`` and ``item``, shape (words, dimensions), ``bias``, shape (words, 1), and ``log_scale``, shape ()."""

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return "Two towers (TF-IDF)"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Train with Adam; weights are chosen by the validation number.

        Raises
        ------
        MissingInputError
            When the training items have no text, or no user has met two items that have some.
        UsageError
            When ``min_df`` leaves no word, or the budget would never end.
        """
        import torch

        from baselines.content.towers import Pairs, Towers, train

        options = self.settings
        self._profiler = Profiler.learn(training, options, model="two-towers")
        rows = self._profiler.rows
        pairs = Pairs.of(known(training.sequences, training.item), np.diff(rows.indptr) > 0)
        if not len(pairs):
            raise MissingInputError("two-towers learns from pairs of items with text, and no training user met two")
        generator = torch.Generator().manual_seed(seed)
        towers = Towers(rows.shape[1], options.dimensions, options.temperature, generator).to(self.device)

        def ask() -> float:
            self._take(towers)
            return validate(self)

        course = train(
            towers,
            rows,
            pairs,
            history_items=options.history_items,
            half_life_items=options.half_life_items,
            batch_pairs=options.batch_pairs,
            learning_rate=options.learning_rate,
            word_dropout=options.word_dropout,
            validate=ask,
            budget=budget,
            rng=np.random.default_rng(seed),
            progress=progress,
        )
        self._take(towers)
        weights = sum(weight.size for weight in self._weights.values())
        return FitReport(parameters_trained=weights, parameters_total=weights, **course)

    def _take(self, towers: Towers) -> None:
        self._weights = {name: weight.detach().cpu().numpy() for name, weight in towers.state_dict().items()}

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Logits of the softmax, shape (requests, candidates)."""
        profile, candidates = self._profiler.read(requests)
        weights = self._weights
        scores = (profile @ candidates.T).toarray()
        scores += (profile @ weights["user"]) @ (candidates @ weights["item"]).T
        scores *= np.exp(weights["log_scale"])
        scores += (candidates @ weights["bias"]).T
        return blank_unknown(scores, profile, candidates)

    def save(self, folder: Path) -> None:
        """Write what the profiles need, and the weights."""
        self._profiler.save(folder)
        np.savez(folder / "weights.npz", **self._weights)

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        model = cls(settings, device=device)
        model._profiler = Profiler.load(folder, model.settings)
        with np.load(folder / "weights.npz", allow_pickle=False) as stored:
            model._weights = dict(stored)
        return model
