"""Ids as text: how items and users are written in a prompt, and how text becomes tokens."""

from llm_models.indexing.ids import IdIndex, random_ids
from llm_models.indexing.tokenizer import WordTokenizer, load_tokenizer, train_tokenizer

__all__ = ["IdIndex", "WordTokenizer", "load_tokenizer", "random_ids", "train_tokenizer"]
