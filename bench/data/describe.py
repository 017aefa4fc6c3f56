"""The figures a person wants to see before trusting a data set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.dataset import Dataset
from bench.data.hashing import mix64, stable_hash64
from bench.data.histogram import length_histogram, time_histogram
from bench.data.reviews import Reviews
from bench.data.ties import DAY_S, tie_statistics
from bench.errors import DataError, MissingInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe"]

_EARLIER = 0.8  # of the events, before the global cut
_REVIEWS = 20_000  # read at most, for the figures on texts
_SEED = 0
_ITEM_TEXTS = {
    "a title": "title",
    "categories": "categories",
    "a brand": "brand",
    "a price": "price",
    "a description": "description",
}

Row = tuple[str, str]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]


def describe(dataset: Dataset) -> pd.DataFrame:
    """Summarise a data set.

    Returns
    -------
    pandas.DataFrame
        Columns ``figure`` and ``value``, both text, in the order of reading. A histogram is one value of several lines.
    """
    import pandas as pd

    rows = [
        *_size(dataset),
        *_origin(dataset),
        *_ratings(dataset),
        *_times(dataset),
        *_cold(dataset),
        *_item_texts(dataset),
        *_review_texts(dataset.reviews),
    ]
    return pd.DataFrame(rows, columns=["figure", "value"])


def _size(dataset: Dataset) -> Iterator[Row]:
    events = dataset.events
    histories, popularity = np.bincount(events.user), np.bincount(events.item)
    yield "users", f"{len(histories):,}"
    yield "items", f"{dataset.items.height:,}"
    yield "interactions", f"{len(events.user):,}"
    yield "density", f"{len(events.user) / (len(histories) * dataset.items.height):.3%}"
    for figure, lengths in (("history length", histories), ("events per item", popularity)):
        spread = f"min {lengths.min()}, median {np.median(lengths):g}, mean {lengths.mean():.1f}, max {lengths.max()}"
        yield figure, spread
    yield "users by history length", "\n".join(length_histogram(histories))


def _origin(dataset: Dataset) -> Iterator[Row]:
    """What was dropped, why, and what each filter left."""
    for reason, count in dataset.dropped.items():
        yield f"dropped: {reason}", f"{count:,}"
    for step in dataset.steps:
        left = step.counts
        counts = f"{left.users:,} users, {left.items:,} items, {left.interactions:,} interactions"
        yield f"after {step.name}", f"{counts} ({step.dropped:,} dropped)"
    events = dataset.events
    pairs = pl.Series(events.user.astype(np.int64) * dataset.items.height + events.item).n_unique()
    if pairs < len(events.user):
        yield "events that repeat a user-item pair", f"{len(events.user) - pairs:,} (kept)"


def _ratings(dataset: Dataset) -> Iterator[Row]:
    ratings = dataset.events.rest["rating"].drop_nulls().to_numpy()
    if not len(ratings):
        yield "ratings", "none"
        return
    values, counts = np.unique(ratings, return_counts=True)
    shares = (f"{value:g}: {count / len(ratings):.1%}" for value, count in zip(values, counts, strict=True))
    yield "ratings", ", ".join(shares) if len(values) <= 20 else f"{values[0]:g} to {values[-1]:g}"
    yield "mean rating", f"{ratings.mean(dtype=np.float64):.2f}"


def _times(dataset: Dataset) -> Iterator[Row]:
    ties = tie_statistics(dataset.events)
    days = tie_statistics(dataset.events, within_s=DAY_S)
    if ties is None or days is None:
        yield "times", "none: only the order of each user's events is known"
        return
    times = dataset.events.rest["time"].to_numpy()
    yield "first event", _date(times.min())
    yield "last event", _date(times.max())
    yield "events by time", "\n".join(time_histogram(times))
    yield "users whose last two events are tied", f"{ties.users_last_two:.1%}"
    yield "users whose last two events are on one day (UTC)", f"{days.users_last_two:.1%}"
    yield "events tied with another of their user", f"{ties.events:.1%}"
    yield "events on one day with another of their user (UTC)", f"{days.events:.1%}"


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s (outside the calendar: are these seconds?)"


def _cold(dataset: Dataset) -> Iterator[Row]:
    """How often a test event meets an item or a user that training does not hold."""
    events = dataset.events
    # Leave-one-out: the last event of every user with three or more; ties in time fall as the table has them.
    lengths = np.bincount(events.user)
    last = np.cumsum(lengths)[lengths >= 3] - 1
    if len(last):
        trained = np.ones(len(events.user), bool)
        trained[last] = trained[last - 1] = False
        unseen = ~_among(events.item[last], events.item[trained], dataset.items.height)
        shares = f"{unseen.mean():.2%} ({unseen.sum():,} of {len(last):,})"
        yield "leave-one-out test events of an unseen item", shares
    if dataset.order != "time":
        return
    times = dataset.events.rest["time"].to_numpy()
    # Events of one second are never parted: all of the cut's second are later.
    cut = np.partition(times, place := int(_EARLIER * len(times)))[place]
    later = times >= cut
    if later.all():
        return
    yield "global cut in time", f"{_date(cut)}, {later.mean():.1%} of the events are later"
    user = ~_among(events.user[later], events.user[~later], len(lengths))
    item = ~_among(events.item[later], events.item[~later], dataset.items.height)
    for which, mask in (("an unseen user", user), ("an unseen item", item), ("either", user | item)):
        yield f"later events of {which}", f"{mask.mean():.1%}"


def _among(codes: Codes, known: Codes, size: int) -> Mask:
    held = np.zeros(size, bool)
    held[known] = True
    return held[codes]


def _item_texts(dataset: Dataset) -> Iterator[Row]:
    items = dataset.items
    for figure, column in _ITEM_TEXTS.items():
        share = 1 - items[column].null_count() / items.height if column in items.columns else 0.0
        yield f"items with {figure}", f"{share:.1%}"
    names = items["categories"].drop_nulls().explode().drop_nulls()
    yield "distinct categories", f"{names.n_unique() if len(names) else 0:,}"


def _review_texts(reviews: Reviews | None) -> Iterator[Row]:
    if reviews is None:
        yield "reviews", "none"
        return
    chosen = np.argsort(mix64(_SEED, np.arange(len(reviews))), kind="stable")[:_REVIEWS]
    texts = reviews.take(np.sort(chosen)).frame()
    whole = texts.height == len(reviews)
    yield "reviews read for what follows", "all" if whole else f"{texts.height:,} drawn of {len(reviews):,}"
    for figure, column in (("a review text", "text"), ("a headline", "headline"), ("a reviewer's name", "reviewer")):
        if column not in reviews.columns:
            continue
        held = texts[column].filter(texts[column].str.contains(r"\S"))
        yield f"events with {figure}", f"{len(held) / texts.height:.1%}"
        if column != "reviewer" and len(held):
            words = held.str.count_matches(r"\S+").to_numpy().mean()
            yield f"words in {figure}", f"{words:.1f} on average"
    if "text" in reviews.columns:
        yield from _triples(texts["text"])


def _triples(texts: pl.Series) -> Iterator[Row]:
    """What the recipe of triples yields on reviews that it did not learn from: halves drawn by a hash of the text."""
    from bench.data.triples import RECIPE, Extractor

    half = stable_hash64(texts.fill_null("")) % np.uint64(2) == 0
    try:
        report = Extractor.learn(texts.filter(pl.Series(half)), _SEED).yield_report(texts.filter(pl.Series(~half)))
    except (DataError, MissingInputError) as error:
        yield "triples", f"none: {error}"
        return
    yield "triples: recipe", f"{RECIPE['name']} {RECIPE['version']}: YAKE's keywords, VADER's lexicon, clause rules"
    yield "triples: measured on", f"{report['reviews']:,} reviews, learned on {int(half.sum()):,} others"
    yield "reviews with a triple", f"{report['with_triple']:.1%}"
    yield "triples per review", f"{report['triples_per_review']:.2f}"
    yield "features known", f"{report['vocabulary']:,}"
    yield "positive triples", f"{report['positive']:.1%}"
    yield "most frequent features", ", ".join(f"{feature} {count:,}" for feature, count in report["top_features"])
