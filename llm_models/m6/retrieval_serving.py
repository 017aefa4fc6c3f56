"""What M6-Rec retrieval makes of text tables and requests. Imports torch: import this module inside a method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bench.models import Ragged, Requests, Training
from llm_models.m6.heads import Floats
from llm_models.m6.lexical import Words, blend
from llm_models.m6.retrieval_network import RetrievalNetwork
from llm_models.m6.retrieval_settings import RetrievalSettings
from llm_models.m6.retrieval_texts import FrozenTexts
from llm_models.m6.templates import load_template
from llm_models.m6.vectors import ItemVectors, Told, pool_recent, unit

__all__ = ["Server", "Side", "Table", "recency"]

_TABLES_KEPT = 64


@dataclass(frozen=True, eq=False)
class Table:
    """Items of a text table as the frozen side sees them.

    Attributes
    ----------
    items : ItemVectors
    row : ndarray of int64, shape (items,)
        Of the reader of texts; -1 where there is no text.
    frozen : ndarray of float32, shape (items, width)
        Unit vectors around the centre; zeros where there is no text.
    words : csr_array of float32, shape (items, words), or None
        TF-IDF rows, where there is a lexical channel.
    """

    items: ItemVectors
    row: NDArray[np.int64]
    frozen: Floats
    words: csr_array | None


@dataclass(frozen=True, eq=False)
class Side:
    """Users, or items: what a score is made of, and who has anything to be scored by.

    Attributes
    ----------
    projected : ndarray of float32, shape (n, dim)
        Of length 1; with a prior one number more, an item's prior, and 1 for users.
    frozen : ndarray of float32, shape (n, width)
        Of length 1.
    words : csr_array of float32, shape (n, words), or None
        Of length 1, or empty.
    known : ndarray of bool, shape (n,)
    """

    projected: Floats
    frozen: Floats
    words: csr_array | None
    known: NDArray[np.bool_]


def recency(histories: Ragged, half_life: float | None) -> NDArray[np.float32]:
    """Weights of the items of histories, oldest first, that sum to 1 in each; see ``vectors.pool_recent``."""
    ago = np.repeat(histories.offsets[1:], histories.lengths) - 1 - np.arange(len(histories.values))
    weight = np.ones(len(ago)) if half_life is None else 2.0 ** (-ago / half_life)
    total = np.bincount(histories.row_of, weights=weight, minlength=len(histories))
    return (weight / total[histories.row_of]).astype(np.float32)


class Server:
    """Reads tables, and turns requests into the two sides of a score.

    Parameters
    ----------
    texts : FrozenTexts
    settings : RetrievalSettings
    words : Words or None
        Of the lexical channel.
    center : ndarray of float32, shape (width,)

    Attributes
    ----------
    network : RetrievalNetwork or None
        Set once there is one; call :meth:`forget` whenever its weights have changed.
    """

    def __init__(self, texts: FrozenTexts, settings: RetrievalSettings, words: Words | None, center: Floats) -> None:
        self.texts, self.settings, self.words, self.center = texts, settings, words, center
        self.network: RetrievalNetwork | None = None
        self._tables: list[tuple[pl.DataFrame, Table]] = []
        self.forget()

    def forget(self) -> None:
        """Drop what was computed from the network's weights."""
        self._tuned = np.empty((0, self.texts.width), np.float32)
        self._is_tuned = np.empty(0, bool)

    def table(self, rows: pl.DataFrame, told: Told | None = None) -> Table:
        """Read a text table; tables met lately are kept, since requests come back with the same ones."""
        for known, table in self._tables:
            if known is rows:
                return table
        items = ItemVectors(rows, load_template(self.settings.template), self.texts, told)
        row = np.full(len(items.codes), -1, np.int64)
        row[items.has_text] = self.texts.index([text for text in items.texts if text])
        frozen = np.zeros((len(row), self.texts.width), np.float32)
        frozen[items.has_text] = unit(items.raw() - self.center)
        words = None
        if self.words is not None:
            words = self.words.rows(load_template(self.settings.words_template).write_items(rows.sort("item")))
        table = Table(items, row, frozen, words)
        self._tables = [(rows, table), *self._tables[: _TABLES_KEPT - 1]]
        return table

    @torch.inference_mode()
    def items(self, table: Table) -> Side:
        """The items of a table."""
        network = self._ready()
        hidden = torch.from_numpy(self._vectors(table)).to(self._device)
        projected = network.item(hidden, table.words)
        if network.prior is not None:
            projected = torch.cat([projected, network.prior(hidden, table.words).unsqueeze(1)], dim=1)
        return Side(projected.cpu().numpy(), table.frozen, table.words, table.items.has_text)

    @torch.inference_mode()
    def users(self, requests: Requests, training: Training) -> Side:
        """The users of requests: by the items shown, or of direct requests by their training items."""
        if requests.history is not None:
            table, history = self.table(requests.text), requests.history
        else:
            table, history = self.table(training.items), _trained_on(training, requests.user)
        settings, network = self.settings, self._ready()
        recent = table.items.rows_of(history).last(settings.window)
        weighed = {"window": settings.window, "half_life": settings.half_life}
        if settings.user == "mean":
            vectors = unit(pool_recent(self._vectors(table), recent, **weighed))
        else:
            shown, place = np.unique(recent.values, return_inverse=True)
            states = self.texts.states(table.row[shown])
            vectors = network.vectors(states, Ragged.from_lengths(recent.lengths, place)).cpu().numpy()
        words = None if table.words is None else blend(table.words, recent, recency(recent, settings.half_life))
        projected = network.user(torch.from_numpy(vectors).to(self._device), words)
        if network.prior is not None:
            projected = torch.cat([projected, torch.ones_like(projected[:, :1])], dim=1)
        frozen = unit(pool_recent(table.frozen, recent, **weighed))
        return Side(projected.cpu().numpy(), frozen, words, recent.lengths > 0)

    @property
    def _device(self) -> torch.device:
        return self.texts.stack.device

    def _ready(self) -> RetrievalNetwork:
        assert self.network is not None
        return self.network

    def _vectors(self, table: Table) -> Floats:
        """Vectors of the items of a table as the network makes them now; zeros where there is no text."""
        if self._ready().frozen:
            return table.frozen
        rows = table.row[table.items.has_text]
        longer = max(int(rows.max(initial=-1)) + 1 - len(self._is_tuned), 0)
        self._is_tuned = np.append(self._is_tuned, np.zeros(longer, bool))
        self._tuned = np.concatenate([self._tuned, np.empty((longer, self.texts.width), np.float32)])
        fresh = np.unique(rows[~self._is_tuned[rows]])
        if len(fresh):
            self._tuned[fresh] = self._ready().vectors(self.texts.states(fresh)).cpu().numpy()
            self._is_tuned[fresh] = True
        vectors = np.zeros((len(table.row), self.texts.width), np.float32)
        vectors[table.items.has_text] = self._tuned[rows]
        return vectors


def _trained_on(training: Training, users: NDArray[np.int32]) -> Ragged:
    """Training items of users, as item codes; empty for a user never seen."""
    place = np.searchsorted(training.user, users).clip(max=len(training.user) - 1)
    rows = training.sequences.take(place)
    return rows.keep((training.user[place] == users)[rows.row_of])
