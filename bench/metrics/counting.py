"""From scores, or from lists, to counts: how many candidates stand above and beside the one relevant item.

This is the only place where a model's output meets an answer. Every rank metric follows from the counts (see
:mod:`bench.metrics.ranking`), so they are what the store keeps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged

__all__ = ["DEPTH", "Counts", "count_lists", "count_scores"]

DEPTH = 100
"""How many of the best items are kept per request."""


@dataclass(frozen=True, eq=False)
class Counts:
    """What the scorer keeps of a block of requests.

    Attributes
    ----------
    above, tied : ndarray of int32, shape (requests,)
        Candidates scored above, and exactly as, the relevant item (itself not counted). Zero where unserved.
    candidates : ndarray of int32, shape (requests,)
        Size of the candidate set after masking.
    served : ndarray of bool, shape (requests,)
        Whether the model could place the relevant item at all.
    top : Ragged
        Best items, at most ``DEPTH`` a request; equal scores in order of item code.
    top_scores : ndarray of float32, shape (len(top.values),)
    """

    above: NDArray[np.int32]
    tied: NDArray[np.int32]
    candidates: NDArray[np.int32]
    served: NDArray[np.bool_]
    top: Ragged
    top_scores: NDArray[np.float32]

    def columns(self) -> dict[str, NDArray[Any]]:
        """What a store keeps of each request, beside the lists."""
        return {"above": self.above, "tied": self.tied, "candidates": self.candidates, "served": self.served}

    @classmethod
    def concatenate(cls, blocks: Iterable[Counts]) -> Self:
        """Join blocks of consecutive requests."""
        parts = list(blocks)
        top = Ragged.from_lengths(
            np.concatenate([part.top.lengths for part in parts]), np.concatenate([part.top.values for part in parts])
        )
        return cls(
            np.concatenate([part.above for part in parts]),
            np.concatenate([part.tied for part in parts]),
            np.concatenate([part.candidates for part in parts]),
            np.concatenate([part.served for part in parts]),
            top,
            np.concatenate([part.top_scores for part in parts]),
        )


def _columns(items: NDArray[np.int32], wanted: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of ``wanted`` in the sorted ``items``, and whether each is there."""
    position = np.searchsorted(items, wanted)
    found = position < len(items)
    found[found] = items[position[found]] == wanted[found]
    return position, found


def _candidate_counts(items: NDArray[np.int32], exclude: Ragged) -> NDArray[np.int32]:
    _, inside = _columns(items, exclude.values)
    masked = np.bincount(exclude.row_of[inside], minlength=len(exclude))
    return (len(items) - masked).astype(np.int32)


def count_scores(
    scores: NDArray[np.float32],
    items: NDArray[np.int32],
    answer: NDArray[np.int32],
    exclude: Ragged,
    *,
    depth: int = DEPTH,
    sampled: Ragged | None = None,
) -> Counts:
    """Count ranks in a block of scores.

    Parameters
    ----------
    scores : ndarray of float32, shape (requests, candidates)
        NaN where the model cannot score; masked here, in place.
    items : ndarray of int32, shape (candidates,)
        Codes of the columns, strictly increasing.
    answer : ndarray of int32, shape (requests,)
        The relevant item; must be among ``items`` and not excluded.
    exclude : Ragged
        Distinct items that are not candidates, per request.
    depth : int
        How many best items to keep (0: none).
    sampled : Ragged, optional
        Where only a draw is ranked: the items in it, per request.

    Raises
    ------
    ValueError
        When the block has the wrong shape, or holds an infinite score.
    """
    rows = len(answer)
    if scores.shape != (rows, len(items)):
        raise ValueError(f"expected scores of shape {(rows, len(items))}, got {scores.shape}")
    target, found = _columns(items, answer)
    if not found.all():
        raise ValueError("an answer is not among the candidates")
    column, inside = _columns(items, exclude.values)
    scores[exclude.row_of[inside], column[inside]] = np.nan
    if sampled is not None:
        scores = _only(scores, items, sampled)
    if np.isinf(scores).any():
        raise ValueError("the model gave an infinite score")
    own = scores[np.arange(rows), target][:, None]
    served = ~np.isnan(own[:, 0])
    # Comparisons with NaN are false: masked and unscored candidates stand nowhere.
    above = np.count_nonzero(scores > own, axis=1)
    tied = np.maximum(np.count_nonzero(scores == own, axis=1) - 1, 0)
    top, top_scores = _top(scores, items, depth)
    return Counts(
        above.astype(np.int32),
        tied.astype(np.int32),
        _candidate_counts(items, exclude) if sampled is None else sampled.lengths.astype(np.int32),
        served,
        top,
        top_scores,
    )


def _only(scores: NDArray[np.float32], items: NDArray[np.int32], sampled: Ragged) -> NDArray[np.float32]:
    """Keep the scores of the items drawn; all others become NaN."""
    column, inside = _columns(items, sampled.values)
    if not inside.all():
        raise ValueError("a drawn item is not in the catalogue")
    kept = np.full_like(scores, np.nan)
    kept[sampled.row_of, column] = scores[sampled.row_of, column]
    return kept


def _top(scores: NDArray[np.float32], items: NDArray[np.int32], depth: int) -> tuple[Ragged, NDArray[np.float32]]:
    depth = min(depth, scores.shape[1])
    if depth == 0:
        return Ragged.empty(len(scores)), np.empty(0, np.float32)
    # Negated, NaN sorts last; the stable second sort leaves equal scores in order of item code.
    order = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
    best = np.take_along_axis(scores, order, axis=1)
    within = np.argsort(-best, axis=1, kind="stable")
    order, best = np.take_along_axis(order, within, axis=1), np.take_along_axis(best, within, axis=1)
    real = ~np.isnan(best)
    return Ragged.from_lengths(real.sum(axis=1), items[order[real]]), best[real]


def count_lists(
    lists: Ragged,
    scores: NDArray[np.float32],
    served: NDArray[np.bool_],
    items: NDArray[np.int32],
    answer: NDArray[np.int32],
    exclude: Ragged,
    *,
    sampled: Ragged | None = None,
) -> Counts:
    """Count ranks in ordered lists; an answer that is not listed stands below every other candidate.

    Raises
    ------
    ValueError
        When a list repeats an item, or holds one that is excluded, not in the catalogue, or not in the draw.
    """
    if len(lists) != len(answer) or len(scores) != len(lists.values) or len(served) != len(answer):
        raise ValueError("the lists do not match the requests")
    row = lists.row_of
    _, known = _columns(items, lists.values)
    if not known.all():
        raise ValueError("a list holds an item that is not in the catalogue")
    # What is masked need not be a candidate, so its code may be larger than theirs.
    width = max(int(items[-1]), int(exclude.values.max(initial=0))) + 1
    key = row * width + lists.values
    if len(np.unique(key)) != len(key):
        raise ValueError("a list holds an item twice")
    if np.isin(key, exclude.row_of * width + exclude.values).any():
        raise ValueError("a list holds an item that was excluded")
    if sampled is not None and not np.isin(key, sampled.row_of * width + sampled.values).all():
        raise ValueError("a list holds an item that was not drawn")
    candidates = _candidate_counts(items, exclude) if sampled is None else sampled.lengths.astype(np.int32)
    place = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
    hit = lists.values == answer[row]
    above = candidates - 1
    above[row[hit]] = place[hit]
    above[~served] = 0
    keep = place < DEPTH
    return Counts(
        above.astype(np.int32),
        np.zeros(len(answer), np.int32),
        candidates,
        served,
        lists.keep(keep),
        scores[keep],
    )
