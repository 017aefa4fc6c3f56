"""RecBole's data for sequential models, made in memory from the harness's arrays.

RecBole would read ``token_seq`` text files, one row a prefix, and pad them row by row in Python. Under pandas 3 it
cannot: its filling of gaps assigns into lists. It would also keep two vocabularies, one for histories and one for
targets, unless told that they are aliases. Here there is one vocabulary by construction, and a batch is cut out of
flat arrays.

Imported only inside the fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

from baselines.recbole.ids import Ids
from bench.models import Ragged

__all__ = ["CATEGORIES", "MemoryDataset", "Prefixes", "Vocabulary", "padded"]

CATEGORIES = "categories"
"""Name of the item feature, where there is one."""

Fields = dict[str, NDArray[np.int64]]
Corrupt = Callable[[Fields, np.random.Generator], Fields]
"""Adds the fields of a model that learns from damaged histories."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What RecBole numbers from 1; 0 is its padding.

    Attributes
    ----------
    user, item : ndarray of int32
        Codes of the training users and items, strictly increasing.
    categories : Ragged or None
        Of every item, numbered from 1 on.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    categories: Ragged | None = None


class MemoryDataset(SequentialDataset):  # type: ignore[misc]
    """What RecBole's models ask a data set: how many of each there are, and the items' features."""

    def __init__(self, config: Any, vocabulary: Vocabulary) -> None:
        # Not RecBole's own constructor, which reads files.
        self.config = config
        self.dataset_name = config["dataset"]
        self.uid_field, self.iid_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.field2type = {self.uid_field: FeatureType.TOKEN, self.iid_field: FeatureType.TOKEN}
        self.field2id_token = {
            self.uid_field: _tokens(vocabulary.user),
            self.iid_field: _tokens(vocabulary.item),
        }
        self.user_feat = self.item_feat = None
        if vocabulary.categories is not None:
            rows = vocabulary.categories
            self.field2type[CATEGORIES] = FeatureType.TOKEN_SEQ
            self.field2id_token[CATEGORIES] = _tokens(np.arange(1, rows.values.max() + 1))
            lists = padded(rows.values, rows.offsets[:-1], rows.lengths, int(rows.lengths.max()))
            ids = np.arange(len(rows) + 1)
            lists = np.vstack([np.zeros_like(lists[:1]), lists])
            self.item_feat = Interaction({self.iid_field: torch.from_numpy(ids), CATEGORIES: torch.from_numpy(lists)})

    def ids(self, field: str) -> Ids:
        """Between codes and ids."""
        return Ids(self.field2id_token[field])


def _tokens(codes: NDArray[np.integer]) -> NDArray[np.str_]:
    return np.concatenate([["[PAD]"], codes.astype(str)])


def padded(
    values: NDArray[np.integer], starts: NDArray[np.integer], lengths: NDArray[np.integer], width: int
) -> NDArray[np.int64]:
    """Cut ``values[start : start + length]`` into rows of ``width``, zeros on the right.

    Parameters
    ----------
    values : ndarray, shape (n,)
    starts, lengths : ndarray, shape (rows,)
        No length exceeds ``width``.
    width : int

    Returns
    -------
    ndarray of int64, shape (rows, width)
    """
    column = np.arange(width)
    place = np.minimum(starts[:, None] + column, len(values) - 1)
    return np.where(column < lengths[:, None], values[place].astype(np.int64), 0)


class Prefixes:
    """The loader of a trainer: every training item with the (at most ``longest``) items before it.

    These are the rows that RecBole's own augmentation makes, in batches drawn at random without replacement as RecBole
    draws them. The rows of a batch are ordered by length, so that its parts can be trimmed.

    Parameters
    ----------
    user : ndarray of int64, shape (users,)
        RecBole's ids, as everywhere here.
    items : Ragged
        Each user's items, oldest first.
    config : recbole.config.Config
    trim : bool
        Whether a batch is as wide as its longest history, or always as wide as the longest allowed.
    negatives : int
        Draw a negative for each target from the ids below this number, uniform over all but the target
        (RecBole's way for sequential models); 0 for none.
    whole : bool
        For models that never look at the target: the history includes it, or else no user's last item would be learnt.
    corrupt : callable or None
        Adds fields to a batch.

    Raises
    ------
    ValueError
        When no user has two items.
    """

    def __init__(
        self,
        user: NDArray[np.int64],
        items: Ragged,
        config: Any,
        *,
        trim: bool,
        negatives: int = 0,
        whole: bool = False,
        corrupt: Corrupt | None = None,
    ) -> None:
        self._values, self._user = items.values.astype(np.int64), user
        self._owner = items.row_of
        position = np.arange(len(self._values)) - items.offsets[:-1][self._owner]
        self._target = np.flatnonzero(position > 0)
        if not len(self._target):
            raise ValueError("no training user has two items, so there is no next item to learn from")
        self._longest = config["MAX_ITEM_LIST_LENGTH"]
        self._length = np.minimum(position[self._target] + whole, self._longest)
        self._start = self._target + whole - self._length
        self._size, self._trim, self._negatives, self._corrupt = config["train_batch_size"], trim, negatives, corrupt
        self._names = [config[name] for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "ITEM_LIST_LENGTH_FIELD")]
        self._list, self._negative = self._names[1] + config["LIST_SUFFIX"], config["NEG_PREFIX"] + self._names[1]
        self._rng = np.random.default_rng(config["seed"])

    def __len__(self) -> int:
        return -(-len(self._target) // self._size)

    def __iter__(self) -> Iterator[Interaction]:
        order = self._rng.permutation(len(self._target))
        for start in range(0, len(order), self._size):
            rows = order[start : start + self._size]
            yield self.batch(rows[np.argsort(self._length[rows], kind="stable")])

    def batch(self, rows: NDArray[np.int64]) -> Interaction:
        """Cut out the rows, given by number and ordered by length."""
        user, item, length = self._names
        lengths, target = self._length[rows], self._target[rows]
        width = int(lengths[-1]) if self._trim else self._longest
        fields: Fields = {
            user: self._user[self._owner[target]],
            self._list: padded(self._values, self._start[rows], lengths, width),
            length: lengths,
            item: self._values[target],
        }
        if self._negatives:
            drawn = self._rng.integers(1, self._negatives - 1, len(rows))
            fields[self._negative] = drawn + (drawn >= fields[item])
        if self._corrupt is not None:
            fields |= self._corrupt(fields, self._rng)
        return Interaction({name: torch.from_numpy(values) for name, values in fields.items()})
