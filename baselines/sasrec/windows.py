"""Training windows and batches: which stretch of whose sequence is read when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged

__all__ = ["Windows", "batches", "cut", "right_padded"]


@dataclass(frozen=True)
class Windows:
    """Stretches of a flat array of items.

    Attributes
    ----------
    start, length : ndarray of int64, shape (windows,)
        Window w reads ``values[start[w] : start[w] + length[w]]`` and has to name, at each place, the value that
        follows. Together the windows of a sequence name every item but its first exactly once.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> Windows:
        """Select windows by position."""
        return Windows(self.start[rows], self.length[rows])


def cut(sequences: Ragged, max_length: int, rng: np.random.Generator) -> Windows:
    """Cut every sequence into windows of at most ``max_length``; sequences of one item give none.

    A sequence that is too long for one window has its first window shortened by a random amount, so that the borders,
    behind which a window has forgotten what came before, fall elsewhere in every epoch.
    """
    wanted = np.maximum(sequences.lengths - 1, 0)
    first = np.where(wanted > max_length, rng.integers(1, max_length + 1, len(wanted)), wanted)
    count = np.where(wanted > 0, 1 + -(-(wanted - first) // max_length), 0)
    row = np.repeat(np.arange(len(wanted)), count)
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = np.where(nth == 0, 0, first[row] + (nth - 1) * max_length)
    end = np.minimum(first[row] + nth * max_length, wanted[row])
    return Windows(sequences.offsets[row] + begin, end - begin)


def batches(windows: Windows, targets: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Deal the windows into batches of about ``targets`` places, windows of like length together, in random order.

    Windows are sorted by their length times a random factor: lengths in a batch are alike, so little is padding,
    yet no two epochs deal the same batches.

    Returns
    -------
    list of ndarray of int64
        Window numbers, each window in exactly one batch; a batch exceeds ``targets`` by less than one window.
    """
    order = np.argsort(windows.length * rng.uniform(0.75, 1.25, len(windows.length)), kind="stable")
    before = np.cumsum(windows.length[order]) - windows.length[order]
    borders = np.flatnonzero(np.diff(before // targets)) + 1
    dealt = np.split(order, borders)
    return [dealt[position] for position in rng.permutation(len(dealt))]


def right_padded(values: NDArray[np.integer], windows: Windows) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Lay windows of ``values`` out as a rectangle, filled up on the right with 0.

    Returns
    -------
    rectangle : ndarray of int64, shape (windows, longest)
    real : ndarray of bool, shape (windows, longest)
        Which places are real.
    """
    place = np.arange(windows.length.max(initial=0))
    real = place < windows.length[:, None]
    rectangle = np.zeros(real.shape, np.int64)
    rectangle[real] = values[(windows.start[:, None] + place)[real]]
    return rectangle, real
