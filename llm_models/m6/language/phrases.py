"""The phrases in ``phrases.yaml``, checked when read."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from llm_models.m6.templates import _fields

__all__ = ["Headline", "Likelihood", "Mentions", "Phrases", "Title", "phrases"]


class _Phrase(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mentions(_Phrase):
    """What is said of words that reviews mention, around ``{words}``."""

    item: str
    user: str


class Headline(_Phrase):
    """What is read of a review, around ``{body}``, and how its headline begins."""

    source: str
    prefix: str


class Likelihood(_Phrase):
    """A sentence about a candidate.

    Attributes
    ----------
    source : str
        What is read of a user, around ``{user}``.
    nobody : str
        What is read where nobody in particular chooses.
    opening, sentence : str
        The sentence: what is given, and what is scored, around ``{item}``.
    """

    source: str
    nobody: str
    opening: str
    sentence: str


class Title(_Phrase):
    """How a product's title begins."""

    prefix: str


_HOLDS = {
    ("mentions", "item"): ["words"],
    ("mentions", "user"): ["words"],
    ("headline", "source"): ["body"],
    ("headline", "prefix"): [],
    ("likelihood", "source"): ["user"],
    ("likelihood", "nobody"): [],
    ("likelihood", "opening"): [],
    ("likelihood", "sentence"): ["item"],
    ("title", "prefix"): [],
}


class Phrases(_Phrase):
    """All of them."""

    mentions: Mentions
    headline: Headline
    likelihood: Likelihood
    title: Title

    @model_validator(mode="after")
    def _fields_are_these(self) -> Phrases:
        for (group, name), wanted in _HOLDS.items():
            if _fields(getattr(getattr(self, group), name)) != wanted:
                raise ValueError(f"{group}.{name} must hold {' and '.join(map(repr, wanted)) or 'no field'}")
        return self

    @property
    def digest(self) -> str:
        """sha256 of the content."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


@cache
def phrases() -> Phrases:
    """The shipped phrases."""
    return Phrases.model_validate(yaml.safe_load(files(__package__).joinpath("phrases.yaml").read_text("utf-8")))
