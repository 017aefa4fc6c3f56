"""Texts that a tokenizer from scratch is trained on."""

from __future__ import annotations

from bench.models import Training
from llm_models.indexing import WordTokenizer
from llm_models.p5.settings import P5Settings
from llm_models.p5.world import World
from llm_models.prompts import PromptCollection

__all__ = ["make_tokenizer"]


def make_tokenizer(settings: P5Settings, prompts: PromptCollection, training: Training, world: World) -> WordTokenizer:
    """Load the tokenizer the settings name, or train one on what training prompts show."""
    raise NotImplementedError
