"""A general RecBole model as a recommender: a subclass names the model and its settings."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from baselines.recbole.fence import fence
from bench.models import Budget, FitReport, Progress, Ragged, Recommender, Requests, Settings, Training, Validate

if TYPE_CHECKING:
    from baselines.recbole.engine import Engine, Pairs

__all__ = ["RecBoleModel"]


class RecBoleModel(Recommender):
    """A model of RecBole 1.2.1 that scores users with what it learnt about them.

    Settings carry RecBole's names and are handed over as they are. RecBole is given the training interactions only,
    so that what it has not seen it does not know: such items are NaN, not whatever an untrained vector says. A user it
    does not know is served from the history shown where the subclass says how (:meth:`_from_history`), and a row
    of NaN otherwise.

    Attributes
    ----------
    recbole_name : str
        RecBole's name of the model.
    reads_history : bool
        Whether a sequential request is answered from the history shown for known users too.
    """

    side = "classic"
    libraries = ("recbole", "torch", "numpy", "scipy")
    preload = ("recbole.config", "recbole.data.utils", "recbole.trainer", "recbole.model.general_recommender")
    recbole_name: ClassVar[str]
    reads_history: ClassVar[bool] = False

    _engine: Engine
    _pairs: Pairs
    _seed: int

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return f"{cls.recbole_name} (RecBole)"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config."""
        return self.settings.model_dump()

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Build RecBole's model and, unless it is one in closed form, run RecBole's trainer on it."""
        self._build(training.user, training.sequences, seed)
        if self._engine.in_closed_form:
            weights = self._closed_form_weights()
            return FitReport(parameters_trained=weights, parameters_total=weights)
        with fence():
            return self._engine.train(lambda: validate(self), budget, progress)

    def _build(self, user: NDArray[np.int32], items: Ragged, seed: int) -> None:
        with fence():
            from baselines.recbole.engine import Engine, Pairs

            self._seed, self._pairs = seed, Pairs(user, items)
            self._engine = Engine(self.recbole_name, self._pairs, self.parameters(), seed=seed, device=self.device)

    def _closed_form_weights(self) -> int:
        """How many numbers a model in closed form computed from the training data."""
        return self._engine.parameters

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Scores of RecBole's model, shape (requests, candidates)."""
        user = self._engine.users.of(requests.user)
        item = self._engine.items.of(requests.catalogue.items)
        scores = np.full((len(user), len(item)), np.nan, np.float32)
        trained, shown = user > 0, np.zeros(len(user), bool)
        if requests.history is not None and self.capabilities.cold_users is not None:
            ids = self._engine.items.of(requests.history.values)
            history = Ragged(requests.history.offsets, ids.astype(np.int32)).keep(ids > 0)
            shown = (history.lengths > 0) & (self.reads_history | ~trained)
            self._fill(scores, shown, item, lambda rows: self._from_history(history.take(rows)))
        if requests.history is None or not self.reads_history:
            self._fill(scores, trained, item, lambda rows: self._from_user(user[rows]))
        return scores

    @staticmethod
    def _fill(scores: NDArray[np.float32], mask: NDArray[np.bool_], item: NDArray[np.int64], answer: Any) -> None:
        """Write the answer for the rows in ``mask`` into the columns of the items RecBole knows."""
        rows = np.flatnonzero(mask)
        if len(rows):
            scores[np.ix_(rows, item > 0)] = answer(rows)[:, item[item > 0]]

    def _from_user(self, user: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score every item for known users, shape (users, RecBole's item ids)."""
        return self._engine.scores(user)

    @abstractmethod
    def _from_history(self, history: Ragged) -> NDArray[np.float32]:
        """Score every item from non-empty histories of RecBole's item ids, shape (histories, RecBole's item ids)."""

    def save(self, folder: Path) -> None:
        """Write the training pairs, from which RecBole rebuilds its data and closed forms, and the weights."""
        pairs = self._pairs
        np.savez_compressed(
            folder / "training.npz",
            user=pairs.user,
            offsets=pairs.items.offsets,
            values=pairs.items.values,
            seed=np.int64(self._seed),
        )
        np.savez(folder / "weights.npz", **self._engine.state())

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote; a closed form is computed again."""
        model = cls(settings, device=device)
        with np.load(folder / "training.npz", allow_pickle=False) as stored:
            model._build(stored["user"], Ragged(stored["offsets"], stored["values"]), int(stored["seed"]))
        with np.load(folder / "weights.npz", allow_pickle=False) as stored:
            model._engine.restore(dict(stored))
        return model
