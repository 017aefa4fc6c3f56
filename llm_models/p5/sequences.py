"""Training prompts about what a user did: the families sequential and direct."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged, Training
from llm_models.p5.families import Family, Prompt
from llm_models.p5.settings import P5Settings
from llm_models.p5.unmet import Unmet
from llm_models.p5.writer import Writer
from llm_models.prompts import Template

__all__ = ["GROUPS", "Direct", "Interactions", "Sequential", "group_of"]

#: What a template asks of the two families: any item, one of those listed, or yes or no.
Group = Literal["item", "candidates", "yes/no"]
#: The sub-groups in the order of the sampling numbers.
GROUPS: dict[str, tuple[Group, ...]] = {
    "sequential": ("item", "candidates", "yes/no"),
    "direct": ("yes/no", "candidates", "item"),
}


def group_of(template: Template) -> Group:
    """The sub-group of a sequential or direct template."""
    if "yes_no" in template.target_fields:
        return "yes/no"
    return "candidates" if "candidates" in template.fields else "item"


@dataclass(frozen=True, eq=False)
class Interactions:
    """Training sequences as the two families read them.

    Attributes
    ----------
    user : ndarray of int64, shape (users,)
        Position of each user.
    sequences : Ragged
        Positions of items, oldest first; a row a user.
    unmet : Unmet
    """

    user: NDArray[np.int64]
    sequences: Ragged
    unmet: Unmet

    @classmethod
    def of(cls, training: Training, writer: Writer) -> Self:
        """Look up the positions."""
        users, items = writer.world.users, writer.world.items
        own = training.sequences
        sequences = Ragged(own.offsets, items.rows(own.values).astype(np.int32))
        return cls(users.rows(training.user), sequences, Unmet(training, items))


class _Interacted(Family):
    """Draws places in the sequences: any, each as likely, or as the original does (setting ``windows``)."""

    #: Items before the first place of a sequence.
    skipped: ClassVar[int]

    def __init__(
        self, writer: Writer, templates: Iterable[Template], interactions: Interactions, settings: P5Settings
    ) -> None:
        self.user, self.sequences, self.unmet = interactions.user, interactions.sequences, interactions.unmet
        self.settings = settings
        # Places of the users up to and with each.
        self.until = np.cumsum(np.maximum(self.sequences.lengths - self.skipped, 0))
        self.rows = np.flatnonzero(self.sequences.lengths > self.skipped)
        templates = tuple(templates)
        self.group = {template.id: group_of(template) for template in templates}
        self.listed = {t.id: self._listed(writer, t) for t in templates if self.group[t.id] == "candidates"}
        super().__init__(writer, templates)

    def _listed(self, writer: Writer, template: Template) -> int:
        history = self.settings.max_history if "history" in template.fields else 0
        return min(self.settings.candidates, writer.candidates_that_fit(template, history))

    def serves(self, template: Template) -> bool:
        """Whether there is a place, and room for two candidates where they are listed."""
        return super().serves(template) and self.listed.get(template.id, 2) >= 2

    def size(self, per: str) -> int:
        """Places, or users that have one."""
        return len(self.rows) if per == "user" else int(self.until[-1]) if len(self.until) else 0

    def draw(self, generator: np.random.Generator, templates: Sequence[Template]) -> list[Prompt]:
        """See :class:`Family`."""
        number = len(templates)
        if self.settings.windows == "original":
            row = self.rows[generator.integers(len(self.rows), size=number)]
            start, place = self._original(generator, self.sequences.lengths[row])
        else:
            nth = generator.integers(self.until[-1], size=number)
            row = np.searchsorted(self.until, nth, side="right")
            place = nth - np.append(0, self.until)[row] + self.skipped
            start = np.zeros(number, np.int64)
        start = np.maximum(start, place - self.settings.max_history)
        draws = generator.random((number, 3)).tolist()
        return [
            self._prompt(generator, *drawn)
            for drawn in zip(templates, row.tolist(), start.tolist(), place.tolist(), draws, strict=True)
        ]

    @abstractmethod
    def _original(
        self, generator: np.random.Generator, length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw where the history starts, and the place of the answer."""

    @abstractmethod
    def _answers(self, generator: np.random.Generator, row: int, place: int) -> list[int]:
        """Positions of the items to name."""

    def _prompt(
        self,
        generator: np.random.Generator,
        template: Template,
        row: int,
        start: int,
        place: int,
        draws: tuple[float, float, float],
    ) -> Prompt:
        arrow, yes, u = draws[0] < 0.5, draws[1] < 0.5, draws[2]
        writer, group, user = self.writer, self.group[template.id], int(self.user[row])
        own = self.sequences[row]
        history, true = own[start:place], int(own[place])
        if group == "item":
            text = writer.fill(template, user=user, history=history, arrow=arrow)
            tokens = writer.item_tokens
            return text, [tokens[item] for item in self._answers(generator, row, place)]
        if group == "candidates":
            listed = np.append(self.unmet.some(row, self.listed[template.id] - 1, generator), true)
            generator.shuffle(listed)
            text = writer.fill(template, user=user, history=history, candidates=listed, arrow=arrow)
            return text, [writer.item_tokens[true]]
        item = true if yes else self.unmet.one(row, u)
        if item < 0:
            item, yes = true, True
        template = self.suited(template, item, u)
        text = writer.fill(template, user=user, item=item, history=history, arrow=arrow)
        return text, [writer.sequence(writer.target(template, yes_no="yes" if yes else "no"))]


class Sequential(_Interacted):
    """Shows what the user did up to a place in the sequence, and asks for what follows."""

    skipped = 1

    def _original(
        self, generator: np.random.Generator, length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # Of three items and more one of the last three, the history starting at one of the first three items and,
        # where it can, two items long; counted from 0.
        place = generator.integers(np.maximum(np.minimum(length - 1, 2), length - 3), length)
        return generator.integers(0, np.clip(place - 1, 1, 3)), place

    def _answers(self, generator: np.random.Generator, row: int, place: int) -> list[int]:
        return self.sequences[row][place : place + self.settings.targets].tolist()


class Direct(_Interacted):
    """Shows the user alone, and asks for any of their items."""

    skipped = 0

    def _original(
        self, generator: np.random.Generator, length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.zeros_like(length), generator.integers(length)

    def _answers(self, generator: np.random.Generator, row: int, place: int) -> list[int]:
        if self.settings.targets == 1:
            return [int(self.sequences[row][place])]
        own = self.unmet.met[row]
        drawn = generator.choice(own, min(self.settings.targets, len(own)), replace=False)
        return self.unmet.position[drawn].tolist()
