"""Prompts: collections of templates in YAML, validated when loaded and hashed into every key."""

from llm_models.prompts.collection import PromptCollection, Template, words
from llm_models.prompts.families import ALWAYS, FAMILIES, FIELDS, WHO
from llm_models.prompts.loading import load_prompts, shipped

__all__ = ["ALWAYS", "FAMILIES", "FIELDS", "WHO", "PromptCollection", "Template", "load_prompts", "shipped", "words"]
