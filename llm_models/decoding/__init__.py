"""From a decoder's probabilities to answers: constrained search in a trie of id tokens, and free text."""

from llm_models.decoding.sampling import sample
from llm_models.decoding.search import Stepper, exact, search
from llm_models.decoding.trie import Trie
from llm_models.decoding.writing import write

__all__ = ["Stepper", "Trie", "exact", "sample", "search", "write"]
