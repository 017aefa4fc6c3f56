"""RecBole's click models at work on labelled pairs in memory.

RecBole reads data from text files into pandas frames, which fails on lists of categories under pandas 3, and makes
labels and histories in its own way. What its models ask of a data set is little, and answered here.

Imported only inside the fence.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType, ModelType, get_model, init_seed
from torch import Tensor

from baselines.recbole.features import ItemTable, Vocabulary
from baselines.recbole.trainer import common_settings, train
from bench.models import Budget, FitReport, Progress, Ragged

__all__ = ["ContextEngine"]

USER, ITEM, CATEGORIES, LABEL = "user_id", "item_id", "categories", "label"
HISTORY, LENGTH = "item_id_list", "item_length"

SERVED = 1024
"""Pairs asked about at a time."""


class ContextEngine:
    """One of RecBole's click models.

    Parameters
    ----------
    name : str
        RecBole's name of a context-aware model, or of a sequential one that reads labels, such as ``"DIN"``.
    vocabulary : Vocabulary
    parameters : mapping
        RecBole's settings by RecBole's names.
    history_length : int
        How many items of a history a sequential model reads; 0 for a context-aware one, which reads none.
    seed : int
    device : str

    Attributes
    ----------
    model : recbole.model.abstract_recommender.AbstractRecommender
    """

    def __init__(
        self,
        name: str,
        vocabulary: Vocabulary,
        parameters: Mapping[str, Any],
        *,
        history_length: int,
        seed: int,
        device: str,
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.config = Config(
                model=name,
                dataset="bench",
                config_dict={
                    **common_settings(folder, seed=seed, device=device),
                    "LABEL_FIELD": LABEL,
                    "MAX_ITEM_LIST_LENGTH": max(history_length, 1),
                    **parameters,
                },
            )
        init_seed(seed, reproducibility=True)
        self._items, self._history_length, self._device = vocabulary.table, history_length, self.config["device"]
        self._sequential = self.config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        self.model = get_model(name)(self.config, _Description(vocabulary, sequential=self._sequential))
        self.model.to(self._device).eval()

    def train(
        self,
        user: NDArray[np.int64],
        item: NDArray[np.int64],
        history: Ragged,
        label: NDArray[np.float32],
        *,
        unknown: float,
        validate: Callable[[], float],
        budget: Budget,
        progress: Progress,
    ) -> FitReport:
        """Run RecBole's own trainer for the model, see :func:`~baselines.recbole.trainer.train`.

        Parameters
        ----------
        user, item : ndarray of int64, shape (pairs,)
            Ids.
        history : Ragged
            Ids of the items read before each pair, oldest first.
        label : ndarray of float32, shape (pairs,)
        unknown : float
            Share of users, and of items, that are hidden behind id 0.
        """
        items = _fields(self._items.with_hidden(), self._device)

        def batch(rows: NDArray[np.int64]) -> Interaction:
            hidden = torch.rand(2, len(rows)).numpy() < unknown
            asked = self._batch(
                np.where(hidden[0], 0, user[rows]),
                item[rows] + np.where(hidden[1], len(self._items), 0),
                history.take(rows),
                items,
            )
            asked[LABEL] = torch.from_numpy(label[rows])
            return asked

        loader = _Batches(len(label), self.config["train_batch_size"], batch)
        return train(self.model, self.config, lambda: loader, validate=validate, budget=budget, progress=progress)

    def probabilities(
        self, user: NDArray[np.int64], row: NDArray[np.int64], history: Ragged, items: ItemTable
    ) -> NDArray[np.float32]:
        """Say how likely a click is, shape (pairs,): RecBole's own prediction.

        Parameters
        ----------
        user, row : ndarray of int64, shape (pairs,)
            Ids of users; rows of ``items``.
        history : Ragged
        items : ItemTable
            Starts with the items of training, in the order of their ids.
        """
        shown = _fields(items, self._device)
        found = np.empty(len(user), np.float32)
        with torch.inference_mode():
            for start in range(0, len(user), SERVED):
                rows = np.arange(start, min(start + SERVED, len(user)))
                asked = self._batch(user[rows], row[rows], history.take(rows), shown)
                found[rows] = self.model.predict(asked).cpu().numpy()
        return found

    def _batch(
        self, user: NDArray[np.int64], row: NDArray[np.int64], history: Ragged, items: Mapping[str, Tensor]
    ) -> Interaction:
        rows = torch.from_numpy(row).to(self._device)
        if not self._sequential:
            features = {name: values[rows] for name, values in items.items()}
            return Interaction({USER: torch.from_numpy(user).to(self._device), **features})
        # Such a model looks features up by itself, in a table that it took from the data set when it was built.
        self.model.embedding_layer.item_feat = Interaction(dict(items))
        asked = {
            USER: torch.zeros_like(rows),
            ITEM: rows,
            HISTORY: _padded(history, self._history_length),
            LENGTH: torch.from_numpy(history.lengths),
        }
        return Interaction(asked).to(self._device)

    def state(self) -> dict[str, NDArray[Any]]:
        """All weights by name."""
        return {name: weights.cpu().numpy() for name, weights in self.model.state_dict().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Take over weights that :meth:`state` gave."""
        self.model.load_state_dict({name: torch.from_numpy(weights) for name, weights in state.items()})
        self.model.eval()
        return self


class _Description:
    """What RecBole's models ask of a data set while they are built: names, kinds and sizes of the features."""

    def __init__(self, vocabulary: Vocabulary, *, sequential: bool) -> None:
        # A sequential model knows users by their history; RecBole insists on a table of users all the same.
        self._sizes = {USER: 1 if sequential else len(vocabulary.users) + 1, ITEM: len(vocabulary.items) + 1}
        self.field2type = {USER: FeatureType.TOKEN, ITEM: FeatureType.TOKEN}
        if len(vocabulary.categories):
            self._sizes[CATEGORIES] = len(vocabulary.categories) + 1
            self.field2type[CATEGORIES] = FeatureType.TOKEN_SEQ
        self._items = vocabulary.table

    def fields(self, source: Collection[Any]) -> list[str]:
        """Names of all features; there are none of other sources than users and items."""
        return list(self._sizes)

    def num(self, field: str) -> int:
        """How many ids a feature has, id 0 included."""
        return self._sizes[field]

    def get_user_feature(self) -> Interaction:
        """Features of users by id: the id itself."""
        return Interaction({USER: torch.arange(self._sizes[USER])})

    def get_item_feature(self) -> Interaction:
        """Features of items by id."""
        return Interaction(_fields(self._items, "cpu"))


class _Batches:
    """All training pairs once, in an order drawn anew, in batches of about the same size."""

    def __init__(self, pairs: int, size: int, batch: Callable[[NDArray[np.int64]], Interaction]) -> None:
        self._pairs, self._size, self._batch = pairs, size, batch

    def __len__(self) -> int:
        return -(-self._pairs // self._size)

    def __iter__(self) -> Iterator[Interaction]:
        # Of about the same size: batch normalisation cannot take a last batch of one.
        for rows in torch.randperm(self._pairs).tensor_split(len(self)):
            yield self._batch(rows.numpy())


def _fields(items: ItemTable, device: str) -> dict[str, Tensor]:
    """RecBole's columns of the table; without categories of any item there is no such column."""
    columns = {ITEM: torch.from_numpy(items.id).to(device)}
    if len(items.categories.values):
        width = int(items.categories.lengths.max())
        columns[CATEGORIES] = _padded(items.categories, width).to(device)
    return columns


def _padded(rows: Ragged, width: int) -> Tensor:
    """Lay rows out as a rectangle, filled up on the right with 0, shape (rows, width) int64."""
    rectangle = np.zeros((len(rows), width), np.int64)
    rectangle[np.arange(width) < rows.lengths[:, None]] = rows.values
    return torch.from_numpy(rectangle)
