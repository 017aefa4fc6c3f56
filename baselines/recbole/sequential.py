"""A sequential RecBole model as a recommender: a subclass names the model and its settings."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from baselines.recbole.fence import fence
from bench.errors import MissingInputError
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
    from baselines.recbole.sequential_engine import SequentialEngine

__all__ = ["SEQUENTIAL", "SequentialModel", "TrainingSettings", "TransformerSettings", "WithCategories"]

SEQUENTIAL: frozenset[Literal["sequential"]] = frozenset({"sequential"})


class TrainingSettings(Settings):
    """What all have in common; names and defaults from RecBole 1.2.1 (``properties/overall.yaml``).

    Attributes
    ----------
    learning_rate : float
    train_batch_size : int
        Histories with their next items in a batch.
    weight_decay : float
    """

    learning_rate: float = Field(1e-3, gt=0)
    train_batch_size: int = Field(2048, ge=1)
    weight_decay: float = Field(0.0, ge=0)


class TransformerSettings(TrainingSettings):
    """Settings of a Transformer over the history; names and defaults from RecBole 1.2.1 (``properties/model/``).

    Attributes
    ----------
    MAX_ITEM_LIST_LENGTH : int
        Items of a history that are read, the last ones.
    n_layers, n_heads : int
    hidden_size, inner_size : int
    hidden_dropout_prob, attn_dropout_prob : float
    hidden_act : str
    layer_norm_eps : float
    initializer_range : float
        Standard deviation of the first weights.
    """

    MAX_ITEM_LIST_LENGTH: int = Field(50, ge=2)
    n_layers: int = Field(2, ge=1)
    n_heads: int = Field(2, ge=1)
    hidden_size: int = Field(64, ge=1)
    inner_size: int = Field(256, ge=1)
    hidden_dropout_prob: float = Field(0.5, ge=0, lt=1)
    attn_dropout_prob: float = Field(0.5, ge=0, lt=1)
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = "gelu"
    layer_norm_eps: float = Field(1e-12, gt=0)
    initializer_range: float = Field(0.02, gt=0)


class SequentialModel(Recommender):
    """A model of RecBole 1.2.1 that says what comes after a history.

    Settings carry RecBole's names and are handed over as they are. It learns from every training item with the items
    before it (RecBole's augmentation) and answers from the history shown, whoever the user is. Items that training did
    not have are NaN, and left out of histories; a history of nothing else is not served.

    Attributes
    ----------
    recbole_name : str
        RecBole's name of the model.
    """

    capabilities = Capabilities(tasks=SEQUENTIAL, cold_users="natively")
    side = "classic"
    libraries = ("recbole", "torch", "numpy")
    preload = ("recbole.config", "recbole.data.dataset", "recbole.trainer", "recbole.model.sequential_recommender")
    recbole_name: ClassVar[str]

    _engine: SequentialEngine
    _categories: Ragged | None = None
    """Of every training item, numbered from 1 on, for models that read them."""

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
        """Build RecBole's network and run RecBole's trainer on it."""
        item = np.unique(training.sequences.values)
        self._categories = self._read_categories(training.items.filter(pl.col("item").is_in(item.tolist())))
        self._build(training.user, item, seed)
        with fence():
            return self._engine.train(training.user, training.sequences, lambda: validate(self), budget, progress)

    def _read_categories(self, items: pl.DataFrame) -> Ragged | None:
        """Categories of the items, for models that read them."""
        return None

    def _build(self, user: NDArray[np.int32], item: NDArray[np.int32], seed: int) -> None:
        with fence():
            from baselines.recbole.sequential_engine import SequentialEngine, Vocabulary

            self._engine = SequentialEngine(
                self.recbole_name,
                Vocabulary(user, item, self._categories),
                self.parameters(),
                seed=seed,
                device=self.device,
            )

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Scores of RecBole's model, shape (requests, candidates)."""
        item = self._engine.items.of(requests.catalogue.items)
        scores = np.full((len(requests), len(item)), np.nan, np.float32)
        assert requests.history is not None
        ids = self._engine.items.of(requests.history.values).astype(np.int32)
        history = Ragged(requests.history.offsets, ids).keep(ids > 0)
        rows = np.flatnonzero(history.lengths)
        if len(rows):
            user = self._engine.users.of(requests.user[rows])
            scores[np.ix_(rows, item > 0)] = self._engine.scores(user, history.take(rows))[:, item[item > 0]]
        return scores

    def save(self, folder: Path) -> None:
        """Write the vocabulary and the weights."""
        stored = {"user": self._engine.users.code[1:], "item": self._engine.items.code[1:]}
        if self._categories is not None:
            stored |= {"offsets": self._categories.offsets, "values": self._categories.values}
        np.savez_compressed(folder / "vocabulary.npz", **stored)
        np.savez(folder / "weights.npz", **self._engine.state())

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read what :meth:`save` wrote."""
        model = cls(settings, device=device)
        with np.load(folder / "vocabulary.npz", allow_pickle=False) as stored:
            if "values" in stored:
                model._categories = Ragged(stored["offsets"], stored["values"])
            model._build(stored["user"], stored["item"], seed=0)
        with np.load(folder / "weights.npz", allow_pickle=False) as stored:
            model._engine.restore(dict(stored))
        return model


class WithCategories(SequentialModel):
    """A sequential model that reads the items' categories."""

    def _read_categories(self, items: pl.DataFrame) -> Ragged:
        """Number the categories from 1 on, the most frequent first.

        RecBole's S3Rec never trains the vector of the first: let it be the one that says least.

        Raises
        ------
        MissingInputError
            When no training item has a category.
        """
        lists: list[list[str] | None] = []
        if "categories" in items.columns:
            lists = items["categories"].cast(pl.List(pl.String)).to_list()
        distinct = [sorted({name for name in names or () if name is not None}) for names in lists]
        counts = Counter(chain.from_iterable(distinct))
        if not counts:
            raise MissingInputError(
                f"{self.recbole_name} learns from item categories, and no training item has one: choose a dataset "
                "whose items carry categories (its card names the item file to supply), or leave the model out with "
                "--models"
            )
        ordered = sorted(counts, key=lambda name: (-counts[name], name))
        number = {name: place for place, name in enumerate(ordered, start=1)}
        return Ragged.from_lists([[number[name] for name in names] for names in distinct])
