"""RecBole's sequential models at work on the harness's training data.

Imported only inside the fence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.loss import BPRLoss
from recbole.utils import get_model, init_seed

from baselines.recbole.sequential_data import MemoryDataset, Prefixes, Vocabulary, padded
from baselines.recbole.trainer import common_settings, pretrain, train, trained_weights
from baselines.recbole.trimmed import MaskedItems, PretrainedWithAttributes, Trimmed
from bench.models import Budget, FitReport, Progress, Ragged

__all__ = ["SequentialEngine"]

_TRIMMED: dict[str, type[Any]] = {
    "SASRec": Trimmed,
    "GRU4Rec": Trimmed,
    "FDSA": Trimmed,
    "BERT4Rec": MaskedItems,
    "S3Rec": PretrainedWithAttributes,
}
"""Networks to which padding makes no difference. It does to Caser, which convolves over it, and to HGN, whose average
counts it; FPMC has rows of a single item."""

_USERS = {"FPMC": "UI_emb", "HGN": "user_embedding", "Caser": "user_embedding"}
"""Where networks that know their users keep the vectors."""

_SCORED = 1024
"""Rows scored at once."""


class SequentialEngine:
    """One RecBole model with what it may know of users and items.

    Parameters
    ----------
    name : str
        RecBole's name of a sequential model, such as ``"GRU4Rec"``.
    vocabulary : Vocabulary
    parameters : mapping
        RecBole's settings by RecBole's names.
    seed : int
    device : str

    Attributes
    ----------
    model : recbole.model.abstract_recommender.SequentialRecommender
    users, items : Ids
    """

    def __init__(
        self, name: str, vocabulary: Vocabulary, parameters: Mapping[str, Any], *, seed: int, device: str
    ) -> None:
        given = {**common_settings("", seed=seed, device=device), "benchmark_filename": None, **parameters}
        if given["loss_type"] == "CE":
            given["train_neg_sample_args"] = None
        self.config = Config(model=name, dataset="bench", config_dict=given)
        dataset = MemoryDataset(self.config, vocabulary)
        self.users, self.items = dataset.ids(dataset.uid_field), dataset.ids(dataset.iid_field)
        network = get_model(name)
        if name in _TRIMMED:
            network = type(name, (_TRIMMED[name], network), {})
        init_seed(seed, reproducibility=True)
        self.model = network(self.config, dataset).to(self.config["device"])
        self._name = name

    @property
    def parameters(self) -> int:
        """Numbers that gradients change."""
        return trained_weights(self.model)

    def train(
        self,
        user: NDArray[np.int32],
        sequences: Ragged,
        validate: Callable[[], float],
        budget: Budget,
        progress: Progress,
    ) -> FitReport:
        """Run RecBole's trainer for the model, see :func:`~baselines.recbole.trainer.train`; S3Rec's two stages.

        Parameters
        ----------
        user : ndarray of int32, shape (users,)
            Codes, as in ``sequences``, one row a user.
        sequences : Ragged
        validate, budget, progress
            As in :meth:`bench.models.Recommender.fit`.
        """
        ids = self.items.of(sequences.values).astype(np.int32)
        owner, items = self.users.of(user), Ragged(sequences.offsets, ids)
        notes = {}
        if self._name == "S3Rec":
            loader = self._loader(owner, items, whole=True, corrupt=self.model.corrupt)
            notes["pretraining_loss"] = pretrain(self.model, self.config, loader, progress)
            self.model.train_stage = "finetune"
            self.model.loss_fct = torch.nn.CrossEntropyLoss() if self.config["loss_type"] == "CE" else BPRLoss()
        reads_itself = {"whole": True, "corrupt": self.model.corrupt} if self._name == "BERT4Rec" else {}
        report = train(
            self.model,
            self.config,
            lambda: self._loader(owner, items, **reads_itself),
            validate=validate,
            budget=budget,
            progress=progress,
        )
        return replace(report, notes=notes)

    def _loader(self, user: NDArray[np.int64], items: Ragged, **options: Any) -> Prefixes:
        pairwise = self.config["loss_type"] == "BPR"
        negatives = len(self.items.code) if pairwise else 0
        return Prefixes(user, items, self.config, trim=self._name in _TRIMMED, negatives=negatives, **options)

    def scores(self, user: NDArray[np.int64], history: Ragged) -> NDArray[np.float32]:
        """Score every item: RecBole's own scoring.

        Parameters
        ----------
        user : ndarray of int64, shape (requests,)
            RecBole's ids; 0 for a newcomer, who gets the mean user vector where the network has such vectors.
        history : Ragged
            RecBole's ids, no row empty.

        Returns
        -------
        ndarray of float32, shape (requests, ids of items)
        """
        longest = getattr(self.model, "longest_history", self.config["MAX_ITEM_LIST_LENGTH"])
        shown = history.last(longest)
        lengths, starts = shown.lengths, shown.offsets[:-1]
        scores = np.empty((len(user), len(self.items.code)), np.float32)
        order = np.argsort(lengths, kind="stable")
        with torch.no_grad(), self._mean_user():
            for first in range(0, len(order), _SCORED):
                rows = order[first : first + _SCORED]
                width = int(lengths[rows[-1]]) if self._name in _TRIMMED else longest
                asked = {
                    self.model.USER_ID: user[rows],
                    self.model.ITEM_SEQ: padded(shown.values, starts[rows], lengths[rows], width),
                    self.model.ITEM_SEQ_LEN: lengths[rows],
                }
                shown_rows = Interaction({name: torch.from_numpy(values) for name, values in asked.items()})
                scores[rows] = self.model.full_sort_predict(shown_rows.to(self.config["device"])).cpu().numpy()
        return scores

    @contextmanager
    def _mean_user(self) -> Iterator[None]:
        """Let the padding's row hold the mean user vector, where there are user vectors, and put it back afterwards."""
        if self._name not in _USERS:
            yield
            return
        vectors = getattr(self.model, _USERS[self._name]).weight.data
        before = vectors[0].clone()
        vectors[0] = vectors[1:].mean(dim=0)
        try:
            yield
        finally:
            vectors[0] = before

    def state(self) -> dict[str, NDArray[Any]]:
        """All weights by name."""
        return {name: weights.cpu().numpy() for name, weights in self.model.state_dict().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Take over weights that :meth:`state` gave."""
        self.model.load_state_dict({name: torch.from_numpy(weights) for name, weights in state.items()})
        self.model.eval()
        return self
