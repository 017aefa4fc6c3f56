"""Templates to text, text to padded numbers: the one way from either training or a request to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_models.indexing import WordTokenizer
from llm_models.indexing.tokenizer import END
from llm_models.p5.world import World, available_fields
from llm_models.prompts import Template

__all__ = ["ARROW", "COMMA", "IGNORED", "Batch", "World", "Writer", "available_fields", "kind_of"]

#: Label of a position without a token.
IGNORED = -100
#: What stands between the items of a history; candidates are joined by a comma.
COMMA, ARROW = " , ", " -> "
#: What is said in place of a text that an item lacks.
UNTITLED, UNKNOWN = "an item without a title", "unknown"
#: Titles of a history that are shown, the latest: a title is as long as many ids.
TITLES = 10
#: A long name, to reckon the room for others.
NAME = "Maximiliana Featherstonehaugh"
#: Fields whose parts are left out where an input grows too long: from a body the end, from a history the oldest.
BODY, HISTORIES = "body", ("history", "history_titles")

Kind = Literal["items", "short", "texts"]
Positions = Sequence[int] | NDArray[np.integer]


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
    family : ndarray of int64, shape (prompts,)
        Position in the families of the mixture.
    """

    ids: NDArray[np.int64]
    words: NDArray[np.int64]
    labels: NDArray[np.int64]
    family: NDArray[np.int64]


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
        history: Positions = (),
        candidates: Positions = (),
        arrow: bool = False,
        star: str = "",
        feature: str = "",
        headline: str = "",
        body: str = "",
    ) -> str:
        """Write a prompt.

        An input that would be longer than ``max_input`` loses the end of the body, or the oldest of the history.

        Parameters
        ----------
        user : int or None
            Position in the index; ``None`` or -1: somebody never met, whom no template may name then.
        item : int or None
            Position in the index; ``None`` or -1: an item without an id, which no template may show then, nor a text.
        history, candidates : sequence of int
            Positions of items; of titles the latest 10 are shown.
        arrow : bool
            Join the history by arrows and not by commas.

        Raises
        ------
        UsageError
            When the template shows a user or an item that has no id.
        """
        world, fields = self.world, template.fields
        values = {"star": star, "feature": feature, "headline": headline, BODY: body}
        if user is not None and user >= 0:
            values["user"] = word = world.users.word[user]
            values["name"] = world.name[user] or word
        if item is not None and item >= 0:
            values["item"] = world.items.word[item]
            values["title"] = world.title[item] or UNTITLED
            values["brand"], values["price"] = world.brand[item] or UNKNOWN, world.price[item] or UNKNOWN
        if "candidates" in fields:
            word = world.items.word
            values["candidates"] = COMMA.join([word[i] for i in _listed(candidates)])
        separator, shown = ARROW if arrow else COMMA, {}
        if "history" in fields:
            word = world.items.word
            shown["history"] = [word[i] for i in _listed(history)]
        if "history_titles" in fields:
            shown["history_titles"] = [world.title[i] or UNTITLED for i in _listed(history)[-TITLES:]]
        for field, parts in shown.items():
            values[field] = separator.join(parts)
        text = template.render(**values)
        # No tokenizer makes more pieces than characters and words, hardly ever so many.
        if len(text) + 2 > self.max_input and self.length(text) > self.max_input:
            return self._shortened(template, values, shown, separator)
        return text

    def _shortened(self, template: Template, values: dict[str, str], shown: dict[str, list[str]], by: str) -> str:
        room = self.max_input - self.length(template.render(**values | {BODY: ""} | dict.fromkeys(HISTORIES, "")))
        if BODY in template.fields:
            body = values[BODY].split()
            values[BODY] = " ".join(body[: self._fit(body, room)])
        elif shown:
            # Ids and titles of one item go together.
            steps = [by.join(parts) + by for parts in zip_longest(*(p[::-1] for p in shown.values()), fillvalue="")]
            kept = self._fit(steps, room)
            for field, parts in shown.items():
                values[field] = by.join(parts[max(len(parts) - kept, 0) :])
        return template.render(**values)

    def _fit(self, parts: Sequence[str], room: int) -> int:
        """How many of the first parts fit together into ``room`` tokens."""
        sizes = [sum(map(len, self.tokenizer.split(part))) for part in parts]
        return int(np.searchsorted(np.cumsum(sizes), room, side="right"))

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
        if template.target == "{item}":
            assert item is not None, "an item to name"
            return self.world.items.word[item]
        return template.render_target(star=star, yes_no=yes_no, like=like, explanation=explanation, headline=headline)

    def candidates_that_fit(self, template: Template, history: int = 0) -> int:
        """How many candidates an input has room for beside a history of so many items, whichever they are."""
        sample = dict.fromkeys(template.fields, "")
        if self.world.users.word:
            sample |= {"user": self.world.users.word[0], "name": NAME}
        comma, arrow = (self.length(separator) - 1 for separator in (COMMA, ARROW))
        longest = max(map(len, self.item_tokens), default=1) - 1
        room = self.max_input - self.length(template.render(**sample)) - history * (longest + max(comma, arrow))
        return max(room // (longest + comma), 0)

    def length(self, text: str) -> int:
        """Tokens of an input, uncut, end mark included."""
        return sum(map(len, self.tokenizer.split(text))) + 1

    def sequence(self, text: str) -> list[int]:
        """Tokens of an answer, cut to ``max_target``, end mark included."""
        tokens = [*chain.from_iterable(self.tokenizer.split(text))]
        return [*tokens[: self.max_target - 1], END]

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split prompts into pieces, cut them to ``max_input``, and fill them up to one length.

        Returns
        -------
        ids, words : ndarray of int64, shape (prompts, length)
            Pieces, then the end mark; for each the number of its word from 1, 0 for the end mark; 0 for padding.
        """
        split = [self.tokenizer.split(text) for text in texts]
        words_in = np.array([len(pieces) for pieces in split], np.int64)
        size = np.fromiter(map(len, chain.from_iterable(split)), np.int64, words_in.sum())
        ids = np.fromiter(chain.from_iterable(chain.from_iterable(split)), np.int64, size.sum())
        number = np.arange(len(size)) - np.repeat(np.cumsum(words_in) - words_in, words_in) + 1
        # Pieces before each text; a text may have none.
        ends = np.append(0, np.cumsum(size))[np.cumsum(words_in)]
        lengths = np.diff(ends, prepend=0)
        kept = np.minimum(lengths, self.max_input - 1)
        width = int(kept.max(initial=0)) + 1
        place = np.arange(len(ids)) - np.repeat(ends - lengths, lengths)
        fits = place < self.max_input - 1
        row, column = np.repeat(np.arange(len(texts)), lengths)[fits], place[fits]
        padded, words = np.zeros((len(texts), width), np.int64), np.zeros((len(texts), width), np.int64)
        padded[row, column] = ids[fits]
        words[row, column] = np.repeat(number, size)[fits]
        padded[np.arange(len(texts)), kept] = END
        return padded, words

    def labels(self, answers: Sequence[Sequence[Sequence[int]]]) -> NDArray[np.int64]:
        """Fill up answers (per prompt a list of token sequences) to shape (prompts, answers, tokens)."""
        count = np.array([len(own) for own in answers], np.int64)
        size = np.fromiter(map(len, chain.from_iterable(answers)), np.int64, count.sum())
        tokens = np.fromiter(chain.from_iterable(chain.from_iterable(answers)), np.int64, size.sum())
        table = np.full((len(answers), count.max(initial=0), size.max(initial=0)), IGNORED)
        nth = np.arange(len(size)) - np.repeat(np.cumsum(count) - count, count)
        row = np.repeat(np.arange(len(answers)), count)
        column = np.arange(len(tokens)) - np.repeat(np.cumsum(size) - size, size)
        table[np.repeat(row, size), np.repeat(nth, size), column] = tokens
        return table


def _listed(positions: Positions) -> Sequence[int]:
    return positions.tolist() if isinstance(positions, np.ndarray) else positions
