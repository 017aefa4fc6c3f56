"""The tree of all id token sequences, as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.ragged import Ragged

__all__ = ["Trie"]


@dataclass(frozen=True, eq=False)
class Trie:
    """A prefix tree in compressed rows, its nodes numbered level by level; node 0 is the root.

    Attributes
    ----------
    first_child : ndarray of int64, shape (nodes + 1,)
        The children of ``n`` are the nodes ``first_child[n]`` up to ``first_child[n + 1]`` (excluded), by token.
    token : ndarray of int64, shape (nodes,)
        The token that leads to a node; -1 at the root.
    entry : ndarray of int64, shape (nodes,)
        The sequence that ends in a node; -1 where none does. Sequences end in leaves only.
    path : ndarray of int64, shape (entries, depth)
        The nodes on the way to each sequence, without the root; -1 after its end.
    """

    first_child: NDArray[np.int64]
    token: NDArray[np.int64]
    entry: NDArray[np.int64]
    path: NDArray[np.int64]

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> Trie:
        """Build from token sequences; entry ``e`` is ``sequences[e]``.

        Raises
        ------
        ValueError
            When there is none, when two are equal, or when one is the beginning of another: the answer would be
            ambiguous. An end mark on each removes the latter.
        """
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        if not len(lengths) or not lengths.min():
            raise ValueError("a trie needs at least one sequence, and no empty one")
        depth = int(lengths.max())
        tokens = np.full((len(sequences), depth), -1, np.int64)
        for row, sequence in zip(tokens, sequences, strict=True):
            row[: len(sequence)] = sequence
        path = np.full_like(tokens, -1)
        parent = np.zeros(len(tokens), np.int64)
        token, parents, nodes = [np.array([-1])], [np.array([-1])], 1
        for level in range(depth):
            inside = np.flatnonzero(lengths > level)
            pairs = np.stack([parent[inside], tokens[inside, level]])
            unique, which = np.unique(pairs, axis=1, return_inverse=True)
            parent[inside] = path[inside, level] = nodes + which.reshape(-1)
            parents.append(unique[0])
            token.append(unique[1])
            nodes += unique.shape[1]
        first_child = np.searchsorted(np.concatenate(parents)[1:], np.arange(nodes + 1)) + 1
        last = path[np.arange(len(tokens)), lengths - 1]
        if len(np.unique(last)) < len(last) or (first_child[last] != first_child[last + 1]).any():
            raise ValueError("two sequences are equal, or one is the beginning of another")
        entry = np.full(nodes, -1)
        entry[last] = np.arange(len(tokens))
        return cls(first_child, np.concatenate(token), entry, path)

    def __len__(self) -> int:
        return len(self.path)

    @property
    def nodes(self) -> int:
        """Number of nodes, the root included."""
        return len(self.token)

    @property
    def depth(self) -> int:
        """Tokens of the longest sequence."""
        return self.path.shape[1]

    @property
    def width(self) -> int:
        """The most inner nodes of a level: with so many beams a search is exhaustive."""
        inner = self.entry[1:] < 0
        level = np.repeat(np.arange(self.depth), [len(np.unique(column[column >= 0])) for column in self.path.T])
        return max(1, int(np.bincount(level[inner]).max(initial=0)))

    def remaining(self, allowed: NDArray[np.bool_], exclude: Ragged) -> NDArray[np.int32]:
        """Count, per request, the sequences below each node that may still be answered.

        A search that only enters nodes with a count above 0 never ends in a dead branch.

        Parameters
        ----------
        allowed : ndarray of bool, shape (entries,)
            What any request may be answered with.
        exclude : Ragged
            Per request the entries it may not be answered with; repeats do no harm.

        Returns
        -------
        ndarray of int32, shape (requests, nodes)
        """
        steps = self.path[allowed]
        below = np.bincount(steps[steps >= 0], minlength=self.nodes)
        below[0] = allowed.sum()
        barred = exclude.distinct()
        return below.astype(np.int32) - self._below(barred.keep(allowed[barred.values]))

    def remaining_among(self, candidates: Ragged, exclude: Ragged) -> NDArray[np.int32]:
        """As :meth:`remaining`, where every request has candidates of its own.

        Parameters
        ----------
        candidates, exclude : Ragged
            Per request the entries that may be answered, and of these the ones that may not after all; repeats do no
            harm.
        """
        drawn, barred = candidates.distinct(), exclude.distinct()
        size = np.int64(max(len(self), 1))
        out = np.isin(drawn.row_of * size + drawn.values, barred.row_of * size + barred.values)
        return self._below(drawn.keep(~out))

    def _below(self, entries: Ragged) -> NDArray[np.int32]:
        """Count the given (distinct) entries below each node, the root included, shape (rows, nodes)."""
        steps = self.path[entries.values]
        inside = steps >= 0
        place = (entries.row_of[:, None] * self.nodes + steps)[inside]
        counts = np.bincount(place, minlength=len(entries) * self.nodes).astype(np.int32).reshape(-1, self.nodes)
        counts[:, 0] = entries.lengths
        return counts
