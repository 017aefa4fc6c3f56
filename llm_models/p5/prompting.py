"""Prompts as tensors: the training mixture, and the requests of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged, Training
from llm_models.indexing import IdIndex, WordTokenizer
from llm_models.indexing.tokenizer import END, PAD
from llm_models.p5.settings import P5Settings
from llm_models.prompts import PromptCollection, Template

__all__ = ["Batch", "Mixture", "Writer", "id_sequences"]

#: Batches drawn at once and sorted by length, so that a batch holds prompts of about one length.
POOL = 16


def id_sequences(items: IdIndex, tokenizer: WordTokenizer) -> list[list[int]]:
    """Tokens of every item's id; with an end mark only where the ids' lengths differ.

    Ids of one length end by themselves: a mark would cost a decoder step and say nothing.
    """
    sequences = [tokenizer.word(word) for word in items.word]
    if len({len(sequence) for sequence in sequences}) > 1:
        sequences = [[*sequence, END] for sequence in sequences]
    return sequences


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded prompts.

    Attributes
    ----------
    ids, words : ndarray of int64, shape (prompts, length)
        Pieces and whole-word ids, 0 where there is padding.
    target : ndarray of int64, shape (prompts, answers)
        Positions in the item index; -1 where there is no further answer.
    """

    ids: NDArray[np.int64]
    words: NDArray[np.int64]
    target: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Writer:
    """Writes prompts with the ids of an index."""

    tokenizer: WordTokenizer
    users: IdIndex
    items: IdIndex

    def write(self, template: Template, user: int, history: NDArray[np.integer]) -> str:
        """Fill in a template; ``user`` (-1: nobody) and ``history`` are positions in the indexes."""
        name = self.users.word[user] if user >= 0 else ""
        return template.render(user=name, history=" ".join([self.items.word[i] for i in history.tolist()]))

    def pad(self, prompts: list[str], target: NDArray[np.int64]) -> Batch:
        """Split prompts into pieces and fill them up to one length."""
        encoded = [self.tokenizer.encode(prompt) for prompt in prompts]
        ids = np.full((len(prompts), max(len(pieces) for pieces, _ in encoded)), PAD, np.int64)
        words = np.zeros_like(ids)
        for row, (pieces, numbers) in enumerate(encoded):
            ids[row, : len(pieces)] = pieces
            words[row, : len(pieces)] = numbers
        return Batch(ids, words, target)


class Mixture:
    """An endless, seeded draw of sequential and direct training prompts.

    Sequential: a place in a user's sequence, uniform over all interactions but the first of each user; shown are the
    items before it, asked for are the ones from there on. Direct: an interaction, and further ones of the same user.

    Parameters
    ----------
    training : Training
    writer : Writer
        Its indexes hold exactly the users and items of ``training``.
    prompts : PromptCollection
    settings : P5Settings
    seed : int
    """

    def __init__(
        self, training: Training, writer: Writer, prompts: PromptCollection, settings: P5Settings, seed: int
    ) -> None:
        self.writer = writer
        self.prompts = prompts
        self.settings = settings
        self.generator = np.random.default_rng([seed, 5])
        sequences = training.sequences
        self.sequences = Ragged(sequences.offsets, writer.items.rows(sequences.values).astype(np.int32))
        self.row_of = self.sequences.row_of
        self.within = np.arange(len(self.row_of)) - self.sequences.offsets[self.row_of]
        self.cuts = np.flatnonzero(self.within > 0)

    @property
    def answers_per_prompt(self) -> float:
        """Items a prompt asks for, on average: fewer than ``settings.targets`` where sequences are short."""
        lengths = self.sequences.lengths[self.row_of]
        direct = np.minimum(lengths, self.settings.targets).mean()
        if not len(self.cuts):
            return float(direct)
        later = (lengths - self.within)[self.cuts]
        sequential = np.minimum(later, self.settings.targets).mean()
        return float(direct + self.settings.sequential_share * (sequential - direct))

    def examples(self, count: int) -> list[tuple[str, NDArray[np.int64]]]:
        """Draw prompts, each with the items asked for."""
        share = self.settings.sequential_share if len(self.cuts) else 0.0
        return [
            self._sequential() if sequential else self._direct()
            for sequential in (self.generator.random(count) < share).tolist()
        ]

    def __iter__(self) -> Iterator[Batch]:
        size = self.settings.batch
        while True:
            pool = self.examples(POOL * size)
            pool.sort(key=lambda example: len(example[0]))
            for number in self.generator.permutation(POOL).tolist():
                texts, targets = zip(*pool[number * size : (number + 1) * size], strict=True)
                target = np.full((size, max(map(len, targets))), -1, np.int64)
                for row, asked in zip(target, targets, strict=True):
                    row[: len(asked)] = asked
                yield self.writer.pad(list(texts), target)

    def _sequential(self) -> tuple[str, NDArray[np.int64]]:
        cut = int(self.generator.choice(self.cuts))
        row, within = int(self.row_of[cut]), int(self.within[cut])
        values = self.sequences[row]
        shown = values[max(0, within - self.settings.max_history) : within]
        return self._ask("sequential", row, shown), values[within : within + self.settings.targets].astype(np.int64)

    def _direct(self) -> tuple[str, NDArray[np.int64]]:
        row = int(self.row_of[self.generator.integers(len(self.row_of))])
        values = self.sequences[row]
        number = min(self.settings.targets, len(values))
        asked = self.generator.choice(values, number, replace=False)
        return self._ask("direct", row, values[:0]), asked.astype(np.int64)

    def _ask(self, family: str, row: int, shown: NDArray[np.int32]) -> str:
        seen = self.prompts.seen[family]
        return self.writer.write(seen[int(self.generator.integers(len(seen)))], row, shown)
