"""What the families of training prompts have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from llm_models.p5.world import ITEM_TEXTS
from llm_models.p5.writer import Writer
from llm_models.prompts import Template

__all__ = ["LIKED", "STAR", "Family", "Prompt", "like_text", "star_text"]

#: Stars from which on an item counts as liked.
LIKED = 4
#: What a review may lack.
HEADLINE, STAR = "headline", "star"

#: A prompt, and the answers to it as tokens.
Prompt = tuple[str, list[list[int]]]


def star_text(stars: float) -> str:
    """How stars are written: ``"4"``, ``"3.5"``."""
    return f"{stars:g}"


def like_text(stars: float) -> str:
    """Whether so many stars say "like" or "dislike"."""
    return "like" if stars >= LIKED else "dislike"


class Family(ABC):
    """Draws training prompts of one task family.

    Parameters
    ----------
    writer : Writer
    templates : iterable of Template
        Those that may be drawn; the ones that no row of the training data can fill in are put aside.
    """

    def __init__(self, writer: Writer, templates: Iterable[Template]) -> None:
        self.writer = writer
        self.templates = tuple(template for template in templates if self.serves(template))
        self._others: dict[tuple[str, frozenset[str]], tuple[Template, ...]] = {}

    def serves(self, template: Template) -> bool:
        """Whether there is a row to fill the template in with."""
        return self.size("event") > 0

    @abstractmethod
    def size(self, per: str) -> int:
        """Rows that the sampling numbers count: of ``"user"`` or of ``"event"``."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, templates: Sequence[Template]) -> list[Prompt]:
        """Fill in each of the templates with a row drawn at random."""

    def suited(
        self, template: Template, item: int, u: float, headline: str | None = "", *, starred: bool = True
    ) -> Template:
        """Exchange a template that shows a text which is lacking for one that asks for the same.

        Parameters
        ----------
        item : int
            Position.
        u : float
            Uniform in [0, 1): which one, where there are several. Where there is none the template stays, and the
            writer says that something is unknown.
        headline : str or None
            Of the review; ``None`` where it has none.
        starred : bool
            Whether stars are known; where they are not, no template that shows them takes the place of another.
        """
        shown = template.fields
        lacks = [field for field in ITEM_TEXTS if field in shown and getattr(self.writer.world, field)[item] is None]
        if headline is None and HEADLINE in shown:
            lacks.append(HEADLINE)
        if not lacks:
            return template
        if not starred:
            lacks.append(STAR)
        key = template.id, frozenset(lacks)
        if key not in self._others:
            self._others[key] = tuple(
                t for t in self.templates if t.target == template.target and not t.fields.intersection(lacks)
            )
        others = self._others[key]
        return others[int(u * len(others))] if others else template
