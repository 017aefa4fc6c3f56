"""Beam search that can only write ids of items that may be answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from llm_models.decoding.trie import Trie

__all__ = ["Stepper", "exact", "search"]

#: Log-probabilities of the same sequence may differ by this much between two batches (rounding).
ROUNDING = 1e-2


class Stepper(Protocol):
    """A decoder that is asked one token at a time and keeps what it has read."""

    def __call__(self, tokens: Tensor | None, parents: Tensor | None) -> Tensor:
        """Read one token per beam and give the log-probabilities of the next.

        Parameters
        ----------
        tokens : Tensor of int64, shape (requests, beams), or None
            The token each beam is extended by; ``None`` at the start, which has one beam.
        parents : Tensor of int64, shape (requests, beams), or None
            Which beam of the previous step each continues.

        Returns
        -------
        Tensor of float32, shape (requests, beams, vocabulary)
        """


def search(
    step: Stepper,
    trie: Trie,
    remaining: NDArray[np.int32],
    *,
    beams: int,
    k: int,
    floor: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the ``k`` most likely sequences of a trie for each request.

    A sequence counts with the sum of its tokens' log-probabilities over the whole vocabulary; its length is not
    corrected for. With ``beams`` at least ``trie.width`` the answer is exact.

    Parameters
    ----------
    step : Stepper
    trie : Trie
    remaining : ndarray of int32, shape (requests, nodes)
        From :meth:`Trie.remaining`; a node with 0 is never entered.
    beams : int
        How many unfinished sequences are kept after each token; at least ``k`` for a full list.
    k : int
    floor : ndarray of float32, shape (requests,), optional
        Sequences below it need not be found: beams that have fallen below are given up.

    Returns
    -------
    entries : ndarray of int64, shape (requests, k)
        Distinct entries of the trie, best first; -1 where fewer remain.
    scores : ndarray of float32, shape (requests, k)
        Log-probabilities; minus infinity where ``entries`` is -1.
    """
    import torch

    requests = len(remaining)
    log_probabilities = step(None, None)
    device = log_probabilities.device
    first, token, entry = (torch.from_numpy(a).to(device) for a in (trie.first_child, trie.token, trie.entry))
    open_nodes = torch.from_numpy(remaining > 0).to(device)
    node = torch.zeros(requests, 1, dtype=torch.int64, device=device)
    score = torch.zeros(requests, 1, device=device).masked_fill(~open_nodes[:, :1], -torch.inf)
    done = torch.full((requests, k), -1, dtype=torch.int64, device=device)
    done_score = torch.full((requests, k), -torch.inf, device=device)
    given_up = torch.full((requests,), -torch.inf, device=device)
    if floor is not None:
        given_up = torch.from_numpy(floor).to(device)
    while True:
        start, count = first[node], first[node + 1] - first[node]
        offset = torch.arange(int(count.max()), device=device)
        exists = offset < count[..., None]
        child = torch.where(exists, start[..., None] + offset, 0)
        gain = log_probabilities.gather(2, token[child].clamp_(min=0))
        exists &= open_nodes.gather(1, child.flatten(1)).view_as(child)
        reached = (score[..., None] + gain).masked_fill_(~exists, -torch.inf).flatten(1)
        child = child.flatten(1)
        ends = entry[child]
        done_score, best = torch.cat([done_score, reached.masked_fill(ends < 0, -torch.inf)], 1).topk(k)
        done = torch.cat([done, ends], 1).gather(1, best).masked_fill_(done_score == -torch.inf, -1)
        inner = reached.masked_fill(ends >= 0, -torch.inf)
        # A sum of log-probabilities only falls: what is below the last of a full list can never enter it.
        hopeless = inner <= torch.maximum(done_score[:, -1], given_up)[:, None]
        width = min(beams, int((~hopeless).sum(1).max()))
        if not width:
            return done.cpu().numpy(), done_score.cpu().numpy()
        score, kept = inner.masked_fill_(hopeless, -torch.inf).topk(width)
        node = torch.where(score > -torch.inf, child.gather(1, kept), 0)
        log_probabilities = step(token[node].clamp_(min=0), kept // offset.numel())


def exact(
    start: Callable[[], Stepper], trie: Trie, remaining: NDArray[np.int32], *, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the ``k`` most likely sequences of each request, whatever the catalogue's size.

    Beams find a list first. What has fallen below its end cannot enter the true list, and as the probabilities of the
    prefixes of one length add up to 1 at most, no more than ``1 / p`` of them are above ``p``: far fewer than there
    are.

    Parameters
    ----------
    start : callable
        Makes a decoder at the start of the same prompts; it is called twice.
    trie, remaining, k
        As in :func:`search`, whose result this has.
    """
    _, scores = search(start(), trie, remaining, beams=k, k=k)
    return search(start(), trie, remaining, beams=trie.nodes, k=k, floor=scores[:, -1] - ROUNDING)
