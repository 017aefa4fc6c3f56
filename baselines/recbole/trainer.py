"""RecBole's own trainers, validated, selected and stopped by the harness.

Imported only inside the fence.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from recbole.utils import get_trainer, init_seed

from bench.models import Budget, FitReport, Progress, Selection

__all__ = ["common_settings", "pretrain", "train", "trained_weights"]

_NEVER = 10**9


def common_settings(folder: str, *, seed: int, device: str) -> dict[str, Any]:
    """What every config of RecBole says here: data under ``folder``, and nothing but training data."""
    return {
        "data_path": folder,
        "checkpoint_dir": folder,
        "benchmark_filename": ["train"],
        "gpu_id": "" if device == "cpu" else os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
        "seed": seed,
        "show_progress": False,
    }


def trained_weights(model: Any) -> int:
    """Numbers of a model that gradients change."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def train(
    model: Any,
    config: Any,
    make_loader: Callable[[], Any],
    *,
    validate: Callable[[], float],
    budget: Budget,
    progress: Progress,
) -> FitReport:
    """Run RecBole's trainer for ``model``; the best weights are in it afterwards.

    ``budget`` is rounded to whole epochs, at least one, since RecBole trains in epochs; with no limit given
    RecBole's own 300 hold, and with no interval given every epoch is validated.
    """
    # Again: the fence has put the generators back since the model was built.
    init_seed(config["seed"], reproducibility=True)
    loader = make_loader()
    steps = len(loader)
    epochs = min(budget.max_epochs or _NEVER, max(1, (budget.max_steps or _NEVER) // steps))
    if budget.max_epochs is None and budget.max_steps is None:
        epochs = config["epochs"]
    every = budget.eval_every_epochs or max(1, round((budget.eval_every_steps or steps) / steps))
    with tempfile.TemporaryDirectory() as folder:
        config["checkpoint_dir"] = folder
        config["epochs"] = epochs
        trainer = _harnessed(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
        trainer.follow(Selection(budget), validate, progress, every=every, steps=steps)
        trainer.fit(loader, valid_data=validate, saved=False, verbose=False)
    model.load_state_dict(trainer.best)
    model.eval()
    total = sum(weights.numel() for weights in model.parameters())
    return FitReport(
        parameters_trained=trained_weights(model), parameters_total=total, **trainer.selection.report_fields()
    )


def pretrain(model: Any, config: Any, loader: Any, progress: Progress) -> list[float]:
    """Run the first stage of RecBole's trainer for ``model``, for its ``pretrain_epochs``; nothing is selected.

    Returns
    -------
    list of float
        Mean loss of a batch in each epoch.
    """
    init_seed(config["seed"], reproducibility=True)
    epochs = config["pretrain_epochs"]
    kind = get_trainer(config["MODEL_TYPE"], config["model"])

    class Told(kind):  # type: ignore[misc,valid-type]
        """RecBole's trainer, saying how far it is."""

        def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **options: Any) -> float:
            loss = super()._train_epoch(train_data, epoch_idx, *args, **options)
            progress(epoch_idx + 1, epochs, f"pre-training, loss {loss / len(loader):.4f}")
            return loss

    with tempfile.TemporaryDirectory() as folder:
        config["checkpoint_dir"] = folder
        trainer = Told(config, model)
        trainer.save_step = _NEVER
        trainer.pretrain(loader, verbose=False)
    return [loss / len(loader) for loss in trainer.train_loss_dict.values()]


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
