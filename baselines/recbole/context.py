"""A click model of RecBole as a recommender: a subclass names the model and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.lookup import known, positions
from baselines.recbole.features import ItemTable, Vocabulary
from baselines.recbole.fence import fence
from bench.errors import MissingInputError, ModelError
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
    from baselines.recbole.context_engine import ContextEngine

__all__ = ["ContextModel", "ContextSettings"]


class ContextSettings(Settings):
    """Settings of every :class:`ContextModel`; RecBole's names where it has them.

    Length of the vectors and batch size are RecBole's; the rest was chosen on the validation clicks of MovieLens-100K.

    Attributes
    ----------
    embedding_size : int
        Length of the vector of a user, an item, a category.
    learning_rate : float
    train_batch_size : int
        Labelled pairs in a batch.
    weight_decay : float
        L2 penalty added to the gradients.
    unknown : float
        Share of the training pairs whose user is hidden behind id 0, and, drawn apart, of those whose item is (it keeps
        its categories): what the model then learns of id 0 is what it knows of newcomers.
    """

    embedding_size: int = Field(10, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    train_batch_size: int = Field(2048, ge=1)
    weight_decay: float = Field(1e-5, ge=0)
    unknown: float = Field(0.2, gt=0, lt=1)


class ContextModel(Recommender):
    """A model of RecBole 1.2.1 that turns features of a user and an item into the probability of a click.

    Features are the user, the item, and the item's categories where the data has them. RecBole learns from the
    labelled training pairs alone and draws no negatives of its own. Users and items never met share RecBole's id 0,
    which RecBole would leave untrained; here training puts it in the place of some known ones (after Volkovs, Yu and
    Poutanen, "DropoutNet", NeurIPS 2017), and a new item still has its categories.

    Attributes
    ----------
    recbole_name : str
        RecBole's name of the model.
    """

    Settings: ClassVar[type[Settings]] = ContextSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"click"}), cold_users="a learnt unknown user", cold_items="a learnt unknown item"
    )
    side: ClassVar[Literal["classic"]] = "classic"
    libraries: ClassVar[tuple[str, ...]] = ("recbole", "torch", "numpy")
    preload: ClassVar[tuple[str, ...]] = ("recbole.config", "recbole.trainer", "recbole.model.layers")
    recbole_name: ClassVar[str]

    settings: ContextSettings
    _vocabulary: Vocabulary
    _engine: ContextEngine
    _seed: int

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints."""
        return f"{cls.recbole_name} (RecBole)"

    @property
    def history_length(self) -> int:
        """How many items of a history are read, the latest ones."""
        return 0

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config, which knows lists but no tuples."""
        return self.settings.model_dump(mode="json", exclude={"max_length", "unknown"})

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Build RecBole's model and run RecBole's trainer on the labelled pairs.

        Raises
        ------
        MissingInputError
            When training has no clicks and non-clicks.
        """
        pairs = training.pairs
        if pairs is None or pairs.kind != "click":
            raise MissingInputError(
                f"{self.recbole_name} learns from clicks and non-clicks, and this protocol makes none: choose one with "
                "clicks (temporal, clicks: {at_least: 4} or {negatives: 4})"
            )
        if not len(pairs):
            raise ModelError(f"{self.recbole_name} has no labelled pair to learn from")
        self._build(Vocabulary.of(training), seed)
        vocabulary = self._vocabulary
        with fence():
            return self._engine.train(
                positions(vocabulary.users, pairs.user) + 1,
                positions(vocabulary.items, pairs.item) + 1,
                self._read(pairs.history),
                pairs.label,
                unknown=self.settings.unknown,
                validate=lambda: validate(self),
                budget=budget,
                progress=progress,
            )

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Probability of a click."""
        assert requests.item is not None
        vocabulary = self._vocabulary
        met = positions(vocabulary.items, requests.item)
        new, place = np.unique(requests.item[met < 0], return_inverse=True)
        items = vocabulary.table.extended(vocabulary.category_ids(new, requests.text))
        rows = met + 1
        rows[met < 0] = len(vocabulary.table) + place
        history = Ragged.empty(len(requests)) if requests.history is None else requests.history
        user = positions(vocabulary.users, requests.user) + 1
        return self._engine.probabilities(user, rows, self._read(history), items)

    def _read(self, history: Ragged) -> Ragged:
        """The part of each history that the model reads, in RecBole's ids."""
        read = known(history, self._vocabulary.items).last(self.history_length)
        return Ragged(read.offsets, read.values + 1)

    def _build(self, vocabulary: Vocabulary, seed: int) -> None:
        with fence():
            from baselines.recbole.context_engine import ContextEngine

            self._seed, self._vocabulary = seed, vocabulary
            self._engine = ContextEngine(
                self.recbole_name,
                vocabulary,
                self.parameters(),
                history_length=self.history_length,
                seed=seed,
                device=self.device,
            )

    def save(self, folder: Path) -> None:
        """Write what ids stand for, and the weights."""
        table = self._vocabulary.table
        np.savez_compressed(
            folder / "vocabulary.npz",
            users=self._vocabulary.users,
            items=self._vocabulary.items,
            categories=self._vocabulary.categories,
            offsets=table.categories.offsets,
            values=table.categories.values,
            seed=np.int64(self._seed),
        )
        np.savez(folder / "weights.npz", **self._engine.state())

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        model = cls(settings, device=device)
        with np.load(folder / "vocabulary.npz", allow_pickle=False) as stored:
            items = stored["items"]
            table = ItemTable(np.arange(len(items) + 1), Ragged(stored["offsets"], stored["values"]))
            vocabulary = Vocabulary(stored["users"], items, stored["categories"], table)
            model._build(vocabulary, int(stored["seed"]))
        with np.load(folder / "weights.npz", allow_pickle=False) as stored:
            model._engine.restore(dict(stored))
        return model
