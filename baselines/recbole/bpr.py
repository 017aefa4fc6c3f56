"""BPR matrix factorisation through RecBole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.recbole.adapter import RecBoleModel
from bench.models import Capabilities, Ragged, Settings

__all__ = ["BPR", "BPRSettings"]


class BPRSettings(Settings):
    """Settings of :class:`BPR`.

    Defaults and names of the first four from RecBole 1.2.1 (``properties/model/BPR.yaml`` and ``overall.yaml``). Those
    of the fold-in were chosen on the cold validation users of MovieLens-100K and then kept for all data.

    Attributes
    ----------
    embedding_size : int
    learning_rate : float
    train_batch_size : int
        Interactions in a batch, each with one negative drawn uniformly from the items the user has not met.
    weight_decay : float
    fold_in_unobserved : float
        Weight of the items a newcomer was not shown with, see :func:`~baselines.recbole.foldin.ridge_fold_in`.
    fold_in_ridge : float
        Its ridge.
    """

    embedding_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    train_batch_size: int = Field(2048, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    fold_in_unobserved: float = Field(0.1, ge=0)
    fold_in_ridge: float = Field(1.0, gt=0)


class BPR(RecBoleModel):
    """Matrix factorisation that learns to place what a user met above what the user did not meet.

    Known users are scored with their trained vectors, newcomers by a ridge fold-in with the items frozen.

    Source: Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009, as RecBole 1.2.1 implements it (no item bias; weight decay instead of the paper's penalty).
    """

    Settings = BPRSettings
    settings: BPRSettings
    capabilities = Capabilities(cold_users="ridge fold-in")
    version = "2"
    recbole_name = "BPR"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config: all settings but the fold-in's."""
        return self.settings.model_dump(exclude={"fold_in_unobserved", "fold_in_ridge"})

    def _from_history(self, history: Ragged) -> NDArray[np.float32]:
        from baselines.recbole.foldin import ridge_fold_in

        item = self._engine.model.item_embedding.weight.detach().cpu().numpy()
        options = self.settings
        # Row 0 is RecBole's padding, an untrained vector.
        user = ridge_fold_in(
            Ragged(history.offsets, history.values - 1),
            item[1:],
            unobserved=options.fold_in_unobserved,
            ridge=options.fold_in_ridge,
        )
        return user @ item.T
