"""A split in figures: what a person checks before using it."""

from __future__ import annotations

import numpy as np

from bench.splits.exchange.made import name_of
from bench.splits.split import HeldOut, Split

__all__ = ["HEADERS", "describe_sets", "describe_training"]

HEADERS = ("set", "requests", "users", "items", "unseen items", "history", "masked", "candidates")
"""Columns of :func:`describe_sets`."""


def describe_training(split: Split) -> str:
    """Say in one line what is learned from."""
    training = split.training
    events = len(training.sequences.values)
    text = f"{events:,} events of {len(training.user):,} users with {len(training.item):,} items"
    if training.pairs is not None:
        text += f", and {len(training.pairs):,} labelled pairs ({training.pairs.kind})"
    return text


def describe_sets(split: Split) -> list[list[str]]:
    """One row a held-out set, in the order of ``HEADERS``.

    ``unseen items`` are requests whose answer occurs nowhere in training; ``history`` and ``masked`` are means.
    """
    rows = [_ranking(split, held) for held in split.held_out]
    for asked in split.pairs:
        pairs = asked.pairs
        counts = _counts(split, pairs.user, pairs.item)
        rows.append([name_of(asked), *counts, f"{pairs.history.lengths.mean():.1f}", "", ""])
    return rows


def _ranking(split: Split, held: HeldOut) -> list[str]:
    ranked = f"{len(held.candidates):,}" if held.sampled is None else f"{held.sampled.lengths.mean():.1f} drawn"
    return [
        name_of(held),
        *_counts(split, held.user, held.item),
        f"{held.history.lengths.mean():.1f}",
        f"{held.exclude.lengths.mean():.1f}",
        ranked,
    ]


def _counts(split: Split, user: np.ndarray, item: np.ndarray) -> list[str]:
    unseen = np.count_nonzero(~np.isin(item, split.training.item))
    return [f"{count:,}" for count in (len(user), len(np.unique(user)), len(np.unique(item)), unseen)]
