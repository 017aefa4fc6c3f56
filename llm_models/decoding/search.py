"""Beam search that can only write ids of items that may be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from llm_models.decoding.trie import Trie

__all__ = ["Stepper", "search"]


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
    step: Stepper, trie: Trie, remaining: NDArray[np.int32], *, beams: int, k: int
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
        score, kept = inner.topk(min(beams, inner.shape[1]))
        # A sum of log-probabilities only falls: what is below the last of a full list can never enter it.
        if bool((score[:, 0] <= done_score[:, -1]).all()):
            return done.cpu().numpy(), done_score.cpu().numpy()
        node = torch.where(score > -torch.inf, child.gather(1, kept), 0)
        log_probabilities = step(token[node].clamp_(min=0), kept // offset.numel())
