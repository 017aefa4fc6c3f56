"""RecBole at work: its config, data set, model and trainer on the harness's training data.

Imported only inside the fence.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.interaction import Interaction
from recbole.data.utils import get_dataloader
from recbole.sampler import Sampler
from recbole.utils import ModelType, get_model, init_seed

from baselines.recbole.ids import Ids
from baselines.recbole.trainer import common_settings, train, trained_weights
from bench.models import Budget, FitReport, Progress, Ragged

__all__ = ["Engine", "Pairs"]

_NAME = "bench"
"""Of the data set; any that RecBole has no properties file for."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Who met what: user codes, shape (users,), and their items, one row a user."""

    user: NDArray[np.int32]
    items: Ragged

    def write(self, path: Path) -> None:
        """Write an atomic file with every interaction; there are no gaps for RecBole to fill."""
        user = self.user[self.items.row_of].tolist()
        lines = [f"{u}\t{i}\n" for u, i in zip(user, self.items.values.tolist(), strict=True)]
        path.write_text("user_id:token\titem_id:token\n" + "".join(lines), encoding="ascii")


class Engine:
    """One RecBole model with its data.

    Parameters
    ----------
    name : str
        RecBole's name of a general model, such as ``"BPR"``.
    pairs : Pairs
        The training interactions, and nothing else: RecBole never sees a validation or test event.
    parameters : mapping
        RecBole's settings by RecBole's names.
    seed : int
    device : str

    Attributes
    ----------
    model : recbole.model.abstract_recommender.GeneralRecommender
        Built; models in closed form are fitted by that.
    users, items : Ids
    """

    def __init__(self, name: str, pairs: Pairs, parameters: Mapping[str, Any], *, seed: int, device: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / _NAME).mkdir()
            pairs.write(Path(folder) / _NAME / f"{_NAME}.train.inter")
            self.config = Config(
                model=name,
                dataset=_NAME,
                config_dict={**common_settings(folder, seed=seed, device=device), **parameters},
            )
            init_seed(seed, reproducibility=True)
            whole = create_dataset(self.config)
            (self._data,) = whole.build()
        self.users = Ids(whole.field2id_token[whole.uid_field])
        self.items = Ids(whole.field2id_token[whole.iid_field])
        init_seed(seed, reproducibility=True)
        self.model = get_model(name)(self.config, self._data).to(self.config["device"])

    @property
    def in_closed_form(self) -> bool:
        """Whether building the model was all the training there is."""
        return bool(self.config["MODEL_TYPE"] == ModelType.TRADITIONAL)

    @property
    def parameters(self) -> int:
        """Numbers that gradients change."""
        return trained_weights(self.model)

    def train(self, validate: Callable[[], float], budget: Budget, progress: Progress) -> FitReport:
        """Run RecBole's own trainer for the model, see :func:`~baselines.recbole.trainer.train`."""
        report = train(self.model, self.config, self._loader, validate=validate, budget=budget, progress=progress)
        self._forget_answers()
        return report

    def _loader(self) -> Any:
        negatives = self.config["train_neg_sample_args"]
        sampler = None
        if negatives["distribution"] != "none":
            sampler = Sampler(["train"], [self._data], negatives["distribution"], negatives["alpha"])
            sampler = sampler.set_phase("train")
        return get_dataloader(self.config, "train")(self.config, self._data, sampler, shuffle=self.config["shuffle"])

    def scores(self, user: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score every item for users given by RecBole's ids, shape (users, ids of items): RecBole's own scoring."""
        with torch.no_grad():
            flat = self.model.full_sort_predict(
                Interaction({self._data.uid_field: torch.from_numpy(user)}).to(self.config["device"])
            )
        return flat.view(len(user), -1).cpu().numpy()

    def state(self) -> dict[str, NDArray[Any]]:
        """All weights by name."""
        return {name: weights.cpu().numpy() for name, weights in self.model.state_dict().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Take over weights that :meth:`state` gave."""
        self.model.load_state_dict({name: torch.from_numpy(weights) for name, weights in state.items()})
        self.model.eval()
        self._forget_answers()
        return self

    def _forget_answers(self) -> None:
        """Drop the propagated vectors that graph models keep between two answers, and that belong to other weights."""
        for name in vars(self.model):
            if name.startswith("restore_"):
                setattr(self.model, name, None)
