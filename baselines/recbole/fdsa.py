"""FDSA through RecBole."""

from __future__ import annotations

from typing import Any, Literal

from baselines.recbole.sequential import TransformerSettings, WithCategories

__all__ = ["FDSA", "FDSASettings"]


class FDSASettings(TransformerSettings):
    """Settings of :class:`FDSA`; defaults and names from RecBole 1.2.1 (``properties/model/FDSA.yaml``).

    Attributes
    ----------
    pooling_mode : str
        How the vectors of an item's categories become one.
    loss_type : str
        ``"CE"``, RecBole's default: softmax over all items; ``"BPR"``: one negative. The paper and the published tables
        used binary cross-entropy with one negative, which RecBole does not have.
    """

    pooling_mode: Literal["mean", "max", "sum"] = "mean"
    loss_type: Literal["CE", "BPR"] = "CE"


class FDSA(WithCategories):
    """One Transformer over the items of the history and one over their categories, joined at the end.

    Source: Zhang et al., "Feature-level deeper self-attention network for sequential recommendation", IJCAI 2019, as
    RecBole 1.2.1 implements it; categories are its only feature here.
    """

    Settings = FDSASettings
    settings: FDSASettings
    version = "1"
    recbole_name = "FDSA"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config."""
        return {**self.settings.model_dump(), "selected_features": ["categories"]}
