"""The contract between the harness and a recommender.

A model sees :class:`Training` once and :class:`Requests` as often as it is asked; it never sees an answer, and it
computes no metric. Item and user codes are opaque integers: nothing may be read from their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bench.data.ragged import Ragged
from bench.errors import ModelError
from bench.splits.training import Training
from bench.tasks.requests import Catalogue, RankedLists, Requests, TaskName

__all__ = [
    "Budget",
    "Capabilities",
    "Catalogue",
    "FitReport",
    "Progress",
    "RankedLists",
    "Recommender",
    "Requests",
    "Settings",
    "Training",
    "Validate",
]


class Settings(BaseModel):
    """Base of every model's settings: frozen, unknown keys refused.

    Attributes
    ----------
    asking : frozenset of str
        Names of fields that change how a *fitted* model answers and nothing that it learns (a prompt, a width of
        search). Fitting, validation included, happens with these at their defaults, so entries of a suite that differ
        only here share one fit, and each is a row of the table.
    asking_of : mapping of str to frozenset of str
        Of those that change the answers to some tasks alone: the tasks. Entries that differ elsewhere share their
        predictions of a task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asking: ClassVar[frozenset[str]] = frozenset()
    asking_of: ClassVar[Mapping[str, frozenset[str]]] = {}

    def fitting(self) -> Self:
        """The same with all that only asks at its default: what the model is fitted with."""
        return self._defaulting(self.asking)

    def putting(self, task: str) -> Self:
        """The same with all that cannot change the answers to a task at its default."""
        return self._defaulting(name for name, tasks in self.asking_of.items() if task not in tasks)

    def _defaulting(self, names: Iterable[str]) -> Self:
        defaults = {
            name: type(self).model_fields[name].get_default(call_default_factory=True, validated_data={})
            for name in names
        }
        return self.model_copy(update=defaults) if defaults else self


AnySettings = Settings
"""The same under a name that the class attribute ``Recommender.Settings`` does not hide."""


@dataclass(frozen=True)
class Capabilities:
    """What a model declares about itself.

    Attributes
    ----------
    tasks : frozenset of str
    cold_users, cold_items : str or None
        How users or items never seen in training are served (``"natively"``, or the name of a fold-in);
        ``None`` when they are not.
    needs_text : bool
        Whether the model is useless without item text (titles).
    answers_with : str
        ``"scores"`` (``score`` is called) or ``"lists"`` (``rank`` is called).
    draws : bool
        Of a model that lists: whether ``rank`` keeps to ``Requests.candidates`` where only a draw is ranked. Scores
        of the whole catalogue serve for a draw too.
    fresh_draws : bool
        Of a reproduction alone: the stored draws are replaced by new ones, as its original does.
    """

    tasks: frozenset[TaskName] = frozenset({"sequential", "direct"})
    cold_users: str | None = None
    cold_items: str | None = None
    needs_text: bool = False
    answers_with: Literal["scores", "lists"] = "scores"
    draws: bool = False
    fresh_draws: bool = False


class Budget(BaseModel):
    """How long a model may train: optimiser steps or epochs with early stopping, never wall-clock alone.

    ``patience`` counts evaluations without a better validation number; 0 switches selection off (last step kept).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_steps: int | None = None
    max_epochs: int | None = None
    eval_every_steps: int | None = None
    eval_every_epochs: int | None = None
    patience: int = 5
    time_cap_s: float | None = None

    def must_end(self) -> None:
        """Refuse a budget under which training would go on for ever.

        Raises
        ------
        ModelError
        """
        if self.max_steps is None and self.max_epochs is None and self.patience == 0:
            raise ModelError("the budget never ends: give max_steps, max_epochs or a patience above 0")

    def due(self, step: int, epoch: float) -> bool:
        """Whether to evaluate now: as the budget says, each epoch if it says nothing, and always at its end.

        Parameters
        ----------
        step : int
            Optimiser steps taken.
        epoch : float
            Passes over the training data made.
        """
        if step == self.max_steps or (self.eval_every_steps is not None and step % self.eval_every_steps == 0):
            return True
        if not float(epoch).is_integer():
            return False
        every = self.eval_every_epochs or (1 if self.eval_every_steps is None else None)
        return epoch == self.max_epochs or (every is not None and epoch % every == 0)


@dataclass(frozen=True)
class FitReport:
    """What came of a fit.

    Attributes
    ----------
    parameters_trained, parameters_total : int
    steps : int
        Optimiser steps taken (0 for models without an optimiser).
    epochs : float
        Passes over the training data.
    best_step : int
        Step of the kept weights.
    stopped : str
        ``"closed form"``, ``"early stopping"``, ``"budget"`` or ``"time cap"``.
    converged : bool
        False when the best checkpoint is among the last ``patience`` evaluations, or a cap fired.
    curve : tuple of dict
        Rows with ``step``, ``epoch``, ``loss`` and ``validation``.
    notes : mapping
        Anything else worth keeping (tokens read, artefact digests...), JSON-serialisable.
    """

    parameters_trained: int = 0
    parameters_total: int = 0
    steps: int = 0
    epochs: float = 0.0
    best_step: int = 0
    stopped: str = "closed form"
    converged: bool = True
    curve: tuple[Mapping[str, float], ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """Where a model reports how far it is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report ``done`` of ``total`` units; ``note`` may carry the loss."""


class Validate(Protocol):
    """The validation number of a fitted (or half-fitted) model: higher is better, the same scorer for all."""

    def __call__(self, model: Recommender, /) -> float:
        """Score ``model`` on the validation requests."""


class Recommender(ABC):
    """A model the harness can fit and question.

    Subclasses set the class attributes, implement :meth:`fit`, :meth:`save`, :meth:`load`, and what their tasks ask:
    :meth:`score` or :meth:`rank`, :meth:`rate`, :meth:`write`. The module must import quickly: heavy packages (torch,
    transformers, recbole) are imported inside methods.
    """

    Settings: ClassVar[type[AnySettings]] = Settings
    capabilities: ClassVar[Capabilities] = Capabilities()
    version: ClassVar[str]
    """Raised whenever the same input would give other numbers; part of every key."""
    side: ClassVar[Literal["floor", "classic", "llm"]]
    """Which side of the comparison it stands on: floors are never a table's reference."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions that compute its numbers; their versions are part of every key."""
    preload: ClassVar[tuple[str, ...]] = ()
    """Modules worth importing once, before cells are forked."""

    scratch: Path | None = None
    """A folder for what an interrupted fit goes on from (checkpoints). The harness sets it before :meth:`fit`; the next
    run of the same cell (or of the same trial of a tuning) finds it as it was, even after a SIGKILL, and it is removed
    once the outcome is stored."""

    def __init__(self, settings: AnySettings | None = None, *, device: str = "cpu") -> None:
        self.settings = settings if settings is not None else self.Settings()
        self.device = device

    @classmethod
    def capable(cls, settings: AnySettings) -> Capabilities:
        """What a model of these settings can do: :attr:`capabilities`, unless that depends on the settings.

        The harness asks this one. Tasks, cold users and cold items may differ between settings that share a fit.
        """
        return cls.capabilities

    @classmethod
    def expand(cls, settings: AnySettings, tasks: Collection[str]) -> dict[str, AnySettings]:
        """Turn one entry of a suite into several that ask the same fitted model differently.

        Parameters
        ----------
        settings : Settings
            As the suite has them; a value may stand for several (``prompt: each``).
        tasks : collection of str
            Of the suite.

        Returns
        -------
        dict of str to Settings
            What the name of the entry gains, after a space, to the settings of that variant: they differ in
            ``Settings.asking`` alone. ``{"": settings}`` for an entry that stands for itself. Variants are put to the
            test alone (those of a classic model, which may be a table's reference, to validation too).
        """
        return {"": settings}

    @classmethod
    def label(cls, settings: AnySettings) -> str:
        """The name a table prints: says what was run ("T5-scratch 4 M"), never only a family name."""
        return cls.__name__

    @classmethod
    def identity(cls, settings: AnySettings) -> dict[str, str]:
        """Digests of what the model brings along (backbone weights, tokenizer, prompts); part of every key.

        Raises
        ------
        MissingInputError
            When something it needs is not to be had.
        """
        return {}

    @abstractmethod
    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Learn from ``training``; a second call forgets the first."""

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Score every candidate of every request.

        Returns
        -------
        ndarray of float32, shape (requests, candidates)
            Higher is better. NaN where the model cannot score an item (one it has never seen); a row of NaN where it
            cannot serve the request. Nothing else may be non-finite. The harness masks and counts ranks.
        """
        raise TypeError(f"{type(self).__name__} answers with lists, not with scores")

    def rank(self, requests: Requests, k: int, *, exclude: Ragged) -> RankedLists:
        """List the best ``k`` candidates of every request.

        ``exclude`` holds per request the items that may not be listed. It is a mask, not evidence: it must not
        influence the order of the others.
        """
        raise TypeError(f"{type(self).__name__} answers with scores, not with lists")

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Say what the user makes of the item asked about (``Requests.item``), for the tasks of ``LABEL_TASKS``.

        Returns
        -------
        ndarray of float32, shape (requests,)
            The expected rating, or the probability of a click. NaN where the model cannot say; nothing infinite.
        """
        raise TypeError(f"{type(self).__name__} ranks; it neither rates nor predicts clicks")

    def write(self, requests: Requests) -> pl.Series:
        """Write what the user would write about the item asked about, for the tasks of ``TEXT_TASKS``.

        Returns
        -------
        polars.Series of String, shape (requests,)
            Null where the model cannot say anything; it counts as an empty text, and shows as coverage.
        """
        raise TypeError(f"{type(self).__name__} writes no texts")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted model into an existing, empty folder (no pickle)."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, settings: AnySettings, *, device: str = "cpu") -> Self:
        """Read a model written by :meth:`save`; it answers exactly as the one that was saved."""
