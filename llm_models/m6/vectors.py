"""Frozen vectors of items and of users, from text alone. Imports scipy: import it inside a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bench.data.ragged import Ragged
from llm_models.m6.templates import Template

__all__ = ["Encoder", "ItemVectors", "Vectors", "pool_recent", "unit", "write_recent"]

Floats = NDArray[np.float32]
Told = Callable[[int, int], None]


class Encoder(Protocol):
    """What is asked of a text encoder."""

    width: int

    def index(self, texts: list[str], *, progress: Told | None = None) -> NDArray[np.int64]:
        """Encode what is new and return the row of each text, shape (texts,)."""

    def take(self, rows: NDArray[np.int64]) -> Floats:
        """Unit vectors by row, shape (rows, width)."""


def unit(vectors: Floats) -> Floats:
    """Scale rows to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


def pool_recent(items: Floats, histories: Ragged, *, window: int, half_life: float | None) -> Floats:
    """Average the vectors of each history's last items, later ones weighing more.

    The click ``d`` places before the last weighs ``2 ** (-d / half_life)``, or 1 where that is ``None``.

    Parameters
    ----------
    items : ndarray of float32, shape (items, width)
    histories : Ragged
        Rows of ``items``, oldest first.

    Returns
    -------
    ndarray of float32, shape (len(histories), width)
        Zeros where a history is empty.
    """
    recent = histories.last(window)
    ago = np.repeat(recent.offsets[1:], recent.lengths) - 1 - np.arange(len(recent.values))
    weight = np.ones(len(ago)) if half_life is None else 2.0 ** (-ago / half_life)
    total = np.bincount(recent.row_of, weights=weight, minlength=len(recent))
    weight /= total[recent.row_of]
    share = csr_array((weight.astype(np.float32), recent.values, recent.offsets), shape=(len(recent), len(items)))
    return np.asarray(share @ items, dtype=np.float32)


def write_recent(texts: list[str], histories: Ragged, template: Template, *, window: int) -> list[str]:
    """Write each history as one text, newest item first; empty where the history is."""
    return [
        template.write_user(texts[row] for row in reversed(history.tolist())) if len(history) else ""
        for history in histories.last(window)
    ]


class ItemVectors:
    """The items of one text table: their codes, their texts, and where the encoder keeps the vectors of those.

    Attributes
    ----------
    codes : ndarray of int32, shape (items,)
        Strictly increasing.
    texts : list of str
        Empty where an item has none.
    has_text : ndarray of bool, shape (items,)
    """

    def __init__(self, rows: pl.DataFrame, template: Template, encoder: Encoder, told: Told | None = None) -> None:
        rows = rows.sort("item")
        self.codes = rows["item"].to_numpy()
        self.texts = template.write_items(rows)
        self.has_text = np.array([bool(text) for text in self.texts], dtype=bool)
        self._encoder = encoder
        self._place = encoder.index([text for text in self.texts if text], progress=told)

    def raw(self) -> Floats:
        """Vectors as encoded of the items that have text, in order, shape (has_text.sum(), width)."""
        return self._encoder.take(self._place)

    def rows_of(self, codes: Ragged) -> Ragged:
        """Histories of item codes as rows of this table; items without text are left out."""
        place = np.searchsorted(self.codes, codes.values).clip(max=max(len(self.codes) - 1, 0))
        known = self.codes[place] == codes.values if len(self.codes) else np.zeros(len(place), bool)
        keep = known & self.has_text[place] if len(self.codes) else known
        return Ragged.from_lengths(codes.lengths, place).keep(keep)


class Vectors:
    """What the frozen side says of items and users.

    Parameters
    ----------
    encoder : Encoder
    template : Template
    joined : bool
        True: a user is one text, encoded in one pass. False: each shown item is a segment, encoded alone and once,
        and a user is the weighted mean of segments (late interaction with no layer after the cut).
    window : int
        Latest items of a history that are used.
    half_life : float or None
        Recency weighting of segments, see :func:`pool_recent`.
    item_mean, user_mean : ndarray of float32, shape (width,)
        Taken off before anything is compared; a user made of segments has it taken off there.
    """

    def __init__(
        self,
        encoder: Encoder,
        template: Template,
        *,
        joined: bool,
        window: int,
        half_life: float | None,
        item_mean: Floats,
        user_mean: Floats,
    ) -> None:
        self.encoder, self.template = encoder, template
        self.joined, self.window, self.half_life = joined, window, half_life
        self.item_mean, self.user_mean = item_mean, user_mean

    def items(self, table: ItemVectors) -> Floats:
        """Unit vectors of a table's items, shape (items, width); zeros where there is no text."""
        vectors = np.zeros((len(table.codes), self.encoder.width), np.float32)
        vectors[table.has_text] = unit(table.raw() - self.item_mean)
        return vectors

    def users(self, table: ItemVectors, histories: Ragged, told: Told | None = None) -> Floats:
        """Unit vectors of users from what they chose, shape (users, width); zeros where nothing with text is shown.

        ``histories`` holds rows of ``table`` (see :meth:`ItemVectors.rows_of`).
        """
        if not self.joined:
            pooled = pool_recent(self.items(table), histories, window=self.window, half_life=self.half_life)
            return unit(pooled)
        served = histories.lengths > 0
        vectors = np.zeros((len(histories), self.encoder.width), np.float32)
        texts = write_recent(table.texts, histories, self.template, window=self.window)
        rows = self.encoder.index([text for text in texts if text], progress=told)
        vectors[served] = unit(self.encoder.take(rows) - self.user_mean)
        return vectors
