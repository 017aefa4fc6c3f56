"""Spectral clustering of a co-occurrence graph that is never written down. Imports scipy.

Items are joined by as many edges as there are users who met both. With ``X`` (users x items, 0 or 1) that graph is
``XᵀX`` without its diagonal; eigenvectors need only products with it, which ``X`` gives in memory that grows with the
events, however long the longest history is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import LinearOperator, eigsh

from llm_models.indexing.kmeans import kmeans, nearest_centre

__all__ = ["cluster_paths", "spectral_clusters"]

#: Up to so many items the eigenvectors of the whole matrix are cheaper than iterations.
DENSE = 500
#: Cuts below one another before what is left is dealt out at random (peeling would otherwise go on for long).
DEPTH = 6
STARTS = 3


def cluster_paths(met: csr_array, *, clusters: int, leaf: int, seed: int) -> list[tuple[int, ...]]:
    """Cut items into clusters, and those again until none has more than ``leaf`` items.

    A cluster of n items is cut into ``min(clusters, 4n / leaf)`` parts: parts differ much in size, and fewer of them
    would need many cuts below one another.

    Parameters
    ----------
    met : csr_array of shape (users, items)
        1 where the user met the item.
    clusters : int
        The most parts of one cut; at least 2.
    leaf : int
        At least 1.
    seed : int

    Returns
    -------
    list of tuple of int
        Per item the numbers of its clusters from the top; empty where all items fit into one leaf.
    """
    columns = met.tocsc()
    paths: list[tuple[int, ...]] = [()] * columns.shape[1]
    open_ = [(np.arange(columns.shape[1]), ())]
    cuts = 0
    while open_:
        members, path = open_.pop()
        if len(members) <= leaf:
            continue
        cuts += 1
        parts = min(clusters, max(2, -(-4 * len(members) // leaf)), len(members))
        label = np.zeros(len(members), np.int64)
        if len(path) < DEPTH:
            label = spectral_clusters(csc_array(columns[:, members]), clusters=parts, seed=seed)
        if len(np.unique(label)) < 2:
            label = np.random.default_rng([seed, cuts]).permutation(len(members)) % parts
        for number, one in enumerate(np.unique(label).tolist()):
            inside = members[label == one]
            for item in inside.tolist():
                paths[item] = (*path, number)
            open_.append((inside, (*path, number)))
    return paths


def spectral_clusters(met: csr_array | csc_array, *, clusters: int, seed: int) -> NDArray[np.int64]:
    """Cluster items by who met them (Ng, Jordan & Weiss 2002), regularised.

    Every pair of items is joined by an edge of weight mean degree / items (Amini, Chen, Bickel & Levina 2013): without
    it the clusters of a sparse graph are its loose ends, and one that holds the rest.

    Parameters
    ----------
    met : sparse array of shape (users, items)
    clusters : int
        At least 2, at most the number of items.
    seed : int

    Returns
    -------
    ndarray of int64, shape (items,)
        All 0 where no two items were met by one user.
    """
    seen = csr_array(met, dtype=np.float64)
    seen = seen[np.diff(seen.indptr) > 1]
    count = seen.shape[1]
    popularity = np.asarray(seen.sum(axis=0)).ravel()
    degree = seen.T @ np.asarray(seen.sum(axis=1)).ravel() - popularity
    if not degree.any():
        return np.zeros(count, np.int64)
    everywhere = degree.mean() / count
    scale = 1 / np.sqrt(degree + degree.mean())

    def product(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = scale * vectors.ravel()
        joined = seen.T @ (seen @ scaled) - popularity * scaled + everywhere * scaled.sum()
        return np.asarray(scale * joined)

    if count <= DENSE or clusters >= count - 1:
        edges = (seen.T @ seen).toarray()
        np.fill_diagonal(edges, 0)
        vectors = eigh(scale[:, None] * (edges + everywhere) * scale, subset_by_index=(count - clusters, count - 1))[1]
    else:
        start = np.random.default_rng([seed, count]).standard_normal(count)
        operator = LinearOperator((count, count), matvec=product, dtype=np.float64)
        vectors = eigsh(operator, k=clusters, which="LA", v0=start, tol=1e-6, ncv=min(count, 4 * clusters + 20))[1]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    places = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return nearest_centre(places, kmeans(places, clusters, seed=seed, tries=STARTS))[0]
