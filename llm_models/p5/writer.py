"""Templates to text, text to padded numbers: the one way from either training or a request to the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_models.indexing import WordTokenizer
from llm_models.indexing.tokenizer import END, PAD
from llm_models.p5.world import World, available_fields
from llm_models.prompts import Template

__all__ = ["ARROW", "COMMA", "IGNORED", "Batch", "World", "Writer", "available_fields", "kind_of"]

#: Label of a position without a token.
IGNORED = -100
#: What stands between the items of a history; candidates are joined by a comma.
COMMA, ARROW = " , ", " -> "
#: How a user without a name, and an item without a text, are spoken of.
SOMEBODY, UNTITLED, UNBRANDED, UNPRICED = "somebody", "an item without a title", "unknown", "unknown"

Kind = Literal["items", "short", "texts"]


def kind_of(template: Template) -> Kind:
    """What a template is answered with: ids, a short answer (stars, yes or no, like or dislike), or a text."""
    if "item" in template.target_fields:
        return "items"
    return "texts" if template.target_fields & {"explanation", "headline"} else "short"


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded prompts with the answers to learn.

    Attributes
    ----------
    ids, words : ndarray of int64, shape (prompts, length)
        Pieces and whole-word ids, 0 where there is padding.
    labels : ndarray of int64, shape (prompts, answers, tokens)
        Tokens of the answers, ``IGNORED`` where there is none.
    """

    ids: NDArray[np.int64]
    words: NDArray[np.int64]
    labels: NDArray[np.int64]


class Writer:
    """Writes prompts and answers.

    Parameters
    ----------
    tokenizer : WordTokenizer
    world : World
    max_input, max_target : int
        Tokens of an input and of an answer, end mark included.
    """

    def __init__(self, tokenizer: WordTokenizer, world: World, *, max_input: int = 512, max_target: int = 64) -> None:
        self.tokenizer = tokenizer
        self.world = world
        self.max_input = max_input
        self.max_target = max_target

    @cached_property
    def item_tokens(self) -> list[list[int]]:
        """Tokens of every item's id, end mark included, by position."""
        return [[*self.tokenizer.word(word), END] for word in self.world.items.word]

    def fill(
        self,
        template: Template,
        *,
        user: int | None = None,
        item: int | None = None,
        history: Sequence[int] | NDArray[np.integer] = (),
        candidates: Sequence[int] | NDArray[np.integer] = (),
        arrow: bool = False,
        star: str = "",
        feature: str = "",
        headline: str = "",
        body: str = "",
        title: str | None = None,
        brand: str | None = None,
        price: str | None = None,
    ) -> str:
        """Write a prompt.

        An input that would be longer than ``max_input`` loses the end of the body, then the oldest of the history.

        Parameters
        ----------
        user : int or None
            Position in the index; ``None`` or -1: somebody never met.
        item : int or None
            Position in the index; ``None`` or -1: an item without an id, which no template may show then.
        history, candidates : sequence of int
            Positions of items.
        arrow : bool
            Join the history by arrows and not by commas.
        title, brand, price : str, optional
            What is to be said of an item that the world does not know.
        """
        raise NotImplementedError

    def target(
        self,
        template: Template,
        *,
        item: int | None = None,
        star: str = "",
        yes_no: str = "",
        like: str = "",
        explanation: str = "",
        headline: str = "",
    ) -> str:
        """Write the answer that a template asks for; ``item`` is a position."""
        raise NotImplementedError

    def sequence(self, text: str) -> list[int]:
        """Tokens of an answer, cut to ``max_target``, end mark included."""
        raise NotImplementedError

    def encode(self, texts: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split prompts into pieces and fill them up to one length.

        Returns
        -------
        ids, words : ndarray of int64, shape (prompts, length)
            Pieces, then the end mark; for each the number of its word from 1, 0 for the end mark; 0 for padding.
        """
        raise NotImplementedError

    def labels(self, answers: Sequence[Sequence[Sequence[int]]]) -> NDArray[np.int64]:
        """Fill up answers (per prompt a list of token sequences) to shape (prompts, answers, tokens)."""
        raise NotImplementedError


_ = chain, PAD
