"""RecBole's SASRec."""

from __future__ import annotations

from typing import Literal

from baselines.recbole.sequential import SequentialModel, TransformerSettings

__all__ = ["RecBoleSASRec", "RecBoleSASRecSettings"]


class RecBoleSASRecSettings(TransformerSettings):
    """Settings of :class:`RecBoleSASRec`; defaults and names from RecBole 1.2.1 (``properties/model/SASRec.yaml``).

    Attributes
    ----------
    loss_type : str
        ``"CE"``, RecBole's default: softmax over all items; ``"BPR"``: one negative. The paper and the published tables
        used binary cross-entropy with one negative, which RecBole does not have.
    """

    loss_type: Literal["CE", "BPR"] = "CE"


class RecBoleSASRec(SequentialModel):
    """A Transformer that reads from left to right; one row a prefix, and the loss at its end.

    Source: Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018, as RecBole 1.2.1 implements it.
    """

    Settings = RecBoleSASRecSettings
    settings: RecBoleSASRecSettings
    version = "1"
    recbole_name = "SASRec"
