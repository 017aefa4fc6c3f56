"""What can be said of users and items when requests come in: training's world, and items met since."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.models import Ragged
from llm_models.decoding import Trie
from llm_models.indexing import IdIndex
from llm_models.p5.world import ITEM_TEXTS
from llm_models.p5.writer import Writer

__all__ = ["Known", "Meetings", "answer_trie"]


def answer_trie(sequences: list[list[int]]) -> Trie:
    """The tree of ended answers.

    Where all are of one length, the end mark is left off: they end by themselves, and a mark that nothing else could
    stand in place of would cost a step of the decoder and say nothing.
    """
    if len({len(sequence) for sequence in sequences}) == 1:
        sequences = [sequence[:-1] for sequence in sequences]
    return Trie.build(sequences)


@dataclass(frozen=True, eq=False)
class Known:
    """Items that have an id or at least a text; a position is one of ``writer.world.items``.

    Attributes
    ----------
    writer : Writer
    named : ndarray of bool, shape (items,)
        Which of them have an id.
    trained : ndarray of bool, shape (items,)
        Which of them were in the training data.
    """

    writer: Writer
    named: NDArray[np.bool_]
    trained: NDArray[np.bool_]

    @cached_property
    def has(self) -> dict[str, NDArray[np.bool_]]:
        """Which items have a title, a brand, a price, shape (items,) each."""
        return {
            field: np.array([text is not None for text in getattr(self.writer.world, field)], bool)
            for field in ITEM_TEXTS
        }

    @cached_property
    def entry(self) -> NDArray[np.int64]:
        """Entry of each item in the tree of ids; -1 where it has no id, shape (items,)."""
        return np.where(self.named, np.cumsum(self.named) - 1, -1)

    @cached_property
    def trie(self) -> Trie:
        """The ids that can be written; entries are the items that have one, in order."""
        tokens = self.writer.item_tokens
        return answer_trie([tokens[place] for place in np.flatnonzero(self.named).tolist()])

    def positions(self, codes: Ragged) -> Ragged:
        """Positions of items; those nothing is known of are left out."""
        rows = self.writer.world.items.rows(codes.values)
        return Ragged(codes.offsets, rows.astype(np.int32)).keep(rows >= 0)

    def entries(self, codes: Ragged) -> Ragged:
        """Entries of items in the tree of ids; those without an id are left out."""
        places = self.positions(codes)
        entries = self.entry[places.values]
        return Ragged(places.offsets, entries.astype(np.int32)).keep(entries >= 0)


class Meetings:
    """The known world, grown by the items that requests bring; the last growth is kept, for requests come in blocks."""

    def __init__(self, writer: Writer) -> None:
        every = np.ones(len(writer.world.items.code), bool)
        self.home = Known(writer, every, every)
        self._last: tuple[bytes, Known] = (b"", self.home)

    def meet(self, text: pl.DataFrame) -> Known:
        """Take in the items of ``text`` (columns as in ``Catalogue.text``).

        Ids are given to newcomers where the index can give some; the others are known by their texts alone.
        """
        index = self.home.writer.world.items
        new = text.filter(pl.Series(index.rows(text["item"].to_numpy()) < 0))
        key = new["item"].to_numpy().tobytes()
        if key != self._last[0]:
            self._last = (key, self._grown(new))
        return self._last[1]

    def _grown(self, new: pl.DataFrame) -> Known:
        writer = self.home.writer
        old = writer.world.items
        index = old.extend(new) if old.can_extend else old
        codes = np.union1d(index.code, new["item"].to_numpy()).astype(np.int32)
        place = index.rows(codes)
        named = place >= 0
        # Who has no id gets an empty word, which no prompt shows and no tree holds.
        words = tuple(index.word[at] if at >= 0 else "" for at in place.tolist())
        world = writer.world.extended(IdIndex(codes, words), new)
        grown = Writer(writer.tokenizer, world, max_input=writer.max_input, max_target=writer.max_target)
        return Known(grown, named, old.rows(codes) >= 0)
