"""Ids as text: how items and users are written in a prompt, and how text becomes tokens."""

from llm_models.indexing.ids import IdIndex, random_ids
from llm_models.indexing.making import (
    ITEM_KINDS,
    USER_KINDS,
    ItemKind,
    UserKind,
    extendable,
    make_index,
    make_user_index,
)
from llm_models.indexing.sequential import leaky_sequential_ids, sequential_ids
from llm_models.indexing.tokenizer import WordTokenizer, add_pieces, load_tokenizer, pieces, train_tokenizer

__all__ = [
    "ITEM_KINDS",
    "USER_KINDS",
    "IdIndex",
    "ItemKind",
    "UserKind",
    "WordTokenizer",
    "add_pieces",
    "extendable",
    "leaky_sequential_ids",
    "load_tokenizer",
    "make_index",
    "make_user_index",
    "pieces",
    "random_ids",
    "sequential_ids",
    "train_tokenizer",
]
