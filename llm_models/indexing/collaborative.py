"""Ids from clusters of the co-occurrence graph: items that the same users met share the beginning of their ids.

Hua et al. 2023, "How to index item IDs for recommendation foundation models". Imports scipy: import it inside a method.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.sparse import csr_array

from bench.models import Training
from llm_models.indexing.codes import CodeWriter
from llm_models.indexing.ids import IdIndex
from llm_models.indexing.spectral import cluster_paths

__all__ = ["collaborative_ids"]


def collaborative_ids(training: Training, *, seed: int, clusters: int = 20, leaf: int = 100) -> IdIndex:
    """Name every training item by the clusters it is in, from the widest down, and a number within the last.

    A word is ``a_3b_17n_42``: part 3 of the first cut, part 17 of the cut of that, item 42 of what was not cut again.

    Parameters
    ----------
    training : Training
        Two items are joined as often as a user met both in training.
    seed : int
        Of the clustering; and the numbers within a last cluster are random.
    clusters : int
        The most parts of one cut.
    leaf : int
        The most items of a cluster that is not cut again.
    """
    code = training.item
    user, met = training.sequences.row_of, np.searchsorted(code, training.sequences.values)
    pairs = np.unique(user * len(code) + met)
    shape = (len(training.sequences), len(code))
    graph = csr_array((np.ones(len(pairs)), (pairs // len(code), pairs % len(code))), shape=shape)
    paths = cluster_paths(graph, clusters=clusters, leaf=leaf, seed=seed)
    number = np.empty(len(code), np.int64)
    sizes: Counter[tuple[int, ...]] = Counter()
    for item in np.random.default_rng([seed, 2]).permutation(len(code)).tolist():
        number[item] = sizes[paths[item]]
        sizes[paths[item]] += 1
    writer = CodeWriter.of_paths(paths, last=max(sizes.values(), default=1))
    words = tuple(writer.write(path, last) for path, last in zip(paths, number.tolist(), strict=True))
    notes = {
        "leaves": len(sizes),
        "largest_leaf": max(sizes.values(), default=0),
        "depth": max(map(len, sizes), default=0),
    }
    return IdIndex(code, words, kind="collaborative", symbols=writer.symbols, notes=notes)
