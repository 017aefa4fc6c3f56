"""LightGCN through RecBole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.recbole.adapter import RecBoleModel
from bench.models import Capabilities, Ragged, Settings

__all__ = ["LightGCN", "LightGCNSettings"]


class LightGCNSettings(Settings):
    """Settings of :class:`LightGCN`.

    Defaults and names of the first six from RecBole 1.2.1 (``properties/model/LightGCN.yaml`` and ``overall.yaml``).
    Those of the fold-in were chosen on the cold validation users of MovieLens-100K and then kept for all data.

    Attributes
    ----------
    embedding_size : int
    n_layers : int
        Times the vectors are propagated over the graph of who met what.
    reg_weight : float
        Weight of the penalty on the vectors before propagation.
    require_pow : bool
        Whether it is their squared norm (the paper's) rather than their norm.
    learning_rate : float
        The default is slow: on MovieLens-100K 36 epochs reach a validation NDCG@10 of .051, where 20 epochs at .005
        reach .061. It is the first thing to tune.
    train_batch_size : int
        Interactions in a batch, each with one negative drawn uniformly from the items the user has not met; the whole
        graph is propagated once a batch.
    fold_in_unobserved : float
        Weight of the items a newcomer was not shown with, see :func:`~baselines.recbole.foldin.ridge_fold_in`.
    fold_in_ridge : float
        Its ridge.
    """

    embedding_size: int = Field(64, ge=1)
    n_layers: int = Field(2, ge=1)
    reg_weight: float = Field(1e-5, ge=0)
    require_pow: bool = False
    learning_rate: float = Field(1e-3, gt=0)
    train_batch_size: int = Field(2048, ge=1)
    fold_in_unobserved: float = Field(0.3, ge=0)
    fold_in_ridge: float = Field(1.0, gt=0)


class LightGCN(RecBoleModel):
    """Matrix factorisation whose vectors are smoothed over the graph of who met what, trained with BPR's loss.

    Known users are scored with their propagated vectors, newcomers by a ridge fold-in with the propagated items
    frozen: a node of their own would need the graph to be propagated anew for every request.

    Source: He, Deng, Wang, Li, Zhang and Wang, "LightGCN: simplifying and powering graph convolution network for
    recommendation", SIGIR 2020, as RecBole 1.2.1 implements it.
    """

    Settings = LightGCNSettings
    settings: LightGCNSettings
    capabilities = Capabilities(cold_users="ridge fold-in")
    version = "1"
    recbole_name = "LightGCN"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config: all settings but the fold-in's."""
        return self.settings.model_dump(exclude={"fold_in_unobserved", "fold_in_ridge"})

    def _build(self, user: NDArray[np.int32], items: Ragged, seed: int) -> None:
        from baselines.recbole.propagation import propagate_faster

        super()._build(user, items, seed)
        propagate_faster(self._engine.model)

    def _from_history(self, history: Ragged) -> NDArray[np.float32]:
        import torch

        from baselines.recbole.foldin import ridge_fold_in

        with torch.no_grad():
            _, propagated = self._engine.model()
        item, options = propagated.cpu().numpy(), self.settings
        # Row 0 is RecBole's padding, an untrained vector.
        user = ridge_fold_in(
            Ragged(history.offsets, history.values - 1),
            item[1:],
            unobserved=options.fold_in_unobserved,
            ridge=options.fold_in_ridge,
        )
        return user @ item.T
