"""Prompts: collections of templates in YAML, validated when loaded and hashed into every key."""

from llm_models.prompts.collection import PromptCollection, Template, load_prompts

__all__ = ["PromptCollection", "Template", "load_prompts"]
