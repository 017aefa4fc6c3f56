"""S3-Rec through RecBole."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from baselines.recbole.sequential import TransformerSettings, WithCategories

__all__ = ["S3Rec", "S3RecSettings"]


class S3RecSettings(TransformerSettings):
    """Settings of :class:`S3Rec`; defaults and names from RecBole 1.2.1 (``properties/model/S3Rec.yaml``).

    Attributes
    ----------
    mask_ratio : float
        Share of the items that are masked in pre-training.
    aap_weight, mip_weight, map_weight, sp_weight : float
        Of the losses of pre-training: an item's attributes, a masked item, its attributes, a masked segment.
    pretrain_epochs : int
        Passes of pre-training, beside the budget, which counts those of fine-tuning. RecBole's default is 500; 10 is
        what a run without a graphics card affords.
    loss_type : str
        Of fine-tuning. ``"CE"``, RecBole's default: softmax over all items; ``"BPR"``: one negative. The paper and the
        published tables used binary cross-entropy with one negative, which RecBole does not have.
    """

    mask_ratio: float = Field(0.2, gt=0, lt=1)
    aap_weight: float = Field(0.2, ge=0)
    mip_weight: float = Field(1.0, ge=0)
    map_weight: float = Field(1.0, ge=0)
    sp_weight: float = Field(0.5, ge=0)
    pretrain_epochs: int = Field(10, ge=1)
    loss_type: Literal["CE", "BPR"] = "CE"


class S3Rec(WithCategories):
    """SASRec's network, pre-trained to tell items, their attributes (categories) and segments from their surroundings.

    Both stages are one fit. Pre-training reads the training histories with their last items.

    Source: Zhou et al., "S3-Rec: self-supervised learning for sequential recommendation with mutual information
    maximization", CIKM 2020, as RecBole 1.2.1 implements it.
    """

    Settings = S3RecSettings
    settings: S3RecSettings
    version = "1"
    recbole_name = "S3Rec"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config."""
        return {**self.settings.model_dump(), "item_attribute": "categories", "train_stage": "pretrain"}
