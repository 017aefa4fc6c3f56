"""Item kNN through RecBole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.recbole.item_item import ItemItem
from bench.models import Ragged, Settings

__all__ = ["ItemKNN", "ItemKNNSettings"]


class ItemKNNSettings(Settings):
    """Settings of :class:`ItemKNN`; defaults and names from RecBole 1.2.1 (``properties/model/ItemKNN.yaml``).

    Attributes
    ----------
    k : int
        Neighbours kept per item.
    shrink : float
        Added to the product of norms: similarities that rest on few users shrink.
    """

    k: int = Field(100, ge=1)
    shrink: float = Field(0.0, ge=0)


class ItemKNN(ItemItem):
    """Sum of the cosines between a candidate and the items of the history, over each candidate's k nearest items.

    Source: Aiolli, "Efficient top-n recommendation for very large scale binary rated datasets", RecSys 2013, as
    RecBole 1.2.1 implements it.
    """

    Settings = ItemKNNSettings
    settings: ItemKNNSettings
    version = "1"
    recbole_name = "ItemKNN"

    def _build(self, user: NDArray[np.int32], items: Ragged, seed: int) -> None:
        super()._build(user, items, seed)
        # The scores of all users, as Python lists (more than 1 GB on Amazon Beauty): they are the history times the
        # weights, which costs less to compute for those who ask than to keep for all.
        del self._engine.model.pred_mat

    def _weights(self) -> Any:
        return self._engine.model.w
