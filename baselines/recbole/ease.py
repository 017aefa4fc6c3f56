"""EASE through RecBole."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from baselines.recbole.item_item import ItemItem
from bench.models import Settings

__all__ = ["EASE", "EASESettings"]


class EASESettings(Settings):
    """Settings of :class:`EASE`; default and name from RecBole 1.2.1 (``properties/model/EASE.yaml``).

    Attributes
    ----------
    reg_weight : float
        The ridge on the item-item regression.
    """

    reg_weight: float = Field(250.0, gt=0)


class EASE(ItemItem):
    """A ridge regression of every item on all others, in closed form.

    The dense item-item matrix (4 bytes times items squared: 586 MB on 12,101 items) is not stored but computed again
    from the training pairs when a fitted model is loaded.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, as RecBole 1.2.1 implements it.
    """

    Settings = EASESettings
    settings: EASESettings
    version = "1"
    recbole_name = "EASE"

    def _weights(self) -> Any:
        return np.asarray(self._engine.model.item_similarity)
