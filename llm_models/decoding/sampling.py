"""Free text, drawn from the likeliest tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llm_models.decoding.search import Stepper

__all__ = ["sample"]


def sample(
    step: Stepper,
    draws: NDArray[np.float64],
    *,
    end: int,
    pad: int,
    top_p: float,
    temperature: float,
    shortest: int,
    longest: int,
) -> NDArray[np.int64]:
    """Draw one text for each prompt, every token from the smallest set of likeliest ones with ``top_p`` in sum.

    Parameters
    ----------
    step : Stepper
    draws : ndarray of float64, shape (prompts, longest)
        Numbers of [0, 1) that decide: a token is the one in whose share of the probability its number falls, likeliest
        tokens first. The same numbers give the same text.
    end, pad : int
        Token that ends a text, and the one that fills up after it.
    top_p : float
        Of (0, 1].
    temperature : float
        Divides the log-probabilities before.
    shortest, longest : int
        Tokens before the end mark at the least; tokens with the end mark at the most.

    Returns
    -------
    ndarray of int64, shape (prompts, tokens)
        At most ``longest`` tokens.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020.
    """
    import torch

    log_probabilities = step(None, None)[:, 0]
    device = log_probabilities.device
    wanted = torch.from_numpy(draws).to(device)
    prompts = len(log_probabilities)
    text = torch.full((prompts, longest), pad, device=device)
    closed = torch.zeros(prompts, dtype=torch.bool, device=device)
    for place in range(longest):
        if place < shortest:
            log_probabilities[:, end] = -torch.inf
        shares, order = (log_probabilities.double() / temperature).softmax(-1).sort(dim=-1, descending=True)
        running = shares.cumsum(-1)
        # A token belongs to the set where those before it fall short of top_p; the first always does.
        kept = (running - shares < top_p).sum(-1, keepdim=True)
        within = running.gather(1, kept - 1) * wanted[:, place : place + 1]
        chosen = torch.minimum(torch.searchsorted(running, within, right=True), kept - 1)
        token = torch.where(closed, pad, order.gather(1, chosen).squeeze(1))
        text[:, place] = token
        closed |= token == end
        if closed.all() or place + 1 == longest:
            break
        log_probabilities = step(token[:, None], torch.zeros_like(token)[:, None])[:, 0]
    return text[:, : place + 1].cpu().numpy()
