"""DeepFM through RecBole."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from baselines.recbole.context import ContextModel, ContextSettings
from bench.models import Settings

__all__ = ["DeepFM", "DeepFMSettings"]


class DeepFMSettings(ContextSettings):
    """Settings of :class:`DeepFM`; widths, learning rate and decay chosen on the validation clicks of MovieLens-100K.

    Attributes
    ----------
    mlp_hidden_size : tuple of int
        Widths of the layers.
    dropout_prob : float
        Before each layer.
    learning_rate, weight_decay
        As in :class:`~baselines.recbole.context.ContextSettings`.
    """

    mlp_hidden_size: tuple[int, ...] = Field((64, 64), min_length=1)
    dropout_prob: float = Field(0.2, ge=0, lt=1)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)


class DeepFM(ContextModel):
    """A factorisation machine and a perceptron that share the vectors of the features; their scores are added.

    Source: Guo, Tang, Ye, Li and He, "DeepFM: a factorization-machine based neural network for CTR prediction",
    IJCAI 2017, as RecBole 1.2.1 implements it.
    """

    Settings: ClassVar[type[Settings]] = DeepFMSettings
    version: ClassVar[str] = "1"
    recbole_name: ClassVar[str] = "DeepFM"
