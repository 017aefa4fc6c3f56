"""What the training data counts about items, users and both together, in bands that :mod:`.behaviour` puts into words.

Nothing may tell a pair its own label, and training texts must be spread like those of requests, so that what is said of
a training pair comes from a part of the training pairs, its *view*:

===============  ======================================================================================================
data             what a training pair sees
===============  ======================================================================================================
with times       the pairs of the last *refresh* before it: the first 100 pairs in time order, the first 125, and so on,
                 each time a quarter more, and never one of its own second or later. Requests see the last refresh, all
                 pairs, from some distance too: what happens in between is missing for both alike.
order alone      (no order across users is known) of items, what the users of seven other eighths did; of the user
                 themselves, the pairs strictly before: those that know fewer clicks. Requests see all pairs.
===============  ======================================================================================================

Bands are cut at quantiles of the same view, so that they mean the same however many pairs it has. Means are smoothed by
five pairs of the view's mean. What the shown history says (activity, how often a category was met) is counted there: it
is as fresh for training pairs as for requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import mix64
from bench.data.ragged import Ragged
from bench.errors import UsageError
from bench.models import Training
from llm_models.m6.categories import Categories
from llm_models.m6.counting import Bands, Floats, Ledger, Places, banded, cuts_at, positions, smooth, steps

__all__ = ["BANDS", "Figures", "Statistics"]

BANDS = {"popularity": 6, "reception": 5, "habit": 4, "liking": 3, "activity": 5, "leaning": 5}
"""Figure -> how many bands it has, lowest first; see :class:`Figures`."""

_FIRST, _GROWTH = 100, 1.25
_FOLDS = 8
_POPULAR = (0.5, 0.8, 0.95, 0.99)
_FIFTHS = (0.2, 0.4, 0.6, 0.8)
_QUARTERS = (0.25, 0.75)
_ACTIVITY = (1, 3, 10, 50)


@dataclass(frozen=True, eq=False)
class Figures:
    """What there is to say of rows of a user and an item: bands from 0, and -1 for nothing, shape (rows,) each.

    Attributes
    ----------
    popularity : ndarray of int8
        Clicks on the item: none yet; then among the items clicked the lower half, to 80%, to 95%, to 99%, the top 1%.
    reception : ndarray of int8
        Mean label of the item, in fifths of the pairs.
    leaning : ndarray of int8
        Mean label of the user, in fifths of the pairs.
    liking : ndarray of int8
        Mean label of the user in the item's category against their mean elsewhere: lowest quarter, middle, highest.
    habit : ndarray of int8
        Items of the category in the history: none, one, up to four, more. -1 where the history is empty.
    activity : ndarray of int8
        Items in the history: none, one or two, up to nine, up to 49, more.
    category : ndarray of int64
        The item's category, the rarest that many items share, as a position in ``names``.
    names : tuple of str
    """

    popularity: Bands
    reception: Bands
    leaning: Bands
    liking: Bands
    habit: Bands
    activity: Bands
    category: Places
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Counts of training pairs; where there are none, of the training sequences, whose events are all clicks.

    Attributes
    ----------
    user, item : ndarray of int32, shape (pairs,)
    label : ndarray of float32, shape (pairs,)
        NaN where an event has none.
    click : ndarray of bool, shape (pairs,)
        What counts as a choice of the item: clicks, or every rating.
    moment : ndarray of int64, shape (pairs,)
        Unix seconds, or, where only the order is known, how many clicks of the user came before.
    timed : bool
        Which of the two.
    items : polars.DataFrame
        The training items by code: ``item`` (Int32), ``categories`` (List of String).
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    label: NDArray[np.float32]
    click: NDArray[np.bool_]
    moment: NDArray[np.int64]
    timed: bool
    items: pl.DataFrame

    @classmethod
    def of(cls, training: Training) -> Self:
        """Count what ``training`` holds and nothing else."""
        pairs, sequences = training.pairs, training.sequences
        listed = training.items.schema.get("categories")
        categories = pl.col("categories") if isinstance(listed, pl.List) else pl.lit(None, pl.List(pl.String))
        items = training.items.select(pl.col("item").cast(pl.Int32), categories.alias("categories"))
        if pairs is not None:
            # A declared negative may be an item that nothing else is known of.
            items = pl.DataFrame({"item": np.union1d(items["item"], pairs.item)}).join(items, on="item", how="left")
            timed = pairs.time is not None
            moment = pairs.time if pairs.time is not None else pairs.history.lengths
            click = pairs.label > 0 if pairs.kind == "click" else np.ones(len(pairs), bool)
            return cls(pairs.user, pairs.item, pairs.label, click, moment, timed, items)
        count = len(sequences.values)
        place = np.arange(count) - np.repeat(sequences.offsets[:-1], sequences.lengths)
        return cls(
            user=training.user[sequences.row_of],
            item=sequences.values,
            label=np.full(count, np.nan, np.float32) if training.rating is None else training.rating,
            click=np.ones(count, bool),
            moment=place if training.time is None else training.time,
            timed=training.time is not None,
            items=items,
        )

    def __len__(self) -> int:
        return len(self.user)

    def figures(
        self,
        user: NDArray[np.integer],
        item: NDArray[np.integer],
        history: Ragged,
        text: pl.DataFrame,
        pairs: NDArray[np.integer] | None = None,
    ) -> Figures:
        """Look up what there is to say of rows of a user and an item.

        Parameters
        ----------
        user, item : ndarray of int, shape (rows,)
            Codes; those never met in training have figures, too.
        history : Ragged
            Item codes each user had chosen before; all of them, not only those that will be written.
        text : polars.DataFrame
            Columns as in ``Catalogue.text``; gives items their categories.
        pairs : ndarray of int, shape (rows,), optional
            Where the rows are training pairs: their positions (where training has no pairs, those of its events).
            Such a row is told only what its view holds. Without, rows are requests, asked after training.

        Raises
        ------
        UsageError
            When ``pairs`` does not name these users and items.
        """
        if pairs is None:
            view = np.full(len(user), len(self._views.means) - 1)
            limit = np.full(len(user), self._end)
        else:
            if len(pairs) != len(user) or (self.user[pairs] != user).any() or (self.item[pairs] != item).any():
                raise UsageError("statistics: `pairs` must hold, row by row, where user and item stand in training")
            view = self._view_of(pairs)
            limit = self._views.sizes[view] if self.timed else self.moment[pairs]
        shelf = self._categories.shelve(text)
        category = _looked_up(shelf.main, positions(shelf.codes, item), -1)
        place, who = positions(self.items["item"].to_numpy(), item), positions(self._users, user)
        return Figures(
            popularity=_looked_up(self._views.popularity, place, 0, view),
            reception=_looked_up(self._views.reception, place, -1, view),
            leaning=self._leaning(who, limit, view),
            liking=self._liking(who, category, limit, view),
            habit=shelf.habit(history, category),
            activity=steps(history.lengths, _ACTIVITY),
            category=category,
            names=self._categories.names,
        )

    def save(self, folder: Path) -> None:
        """Write everything into an existing folder."""
        arrays = {name: getattr(self, name) for name in ("user", "item", "label", "click", "moment")}
        np.savez(folder / "statistics.npz", timed=np.array(self.timed), **arrays)
        self.items.write_parquet(folder / "statistics.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        with np.load(folder / "statistics.npz", allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        return cls(**{**held, "timed": bool(held["timed"])}, items=pl.read_parquet(folder / "statistics.parquet"))

    @cached_property
    def _users(self) -> NDArray[np.int32]:
        return np.unique(self.user)

    @cached_property
    def _categories(self) -> Categories:
        return Categories.of(self.items)

    @cached_property
    def _order(self) -> Places:
        """Pairs by time; ties by content, so that the order of rows tells nothing."""
        return np.lexsort((self.item, self.user, self.moment))

    @cached_property
    def _rank(self) -> NDArray[np.int64]:
        """What limits are about: the place in time order, or the moment of the user."""
        if not self.timed:
            return self.moment
        rank = np.empty(len(self), np.int64)
        rank[self._order] = np.arange(len(self))
        return rank

    @property
    def _end(self) -> int:
        """A limit behind everything."""
        return int(self._rank.max(initial=-1)) + 1

    def _view_of(self, pairs: NDArray[np.integer]) -> Places:
        if not self.timed:
            return _fold(self.user[pairs])
        earlier = np.searchsorted(self.moment[self._order], self.moment[pairs], side="left")
        return np.searchsorted(self._views.sizes[:-1], earlier, side="right") - 1

    @cached_property
    def _views(self) -> _Views:
        if self.timed:
            sizes, size = [0], _FIRST
            while size < len(self):
                sizes.append(size)
                size = int(np.ceil(size * _GROWTH))
            sizes.append(len(self))
            known = [self._order[:size] for size in sizes]
        else:
            fold = _fold(self.user)
            known = [np.flatnonzero(fold != view) for view in range(_FOLDS)] + [np.arange(len(self))]
            sizes = [len(pairs) for pairs in known]
        return _Views.of(self, known, sizes)

    @cached_property
    def _by_user(self) -> Ledger:
        rated = np.flatnonzero(np.isfinite(self.label))
        return Ledger.of(positions(self._users, self.user[rated]), self._rank[rated], self.label[rated], self._end)

    @cached_property
    def _by_category(self) -> Ledger:
        rated = np.flatnonzero(np.isfinite(self.label))
        group, of = self._cells(rated)
        return Ledger.of(group, self._rank[rated][of], self.label[rated][of], self._end)

    @cached_property
    def _shelved(self) -> Ragged:
        """Categories of each training item."""
        member = self._categories.shelve(self.items).member
        return Ragged.from_lengths(member.sum(axis=1), np.nonzero(member)[1])

    def _cells(self, pairs: Places) -> tuple[Places, Places]:
        """A group number of user and category for every category of every pair's item, and the place in ``pairs``."""
        listed = self._shelved.take(positions(self.items["item"].to_numpy(), self.item[pairs]))
        of = listed.row_of
        who = positions(self._users, self.user[pairs])[of]
        return who * max(len(self._categories.names), 1) + listed.values, of

    def _leaning(self, who: Places, limit: Places, view: Places) -> Bands:
        count, total = self._by_user.until(who, limit)
        return banded(smooth(total, count, self._views.means[view]), count, self._views.leaning[view])

    def _liking(self, who: Places, category: Places, limit: Places, view: Places) -> Bands:
        count, total = self._by_user.until(who, limit)
        mean = smooth(total, count, self._views.means[view])
        group = np.where((who >= 0) & (category >= 0), who * max(len(self._categories.names), 1) + category, -1)
        count, total = self._by_category.until(group, limit)
        return banded(smooth(total, count, mean) - mean, count, self._views.liking[view])


@dataclass(frozen=True, eq=False)
class _Views:
    """Item bands and thresholds of every view, the last of which holds all pairs.

    Attributes
    ----------
    sizes : ndarray of int64, shape (views,)
    means : ndarray of float64, shape (views,)
        Mean label.
    popularity, reception : ndarray of int8, shape (views, items)
    leaning, liking : ndarray of float64, shape (views, bands - 1)
        NaN where there is nothing to tell apart.
    """

    sizes: Places
    means: Floats
    popularity: Bands
    reception: Bands
    leaning: Floats
    liking: Floats

    @classmethod
    def of(cls, held: Statistics, known: list[Places], sizes: list[int]) -> Self:
        items = held.items["item"].to_numpy()
        place, who = positions(items, held.item), positions(held._users, held.user)
        rows = []
        for pairs in known:
            clicks = np.bincount(place[pairs][held.click[pairs]], minlength=len(items))
            popularity = np.zeros(len(items), np.int8)
            if clicks.any():
                cuts = np.quantile(clicks[clicks > 0], _POPULAR)
                popularity = np.where(clicks > 0, 1 + (clicks[:, None] > cuts).sum(axis=1), 0).astype(np.int8)
            rated = pairs[np.isfinite(held.label[pairs])]
            label = held.label[rated].astype(np.float64)
            mean = label.sum() / len(label) if len(label) else 0.0
            count = np.bincount(place[rated], minlength=len(items))
            means = smooth(np.bincount(place[rated], weights=label, minlength=len(items)), count, mean)
            reception = banded(means, count, cuts_at(means, count, _FIFTHS))
            count = np.bincount(who[rated], minlength=len(held._users))
            of_user = smooth(np.bincount(who[rated], weights=label, minlength=len(held._users)), count, mean)
            leaning = cuts_at(of_user, count, _FIFTHS)
            group, of = held._cells(rated)
            cells, cell, count = np.unique(group, return_inverse=True, return_counts=True)
            total = np.bincount(cell, weights=label[of], minlength=len(cells))
            usual = of_user[cells // max(len(held._categories.names), 1)]
            liking = cuts_at(smooth(total, count, usual) - usual, count, _QUARTERS)
            rows.append((mean, popularity, reception, leaning, liking))
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        return cls(np.array(sizes), *columns)


def _looked_up(table: NDArray, place: Places, missing: int, view: Places | None = None) -> NDArray:
    """``table[place]`` or ``table[view, place]``, and ``missing`` where the place is -1."""
    found = np.full(len(place), missing, table.dtype)
    known = place >= 0
    found[known] = table[place[known]] if view is None else table[view[known], place[known]]
    return found


def _fold(user: NDArray[np.integer]) -> Places:
    return (mix64(user.astype(np.uint64)) % np.uint64(_FOLDS)).astype(np.int64)
