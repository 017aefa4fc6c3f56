"""RecBole at work: its config, data set, model and trainer on the harness's training data.

Imported only inside the fence.
"""

from __future__ import annotations

import os
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
from recbole.utils import ModelType, get_model, get_trainer, init_seed

from bench.models import Budget, FitReport, Progress, Ragged, Selection

__all__ = ["Engine", "Ids", "Pairs"]

_NAME = "bench"
"""Of the data set; any that RecBole has no properties file for."""
_NEVER = 10**9


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


class Ids:
    """Between our codes and RecBole's ids, which start at 1 in an order of its own; 0 is its padding.

    Attributes
    ----------
    code : ndarray of int32, shape (ids,)
        Code of each id; -1 for the padding.
    """

    def __init__(self, tokens: NDArray[np.str_]) -> None:
        self.code = np.array([-1, *tokens[1:].astype(np.int64)], np.int32)
        self._order = np.argsort(self.code)
        self._sorted = self.code[self._order]

    def of(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Ids of ``codes``; 0 for those RecBole does not know."""
        place = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        return np.where(self._sorted[place] == codes, self._order[place], 0)


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
                config_dict={
                    "data_path": folder,
                    "checkpoint_dir": folder,
                    "benchmark_filename": ["train"],
                    "gpu_id": "" if device == "cpu" else os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
                    "seed": seed,
                    "show_progress": False,
                    **parameters,
                },
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
        return sum(weights.numel() for weights in self.model.parameters() if weights.requires_grad)

    def train(self, validate: Callable[[], float], budget: Budget, progress: Progress) -> FitReport:
        """Run RecBole's own trainer for the model; the harness validates, selects and stops.

        ``budget`` is rounded to whole epochs, at least one, since RecBole trains in epochs; with no limit given
        RecBole's own 300 hold, and with no interval given every epoch is validated.
        """
        # Again: the fence has put the generators back since the model was built.
        init_seed(self.config["seed"], reproducibility=True)
        loader = self._loader()
        steps = len(loader)
        epochs = min(budget.max_epochs or _NEVER, max(1, (budget.max_steps or _NEVER) // steps))
        if budget.max_epochs is None and budget.max_steps is None:
            epochs = self.config["epochs"]
        every = budget.eval_every_epochs or max(1, round((budget.eval_every_steps or steps) / steps))
        with tempfile.TemporaryDirectory() as folder:
            self.config["checkpoint_dir"] = folder
            self.config["epochs"] = epochs
            trainer = _harnessed(get_trainer(self.config["MODEL_TYPE"], self.config["model"]))(self.config, self.model)
            trainer.follow(Selection(budget), validate, progress, every=every, steps=steps)
            trainer.fit(loader, valid_data=validate, saved=False, verbose=False)
        self.model.load_state_dict(trainer.best)
        self.model.eval()
        total = sum(weights.numel() for weights in self.model.parameters())
        return FitReport(
            parameters_trained=self.parameters, parameters_total=total, **trainer.selection.report_fields()
        )

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
        return self


def _harnessed(trainer: type[Any]) -> type[Any]:
    """Make a trainer whose validation is the harness's."""

    class Harnessed(trainer):  # type: ignore[misc]
        """RecBole's trainer, asked after every epoch whether to go on."""

        def follow(
            self, selection: Selection, validate: Callable[[], float], progress: Progress, *, every: int, steps: int
        ) -> None:
            """Say who judges, and how often; ``steps`` is the number of optimiser steps in an epoch."""
            self.selection, self.validate, self.progress = selection, validate, progress
            self.every, self.steps = every, steps
            self.best: dict[str, Any] = {}
            # RecBole evaluates after every epoch, and does not stop of its own accord.
            self.eval_step, self.stopping_step = 1, _NEVER

        def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
            """Stand in for RecBole's evaluation; not a number, which RecBole never takes for an improvement."""
            epoch = len(self.train_loss_dict)
            loss = self.train_loss_dict[epoch - 1] / self.steps
            if epoch % self.every == 0 or epoch == self.epochs:
                self.model.eval()
                value = float(self.validate())
                if self.selection.observe(step=epoch * self.steps, epoch=epoch, loss=loss, validation=value):
                    self.best = {name: weights.detach().clone() for name, weights in self.model.state_dict().items()}
            self.progress(epoch, self.epochs, f"loss {loss:.4f}, validation {self.selection.best_value:.4f}")
            if self.selection.stopped:
                self.stopping_step = -1
            return np.nan, {}

    return Harnessed
