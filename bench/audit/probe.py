"""The id+1 probe: how far a rule gets that knows nothing but the numbers items were given.

P5 numbered items in order of first appearance while it walked each user's whole sequence, held-out events included, so
that what a user meets next is often the largest number so far plus one. The rule ranks max(history) + 1, then each
number of the history plus one from the latest back, then max + 2, max + 3... A numbering under which it scores tells a
model that reads ids as text what was held out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged, ranges
from bench.metrics.counting import DEPTH, Counts, count_lists
from bench.tasks import Answers, RequestSet

__all__ = ["next_number"]


def next_number(number: NDArray[np.integer], asked: RequestSet, *, depth: int = DEPTH) -> Counts:
    """Rank by the id+1 rule and count.

    Parameters
    ----------
    number : ndarray of int, shape (items,)
        The number of each item code, all different; negative where an item has none.
    asked : RequestSet
        Requests that show a history; what the split masks is masked here too.
    depth : int
        Length of the lists; an answer that is not listed is a miss.

    Returns
    -------
    Counts
        Requests without a numbered item in their history are unserved.

    Raises
    ------
    ValueError
        When two items share a number, or the requests show no history.
    """
    answers, history = asked.answers, asked.requests.history
    if history is None or not isinstance(answers, Answers):
        raise ValueError(f"the id+1 probe ranks from a history, and {asked.name} shows none")
    if asked.requests.candidates is not None:
        raise ValueError(f"the id+1 probe ranks whole catalogues, and {asked.name} has a draw")
    items = asked.requests.catalogue.items
    seen = history.keep(number[history.values] >= 0)
    # As many further numbers as a list is long, once what is masked has been taken out of them.
    further = np.where(seen.lengths > 0, depth + answers.exclude.lengths, 0)
    lists = _first_distinct(*_proposals(seen, number, items, further), items, answers.exclude, depth)
    place = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
    return count_lists(lists, -place.astype(np.float32), seen.lengths > 0, items, answers.item, answers.exclude)


def _proposals(
    seen: Ragged, number: NDArray[np.integer], items: NDArray[np.int32], further: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and items in the order the rule proposes them; -1 where no item has the number."""
    known = np.flatnonzero(number >= 0)
    item_of = np.full(int(number.max(initial=0)) + 2, -1, np.int64)
    item_of[number[known]] = known
    if np.count_nonzero(item_of >= 0) < len(known):
        raise ValueError("two items share a number")
    shown, lengths = number[seen.values].astype(np.int64), seen.lengths
    rows = np.flatnonzero(lengths)
    largest = np.zeros(len(seen), np.int64)
    if len(rows):
        largest[rows] = np.maximum.reduceat(shown, seen.offsets[rows])
    within = np.arange(len(shown)) - np.repeat(seen.offsets[:-1], lengths)
    # What comes after the largest number, of the candidates alone.
    behind = items[number[items] >= 0].astype(np.int64)
    behind = behind[np.argsort(number[behind])]
    start = np.searchsorted(number[behind], largest + 1, side="right")
    further = np.minimum(further, len(behind) - start)
    step = ranges(np.zeros(len(seen), np.int64), further)
    # Places: the largest number plus one, then the history backwards, then the rest.
    row = np.concatenate([rows, seen.row_of, np.repeat(np.arange(len(seen)), further)])
    place = np.concatenate(
        [np.zeros(len(rows), np.int64), lengths[seen.row_of] - within, 1 + lengths.max(initial=0) + step]
    )
    item = np.concatenate([item_of[largest[rows] + 1], item_of[shown + 1], behind[np.repeat(start, further) + step]])
    order = np.lexsort((place, row))
    return row[order], item[order]


def _first_distinct(
    row: NDArray[np.int64],
    item: NDArray[np.int64],
    items: NDArray[np.int32],
    exclude: Ragged,
    depth: int,
) -> Ragged:
    """Keep of each row the first ``depth`` distinct proposals that are candidates."""
    width = int(max(items.max(initial=0), item.max(initial=0), exclude.values.max(initial=0))) + 1
    open_ = np.isin(item, items) & ~np.isin(row * width + item, exclude.row_of * width + exclude.values)
    row, item = row[open_], item[open_]
    once = np.sort(np.unique(row * width + item, return_index=True)[1])
    row, item = row[once], item[once]
    lengths = np.bincount(row, minlength=len(exclude))
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = place < depth
    return Ragged.from_lengths(np.minimum(lengths, depth), item[kept])
