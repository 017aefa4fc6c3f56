"""k-means by Lloyd's rounds from k-means++ centres; the same seed gives the same clusters. Imports scipy.

scikit-learn's adds up partial sums in the order in which threads end, so that its last bits, and with them an id, may
differ from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["kmeans", "nearest_centre"]

Floats = NDArray[np.float32]

#: Points whose distances to all centres are held at once.
BLOCK = 1 << 15


def kmeans(points: Floats, clusters: int, *, seed: int, tries: int = 1, rounds: int = 50) -> Floats:
    """Find centres.

    Parameters
    ----------
    points : ndarray of float32, shape (points, width)
    clusters : int
        No more than there are points.
    seed : int
    tries : int
        Starts; the one with the smallest sum of squared distances is kept.
    rounds : int
        The most rounds of a start; it ends before where no point changes its cluster.

    Returns
    -------
    ndarray of float32, shape (clusters, width)
    """
    if clusters > len(points):
        raise ValueError(f"{clusters} clusters of {len(points)} points")
    generator = np.random.default_rng([seed, clusters])
    best, smallest = points[:clusters], np.inf
    for _ in range(tries):
        centres, cost = _lloyd(points, _plus_plus(points, clusters, generator), rounds)
        if cost < smallest:
            best, smallest = centres, cost
    return best


def nearest_centre(points: Floats, centres: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The nearest centre of each point (the first of equals), and the squared distance to it, shape (points,) each."""
    label = np.empty(len(points), np.int64)
    distance = np.empty(len(points), np.float32)
    for block, squared in _distances(points, centres):
        label[block] = squared.argmin(axis=1)
        distance[block] = np.take_along_axis(squared, label[block, None], axis=1)[:, 0]
    return label, distance


def _distances(points: Floats, centres: Floats) -> Iterator[tuple[slice, Floats]]:
    own = np.einsum("ij,ij->i", centres, centres)
    for start in range(0, len(points), BLOCK):
        block = slice(start, min(start + BLOCK, len(points)))
        part = points[block]
        squared = own - 2 * (part @ centres.T) + np.einsum("ij,ij->i", part, part)[:, None]
        yield block, np.maximum(squared, 0)


def _plus_plus(points: Floats, clusters: int, generator: np.random.Generator) -> Floats:
    """Draw centres far from one another: greedy k-means++ (Arthur & Vassilvitskii 2007)."""
    candidates = 2 + int(np.log(clusters))
    chosen = [int(generator.integers(len(points)))]
    distance = nearest_centre(points, points[chosen])[1]
    while len(chosen) < clusters:
        total = np.cumsum(distance, dtype=np.float64)
        if total[-1] > 0:
            drawn = np.searchsorted(total, generator.random(candidates) * total[-1]).clip(max=len(points) - 1)
        else:
            drawn = generator.integers(len(points), size=1)
        after = np.concatenate([squared for _, squared in _distances(points, points[drawn])])
        after = np.minimum(after, distance[:, None])
        best = int(after.sum(axis=0, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        distance = np.ascontiguousarray(after[:, best])
    return points[chosen].copy()


def _lloyd(points: Floats, centres: Floats, rounds: int) -> tuple[Floats, float]:
    """Move centres until nothing changes; one that lost all its points goes where points are farthest from theirs."""
    last = np.full(len(points), -1)
    for _ in range(rounds):
        label, distance = nearest_centre(points, centres)
        if (label == last).all():
            break
        last = label
        member = csr_array(
            (np.ones(len(points), np.float32), label, np.arange(len(points) + 1)), shape=(len(points), len(centres))
        )
        size = np.bincount(label, minlength=len(centres))
        centres = np.asarray(member.T @ points, np.float32) / np.maximum(size, 1)[:, None].astype(np.float32)
        if (size == 0).any():
            empty = np.flatnonzero(size == 0)
            centres[empty] = points[np.argsort(-distance, kind="stable")[: len(empty)]]
    return centres, float(nearest_centre(points, centres)[1].sum(dtype=np.float64))
