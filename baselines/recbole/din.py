"""DIN through RecBole."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from baselines.recbole.context import ContextModel, ContextSettings
from bench.models import Capabilities, Settings

__all__ = ["DIN", "DINSettings"]


class DINSettings(ContextSettings):
    """Settings of :class:`DIN`; all but the batch size chosen on the validation clicks of MovieLens-100K.

    Attributes
    ----------
    mlp_hidden_size : tuple of int
        Widths of the layers, of the attention and of the prediction alike.
    dropout_prob : float
        Before each layer of the prediction.
    max_length : int
        Items of a history that are read, the latest ones.
    embedding_size, weight_decay, unknown
        As in :class:`~baselines.recbole.context.ContextSettings`.
    """

    mlp_hidden_size: tuple[int, ...] = Field((32,), min_length=1)
    dropout_prob: float = Field(0.3, ge=0, lt=1)
    max_length: int = Field(10, ge=1)
    embedding_size: int = Field(8, ge=1)
    weight_decay: float = Field(1e-3, ge=0)
    unknown: float = Field(0.1, gt=0, lt=1)


class DIN(ContextModel):
    """A user is the sum of the items clicked before, each weighted by a small network that sees the item asked about.

    The user as such is no feature (RecBole's network leaves it out), so that newcomers are served like everyone, an
    empty history included.

    Source: Zhou et al., "Deep interest network for click-through rate prediction", KDD 2018, as RecBole 1.2.1
    implements it (its "Dice" is x times the logistic function of x, without statistics of the batch).
    """

    Settings: ClassVar[type[Settings]] = DINSettings
    settings: DINSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"click"}), cold_users="natively", cold_items="a learnt unknown item"
    )
    version: ClassVar[str] = "1"
    recbole_name: ClassVar[str] = "DIN"

    @property
    def history_length(self) -> int:
        """How many items of a history are read, the latest ones."""
        return self.settings.max_length
