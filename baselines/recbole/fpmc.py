"""FPMC through RecBole."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from baselines.recbole.sequential import SEQUENTIAL, SequentialModel, TrainingSettings
from bench.models import Capabilities

__all__ = ["FPMC", "FPMCSettings"]


class FPMCSettings(TrainingSettings):
    """Settings of :class:`FPMC`; default and name from RecBole 1.2.1 (``properties/model/FPMC.yaml``).

    Attributes
    ----------
    embedding_size : int
    """

    embedding_size: int = Field(64, ge=1)


class FPMC(SequentialModel):
    """Matrix factorisation plus a factorised Markov chain: who the user is, and which item was the last.

    The loss is BPR with one negative, as in the paper and in RecBole, which offers no other. A newcomer gets the mean
    of the trained user vectors; since the model is linear in them, that is the mean of all users' tastes beside the
    newcomer's own last item.

    Source: Rendle, Freudenthaler and Schmidt-Thieme, "Factorizing personalized Markov chains for next-basket
    recommendation", WWW 2010, as RecBole 1.2.1 implements it (baskets of one item).
    """

    Settings = FPMCSettings
    settings: FPMCSettings
    capabilities = Capabilities(tasks=SEQUENTIAL, cold_users="mean user vector")
    version = "1"
    recbole_name = "FPMC"

    def parameters(self) -> dict[str, Any]:
        """What goes into RecBole's config: of the history only the last item is read, so no more is handed over."""
        return {**self.settings.model_dump(), "loss_type": "BPR", "MAX_ITEM_LIST_LENGTH": 1}
