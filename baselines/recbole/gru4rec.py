"""GRU4Rec through RecBole."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from baselines.recbole.sequential import SequentialModel, TrainingSettings

__all__ = ["GRU4Rec", "GRU4RecSettings"]


class GRU4RecSettings(TrainingSettings):
    """Settings of :class:`GRU4Rec`; defaults and names from RecBole 1.2.1 (``properties/model/GRU4Rec.yaml``).

    Attributes
    ----------
    MAX_ITEM_LIST_LENGTH : int
        Items of a history that are read, the last ones.
    embedding_size, hidden_size, num_layers : int
    dropout_prob : float
        On the items' vectors.
    loss_type : str
        ``"CE"``, RecBole's default: softmax over all items; ``"BPR"``: one negative. The published tables used binary
        cross-entropy with one negative, which RecBole does not have.
    """

    MAX_ITEM_LIST_LENGTH: int = Field(50, ge=1)
    embedding_size: int = Field(64, ge=1)
    hidden_size: int = Field(128, ge=1)
    num_layers: int = Field(1, ge=1)
    dropout_prob: float = Field(0.3, ge=0, lt=1)
    loss_type: Literal["CE", "BPR"] = "CE"


class GRU4Rec(SequentialModel):
    """A recurrent network over the history.

    Source: Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based recommendations with recurrent neural networks",
    ICLR 2016, in the form of Tan, Xu and Liu, "Improved recurrent neural networks for session-based recommendations",
    DLRS 2016, as RecBole 1.2.1 implements it.
    """

    Settings = GRU4RecSettings
    settings: GRU4RecSettings
    version = "1"
    recbole_name = "GRU4Rec"
