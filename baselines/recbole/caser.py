"""Caser through RecBole."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from baselines.recbole.sequential import SEQUENTIAL, SequentialModel, TrainingSettings
from bench.models import Capabilities

__all__ = ["Caser", "CaserSettings"]


class CaserSettings(TrainingSettings):
    """Settings of :class:`Caser`; defaults and names from RecBole 1.2.1 (``properties/model/Caser.yaml``).

    Attributes
    ----------
    MAX_ITEM_LIST_LENGTH : int
        Items of a history that are read, the last ones. Every length has its own filters, so RecBole's remark on the
        model asks for a short one, such as 10; 50 costs twenty times the time.
    embedding_size : int
    nv, nh : int
        Vertical filters, and horizontal filters of each height.
    dropout_prob : float
    reg_weight : float
        Of the L2 norms of the weights.
    loss_type : str
        ``"CE"``, RecBole's default: softmax over all items; ``"BPR"``: one negative. The published tables used binary
        cross-entropy with sampled negatives, which RecBole does not have.
    """

    MAX_ITEM_LIST_LENGTH: int = Field(10, ge=1)
    embedding_size: int = Field(64, ge=1)
    nv: int = Field(4, ge=1)
    nh: int = Field(8, ge=1)
    dropout_prob: float = Field(0.4, ge=0, lt=1)
    reg_weight: float = Field(1e-4, ge=0)
    loss_type: Literal["CE", "BPR"] = "CE"


class Caser(SequentialModel):
    """Convolutions over the last items, taken as an image of their vectors, beside a vector of the user.

    A newcomer gets the mean of the trained user vectors.

    Source: Tang and Wang, "Personalized top-N sequential recommendation via convolutional sequence embedding", WSDM
    2018, as RecBole 1.2.1 implements it (one next item, not several).
    """

    Settings = CaserSettings
    settings: CaserSettings
    capabilities = Capabilities(tasks=SEQUENTIAL, cold_users="mean user vector")
    version = "1"
    recbole_name = "Caser"
