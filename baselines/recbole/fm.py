"""Factorisation machines through RecBole."""

from __future__ import annotations

from typing import ClassVar

from baselines.recbole.context import ContextModel, ContextSettings
from bench.models import Settings

__all__ = ["FM", "FMSettings"]


class FMSettings(ContextSettings):
    """Settings of :class:`FM`; those of all click models suffice."""


class FM(ContextModel):
    """A weight for every feature, and the product of vectors for every two of them.

    Source: Rendle, "Factorization machines", ICDM 2010, as RecBole 1.2.1 implements it (categories of an item enter
    as the sum of their weights and the mean of their vectors).
    """

    Settings: ClassVar[type[Settings]] = FMSettings
    version: ClassVar[str] = "1"
    recbole_name: ClassVar[str] = "FM"
