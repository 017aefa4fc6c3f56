"""Free text, greedily or by beams, a batch of prompts at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llm_models.decoding.search import Stepper

__all__ = ["write"]


def write(step: Stepper, *, end: int, pad: int, beams: int, shortest: int, longest: int) -> NDArray[np.int64]:
    """Write one text for each prompt.

    One beam is greedy: the likeliest token each time, up to the end mark. Several beams look for the text whose tokens
    are likeliest on average (the sum of log-probabilities over the number of tokens, end mark included), and a prompt
    is done when its best open beam is no better than the worst of ``beams`` finished texts.

    Parameters
    ----------
    step : Stepper
    end, pad : int
        Token that ends a text, and the one that fills up after it.
    beams : int
    shortest, longest : int
        Tokens before the end mark at the least; tokens with the end mark at the most.

    Returns
    -------
    ndarray of int64, shape (prompts, tokens)
        At most ``longest`` tokens.
    """
    import torch

    log_probabilities = step(None, None)
    prompts, _, vocabulary = log_probabilities.shape
    device = log_probabilities.device
    score = torch.zeros(prompts, 1, device=device)
    text = torch.full((prompts, 1, longest), pad, device=device)
    done = torch.full((prompts, beams, longest), pad, device=device)
    done_score = torch.full((prompts, beams), -torch.inf, device=device)
    closed = torch.zeros(prompts, 1, dtype=torch.bool, device=device)
    row = torch.arange(prompts, device=device)[:, None]
    for place in range(longest):
        if place < shortest:
            log_probabilities[..., end] = -torch.inf
        best, at = (score[..., None] + log_probabilities).flatten(1).topk(min(2 * beams, vocabulary))
        parent, token = at // vocabulary, at % vocabulary
        text = text[row, parent]
        text[:, :, place] = token
        ends = token == end if place + 1 < longest else torch.ones_like(token, dtype=torch.bool)
        finished = (best / (place + 1))[:, :beams].masked_fill(~ends[:, :beams] | closed, -torch.inf)
        done_score, kept = torch.cat([done_score, finished], 1).topk(beams)
        done = torch.cat([done, text[:, :beams]], 1)[row, kept]
        score, kept = best.masked_fill(ends, -torch.inf).topk(beams)
        full = done_score[:, -1:] > -torch.inf
        closed |= full & ((score[:, :1] / (place + 1) <= done_score[:, -1:]) | (beams == 1))
        if closed.all():
            break
        text = text[row, kept]
        log_probabilities = step(token.gather(1, kept), parent.gather(1, kept))
    return done[:, 0, : place + 1].cpu().numpy()
