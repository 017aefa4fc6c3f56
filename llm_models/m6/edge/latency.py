"""What a request costs in time, of several variants measured in turns on the same requests.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from bench.models import Requests
from llm_models.m6.click_scoring import Asked
from llm_models.m6.edge.variants import Variant
from llm_models.m6.packing import buckets

__all__ = ["Latency", "latencies"]


@dataclass(frozen=True)
class Latency:
    """Milliseconds a request, the network's part: texts are written and tokenised beforehand.

    Attributes
    ----------
    alone : float
        A request by itself: median over the rounds of the mean over requests.
    together : float
        Of all requests in batches.
    alone_cpu, together_cpu : float
        The same in time of the processor, all threads together: what other work on the machine does not change.
    """

    alone: float
    together: float
    alone_cpu: float
    together_cpu: float


def latencies(
    variants: Mapping[str, Variant], requests: Requests, *, alone: int = 16, rounds: int = 7, tokens: int = 4096
) -> dict[str, Latency]:
    """Time variants in turns, in another order each round, after one round that does not count.

    Parameters
    ----------
    variants : mapping of str to Variant
    requests : Requests
        About one item each.
    alone : int
        How many of them, the first, are put alone.
    rounds : int
    tokens : int
        Padded tokens of a batch.
    """
    read = {name: variant.read(requests) for name, variant in variants.items()}
    singles = np.arange(min(alone, len(requests)))
    taken: dict[str, list[list[float]]] = {name: [] for name in variants}
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name in rng.permutation(list(variants)).tolist():
                variant, asked = variants[name], read[name]
                one = _time(lambda: [_ask(variant, asked, singles[k : k + 1], tokens) for k in singles])  # noqa: B023
                many = _time(lambda: _ask(variant, asked, np.arange(len(requests)), tokens))  # noqa: B023
                if number:
                    taken[name].append([*(t / len(singles) for t in one), *(t / len(requests) for t in many)])
    found = {}
    for name, times in taken.items():
        one, one_cpu, many, many_cpu = np.median(times, axis=0) * 1e3
        found[name] = Latency(float(one), float(many), float(one_cpu), float(many_cpu))
    return found


def _ask(variant: Variant, asked: Asked, requests: np.ndarray, tokens: int) -> None:
    rows = asked.rows(requests, most=variant.settings.targets_per_row)
    for part in buckets(asked.lengths(rows), tokens=tokens):
        variant.scorer.logits(asked, [("click", rows.take(part))])


def _time(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor
