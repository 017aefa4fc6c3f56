"""BERT4Rec through RecBole."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from baselines.recbole.sequential import SequentialModel, TransformerSettings

__all__ = ["BERT4Rec", "BERT4RecSettings"]


class BERT4RecSettings(TransformerSettings):
    """Settings of :class:`BERT4Rec`; defaults and names from RecBole 1.2.1 (``properties/model/BERT4Rec.yaml``).

    Attributes
    ----------
    mask_ratio : float
        Share of the items that are masked.
    ft_ratio : float
        Share of the batches in which only the last item is masked, as it is when the model is asked.
    """

    hidden_dropout_prob: float = Field(0.2, ge=0, lt=1)
    attn_dropout_prob: float = Field(0.2, ge=0, lt=1)
    mask_ratio: float = Field(0.2, gt=0, lt=1)
    ft_ratio: float = Field(0.5, ge=0, le=1)


class BERT4Rec(SequentialModel):
    """A Transformer that reads both ways and fills in masked items; asked what comes next, it fills in the end.

    The loss is the softmax over all items, as in the paper and in RecBole.

    Two things RecBole 1.2.1 does to the model's harm are not repeated: a row's next item is not thrown away but ends
    its history (or else no user's last training item were ever learnt), and the first item of a history is not
    dropped when the model is asked.

    Source: Sun et al., "BERT4Rec: sequential recommendation with bidirectional encoder representations from
    Transformer", CIKM 2019, as RecBole 1.2.1 implements it.
    """

    Settings = BERT4RecSettings
    settings: BERT4RecSettings
    version = "1"
    recbole_name = "BERT4Rec"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config."""
        return {**self.settings.model_dump(), "loss_type": "CE"}
