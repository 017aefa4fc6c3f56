"""HGN through RecBole."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from baselines.recbole.sequential import SEQUENTIAL, SequentialModel, TrainingSettings
from bench.models import Capabilities

__all__ = ["HGN", "HGNSettings"]


class HGNSettings(TrainingSettings):
    """Settings of :class:`HGN`; defaults and names from RecBole 1.2.1 (``properties/model/HGN.yaml``).

    Attributes
    ----------
    MAX_ITEM_LIST_LENGTH : int
        Items of a history that are read, the last ones.
    embedding_size : int
    pooling_type : str
        How the gated items become one vector.
    reg_weight : tuple of float
        Of the norms of the gates' weights and of the vectors in a batch.
    """

    MAX_ITEM_LIST_LENGTH: int = Field(50, ge=1)
    embedding_size: int = Field(64, ge=1)
    pooling_type: Literal["average", "max"] = "average"
    reg_weight: tuple[float, float] = (0.0, 0.0)


class HGN(SequentialModel):
    """Gates on the features and on the items of the history, the sum of its items, and a vector of the user.

    A newcomer gets the mean of the trained user vectors. The loss is RecBole's default, the softmax over all items;
    the paper and the published tables used BPR with one negative. RecBole's BPR scores the negatives with the wrong
    table (the one that reads histories, not the one that predicts), so it is not offered.

    Source: Ma, Kang and Liu, "Hierarchical gating networks for sequential recommendation", KDD 2019, as RecBole 1.2.1
    implements it.
    """

    Settings = HGNSettings
    settings: HGNSettings
    capabilities = Capabilities(tasks=SEQUENTIAL, cold_users="mean user vector")
    version = "1"
    recbole_name = "HGN"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config."""
        return {**self.settings.model_dump(), "loss_type": "CE"}
