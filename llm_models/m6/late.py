"""Serving: one user, many candidates, each scheme to the same numbers as the one-pass network, to rounding.

- :class:`FullPass`: every pair of user and candidate is a row of its own through all layers. Nothing is kept.
- :class:`Serving` of a network with ``late=0``: the user's keys and values of all layers are computed once, candidates
  run behind them. This loses nothing, because sources never see targets.
- :class:`Serving` of a network with late interaction: states of segments after L' come from a cache; the user's keys
  and values of the layers above are computed once; candidates start from their cached states, with the first late
  layer's queries, keys and values made ready.

The last layer computes the row of [EOS] alone. With one late layer, or ``reading="end"``, every other token of a
candidate is but keys and values that depend on no user: a candidate costs one token a late layer.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.ragged import Ragged
from llm_models.backbones.segment_cache import Segments
from llm_models.m6.network import M6Network, last_of
from llm_models.m6.packing import Packer, buckets
from llm_models.m6.serving.chunks import Chunk
from llm_models.m6.serving.passes import run_all, run_ends
from llm_models.m6.serving.prepared import AllTokens, EndsAlone
from llm_models.m6.serving.segments import LowerStates, word_vectors
from llm_models.m6.serving.users import User, read_users_once

__all__ = ["FullPass", "Scorer", "Serving", "score_pairs"]


class Scorer(ABC):
    """A network in service for one task.

    Parameters
    ----------
    network : M6Network
    task : str
    packer : Packer
        Holds the tokens of all texts. Rows are taken as they are: see :meth:`Packer.fitting`.
    tokens : int
        Padded tokens computed at a time.
    """

    def __init__(self, network: M6Network, task: str, packer: Packer, *, tokens: int = 4096) -> None:
        self.network, self.task, self.packer, self.tokens = network, task, packer, tokens

    @abstractmethod
    def read(self, users: Ragged) -> list[Any]:
        """Read users, rows of numbers of texts: whatever :meth:`score` needs of each."""

    @abstractmethod
    def score(self, users: Sequence[Any], candidates: Ragged) -> Tensor:
        """Score candidates, one row of numbers of texts for each user.

        Returns
        -------
        Tensor of float32, shape (candidates of all rows, classes)
            Logits.
        """

    def _nothing(self) -> Tensor:
        return torch.zeros(0, self.network.tuning(self.task).classes)


class FullPass(Scorer):
    """Every pair by itself, through all layers, from the tokens up."""

    def read(self, users: Ragged) -> list[Any]:
        """See :meth:`Scorer.read`; nothing is computed."""
        return list(users)

    @torch.inference_mode()
    def score(self, users: Sequence[Any], candidates: Ragged) -> Tensor:
        """See :meth:`Scorer.score`."""
        if not len(candidates.values):
            return self._nothing()
        user = Ragged.from_lists(users).take(candidates.row_of)
        target = Ragged.from_lengths(np.ones(len(candidates.values), int), candidates.values)
        tuning = self.network.tuning(self.task)
        found: Tensor | None = None
        for rows in buckets(self.packer.lengths(user, target) + tuning.prompt_count, tokens=self.tokens):
            states, layout = self.network(
                self.packer.pack(user.take(rows), target.take(rows), ((self.task, len(rows)),))
            )
            logits = tuning.classify(last_of(states, layout, target=True))
            found = logits.new_empty(len(user), logits.shape[1]) if found is None else found
            found[torch.from_numpy(rows)] = logits
        assert found is not None
        return found


class Serving(Scorer):
    """The user read once, candidates behind; with late interaction from cached segments.

    What is kept holds for the weights as they are now: after training on, make another.

    Parameters
    ----------
    network, task, packer, tokens
        See :class:`Scorer`.
    cache : Segments or None
        Of states after L'; by default in memory. For networks with late interaction.
    max_bytes : int
        Bound of the candidates that are kept ready beside the cache; past it, all are made ready anew from the cache.
    """

    def __init__(
        self,
        network: M6Network,
        task: str,
        packer: Packer,
        *,
        cache: Segments | None = None,
        tokens: int = 4096,
        max_bytes: int = 2**29,
    ) -> None:
        super().__init__(network, task, packer, tokens=tokens)
        self.max_bytes = max_bytes
        with torch.inference_mode():
            self.lower = LowerStates(network, task, packer, cache, tokens=tokens) if network.late else None
            self._prompts = self.lower.prompts() if self.lower is not None else None
        self.adapters = network.adapters(((task, 1),))
        self.forget()

    def forget(self) -> None:
        """Drop the candidates that are ready. Cached states stay."""
        network = self.network
        self.ready: EndsAlone | AllTokens | None = None
        if self.lower is not None and network.late < network.stack.depth:
            if network.reading == "end" or network.late == network.stack.depth - 1:
                self.ready = EndsAlone(network, self.adapters, self.lower, tokens=self.tokens)
            else:
                self.ready = AllTokens(network, self.lower)

    @torch.inference_mode()
    def read(self, users: Ragged) -> list[Any]:
        """See :meth:`Scorer.read`: keys and values of the late layers."""
        network, packer = self.network, self.packer
        return list(read_users_once(network, self.task, packer, self.lower, self._prompts, users, tokens=self.tokens))

    @torch.inference_mode()
    def prepare(self, candidates: NDArray[np.integer]) -> None:
        """Make candidates ready, by number of text; :meth:`score` does it for those that are not."""
        if self.ready is None:
            return
        missing = self.ready.missing(candidates)
        if not len(missing):
            return
        if self.ready.bytes + self.ready.cost(missing).sum() > self.max_bytes:
            self.forget()
            missing = np.unique(candidates)
        self.ready.add(missing)

    @torch.inference_mode()
    def score(self, users: Sequence[User], candidates: Ragged) -> Tensor:
        """See :meth:`Scorer.score`."""
        numbers = candidates.values.astype(np.int64)
        if not len(numbers):
            return self._nothing()
        tuning = self.network.tuning(self.task)
        found: Tensor | None = None
        for part in self._bounded(numbers):
            self.prepare(numbers[part])
            for rows in self._chunks(candidates.row_of[part], numbers[part]):
                rows = part[rows]
                logits = tuning.classify(self._ends(users, candidates.row_of[rows], numbers[rows]))
                found = logits.new_empty(len(numbers), logits.shape[1]) if found is None else found
                found[torch.from_numpy(rows)] = logits
        assert found is not None
        return found

    def _bounded(self, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Parts whose candidates can be ready together."""
        if self.ready is None or self.ready.cost(np.unique(numbers)).sum() <= self.max_bytes:
            yield np.arange(len(numbers))
            return
        part = np.cumsum(self.ready.cost(numbers)) // max(self.max_bytes // 2, 1)
        for number in np.unique(part):
            yield np.flatnonzero(part == number)

    def _chunks(self, user: NDArray[np.int64], numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Rows that are run together: of like length, those of a user side by side."""
        lengths = self.packer.tokens.lengths[numbers] + 2
        if isinstance(self.ready, EndsAlone):  # one token of each is run; the others are keys and values, and cost less
            room = self.ready.room[numbers]
            order, cost = np.lexsort((user, room)), 1 + room // 4
        else:
            order, cost = np.lexsort((lengths, user)), lengths
        part = np.cumsum(cost[order]) // self.tokens
        yield from np.split(order, np.flatnonzero(np.diff(part)) + 1)

    def _ends(self, users: Sequence[User], owner: NDArray[np.int64], numbers: NDArray[np.int64]) -> Tensor:
        """States of candidates at [EOS], shape (candidates, width)."""
        network, stack = self.network, self.network.stack
        if network.late == stack.depth:
            assert self.lower is not None
            states = self.lower.of(numbers, target=True)
            ends = states.values[torch.from_numpy(np.cumsum(states.lengths) - 1)]
            return ends + network.segments[1].to(ends.dtype)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        counts = np.diff(starts, append=len(owner)).tolist()
        lengths = torch.from_numpy(self.packer.tokens.lengths[numbers] + 2).to(stack.device)
        of = [(users[who], count) for who, count in zip(owner[starts], counts, strict=True)]
        chunk = Chunk(stack, network.late, of, lengths)
        if isinstance(self.ready, EndsAlone):
            return run_ends(stack, self.adapters, self.ready.take(numbers), chunk)
        if isinstance(self.ready, AllTokens):
            hidden, projected = self.ready.take(numbers)
            return run_all(stack, self.adapters, hidden, chunk, projected)
        flat, special, _ = self.packer.written(numbers, np.ones(len(numbers), bool))
        tokens, specials = (torch.from_numpy(part).to(stack.device)[None] for part in (flat, special))
        vectors = word_vectors(network, self.task, tokens, specials)
        return run_all(stack, self.adapters, stack.begin(vectors, (chunk.before + chunk.place)[None]), chunk)


def score_pairs(
    network: M6Network,
    task: str,
    packer: Packer,
    user: Ragged,
    candidate: NDArray[np.integer],
    *,
    cache: Segments | None = None,
    tokens: int = 4096,
) -> Tensor:
    """Score pairs of a user and a candidate: rows of one user are found and the user read once.

    Parameters
    ----------
    network : M6Network
        Any ``late`` and ``reading``.
    task : str
    packer : Packer
        Its ``max_tokens`` decides which clicks of a user fit beside each candidate.
    user : Ragged
        Per row numbers of texts: profile, clicks.
    candidate : ndarray of int, shape (rows,)
        Numbers of texts.
    cache : Segments or None
        Of segments' states after L', see :func:`llm_models.m6.serving.segments.fingerprint`; by default in memory, for
        this call.
    tokens : int
        Padded tokens computed at a time.

    Returns
    -------
    Tensor of float32, shape (rows, classes)
        Logits.
    """
    target = Ragged.from_lengths(np.ones(len(candidate), int), candidate)
    user = packer.fitting(user, target)
    scorer = Serving(network, task, packer, cache=cache, tokens=tokens)
    who: dict[bytes, int] = {}
    group = np.array([who.setdefault(row.tobytes(), len(who)) for row in user], np.int64)
    order = np.argsort(group, kind="stable")
    one = np.unique(group, return_index=True)[1]
    of_user = Ragged.from_lengths(np.bincount(group), candidate[order])
    logits = torch.zeros(len(candidate), network.tuning(task).classes)
    # Keys and values of as many users as make some dozens of batches are held at a time.
    held = np.cumsum(packer.lengths(user.take(one), Ragged.empty(len(one)))) // (32 * tokens)
    for number in np.unique(held):
        rows = np.flatnonzero(held == number)
        part = of_user.take(rows)
        found = scorer.score(scorer.read(user.take(one[rows])), part)
        logits[torch.from_numpy(order[of_user.offsets[rows[0]] : of_user.offsets[rows[-1] + 1]])] = found.cpu()
    return logits
