"""From a decoder's probabilities to lists of items: a trie of id tokens, and constrained search in it."""

from llm_models.decoding.search import Stepper, search
from llm_models.decoding.trie import Trie

__all__ = ["Stepper", "Trie", "search"]
