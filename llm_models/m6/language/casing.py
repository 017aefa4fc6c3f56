"""Capital letters for what a tokenizer without them writes, as the texts that were learned from have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

__all__ = ["Casing", "forgets_case"]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_ENDS = (".", "!", "?")


def forgets_case(tokenizer: Any) -> bool:
    """Whether a tokenizer reads capital letters as small ones."""
    large, small = tokenizer(["A", "a"], add_special_tokens=False)["input_ids"]
    return bool(large == small)


class Casing:
    """The form in which a word was met most often, where a sentence begins and elsewhere.

    Parameters
    ----------
    first, later : mapping of str to str
        Word in small letters -> form. Words that are not there stay as they are.
    """

    def __init__(self, first: Mapping[str, str], later: Mapping[str, str]) -> None:
        self.first, self.later = dict(first), dict(later)

    @classmethod
    def learn(cls, texts: Iterable[str]) -> Self:
        """Learn from texts as people wrote them."""
        met: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = ({}, {})
        for text in texts:
            for word, begins in _words(text):
                met[not begins].setdefault(word.group().lower(), Counter())[word.group()] += 1
        # Of forms met as often, the first in the order of their letters: capitals before small ones.
        first, later = (
            {word: min(forms, key=lambda form: (-forms[form], form)) for word, forms in own.items()} for own in met
        )
        return cls(first, later)

    def restore(self, text: str) -> str:
        """Write every word in its form."""
        parts, end = [], 0
        for word, begins in _words(text):
            small = word.group().lower()
            form = self._first(small) if begins else self._later(small)
            parts += [text[end : word.start()], form or word.group()]
            end = word.end()
        return "".join(parts) + text[end:]

    def _first(self, small: str) -> str:
        form = self.later.get(small, "")
        return self.first.get(small) or form[:1].upper() + form[1:]

    def _later(self, small: str) -> str:
        form = self.first.get(small, "")
        return self.later.get(small) or (small if form == small.capitalize() else form)


def _words(text: str) -> Iterable[tuple[re.Match[str], bool]]:
    """The words of a text, and whether a sentence begins with them."""
    begins, end = True, 0
    for word in _WORD.finditer(text):
        begins = begins or text[end : word.start()].rstrip().endswith(_ENDS)
        yield word, begins
        begins, end = False, word.end()
