"""What schemes of serving cost, measured in turns so that a busy machine slows all of them alike.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from bench.data.ragged import Ragged
from llm_models.backbones.segment_cache import MemorySegments
from llm_models.m6.late import FullPass, Serving
from llm_models.m6.network import M6Network, Reading
from llm_models.m6.serving.users import User
from llm_models.m6.serving.workload import Workload

__all__ = ["QUANTITIES", "Contender", "Taken", "cached", "full_pass", "measure", "memory"]

QUANTITIES = {
    "candidate": "a candidate, the user read before",
    "request": "a candidate, the user read within the request",
    "click": "a new click: its segment, and the user read anew",
    "cold": "a candidate of which nothing is kept yet, made ready",
}
"""What is timed, each in seconds a unit."""

Action = Callable[[], int]
"""Does something once and says how many units of it."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A scheme.

    Attributes
    ----------
    name : str
        Unique; by it the entry of a suite is found.
    scheme : {"full pass", "cached user", "late interaction"}
    late, layers : int
        L' and L.
    reading : str
    actions : dict of str to callable
        What :data:`QUANTITIES` it has.
    """

    name: str
    scheme: str
    late: int
    layers: int
    reading: Reading
    actions: dict[str, Action] = field(repr=False)
    scorer: FullPass | Serving = field(repr=False)


class Taken(NamedTuple):
    """One measurement: seconds a unit on the clock, and of this process's computing (all threads together)."""

    contender: str
    quantity: str
    round: int
    wall_s: float
    cpu_s: float


def full_pass(name: str, network: M6Network, task: str, work: Workload, *, most: int = 16) -> Contender:
    """Every pair by itself; timed on ``most`` candidates of one user, since the rest cost the same."""
    scorer = FullPass(network, task, work.packer)
    rows = Ragged.from_lists([work.candidates[0][:most]])

    def candidate() -> int:
        return len(scorer.score(scorer.read(work.users.take([0])), rows))

    return Contender(
        name, "full pass", network.late, network.stack.depth, network.reading, {"candidate": candidate}, scorer
    )


def cached(name: str, network: M6Network, task: str, work: Workload) -> Contender:
    """The user's keys and values kept; with late interaction segments, too. One user is served at a time."""
    scorer = Serving(network, task, work.packer)
    read: list[User] = scorer.read(work.users)
    turn = {"user": 0, "spare": 0}
    scorer.prepare(work.candidates.values)

    def user() -> int:
        turn["user"] = (turn["user"] + 1) % len(work.users)
        return turn["user"]

    def candidate() -> int:
        at = user()
        return len(scorer.score([read[at]], work.candidates.take([at])))

    def request() -> int:
        at = user()
        return len(scorer.score(scorer.read(work.users.take([at])), work.candidates.take([at])))

    def click() -> int:
        turn["spare"] = (turn["spare"] + 1) % len(work.spare)
        row = work.users[user()]
        scorer.read(Ragged.from_lists([[row[0], *row[2:], work.spare[turn["spare"]]]]))
        return 1

    def cold() -> int:
        kept, ready = scorer.lower, scorer.ready
        assert kept is not None
        warm = kept.cache
        kept.cache = MemorySegments(width=warm.width, dtype=warm.dtype, max_bytes=warm.max_bytes)
        scorer.forget()
        numbers = work.candidates[user()]
        scorer.prepare(numbers)
        kept.cache, scorer.ready = warm, ready
        return len(numbers)

    actions: dict[str, Action] = {"candidate": candidate, "request": request, "click": click}
    if network.late:
        actions["cold"] = cold
    scheme = "late interaction" if network.late else "cached user"
    return Contender(name, scheme, network.late, network.stack.depth, network.reading, actions, scorer)


def measure(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    seconds: float,
    told: Callable[[int], None] | None = None,
) -> list[Taken]:
    """Time every quantity of every contender, once a round, in an order that turns from round to round.

    Parameters
    ----------
    rounds : int
    seconds : float
        Of computing (of all threads together), in each measurement; an action is done once at least.
    told : callable or None
        Called after each round with its number, from 1.
    """
    taken = []
    with torch.inference_mode():
        for contender in contenders:  # buffers and pages are made before anything is timed
            for action in contender.actions.values():
                action()
        for number in range(rounds):
            turn = number % len(contenders)
            for contender in (*contenders[turn:], *contenders[:turn]):
                for quantity, action in contender.actions.items():
                    units = 0
                    wall, cpu = time.perf_counter(), time.process_time()
                    while not units or time.process_time() - cpu < seconds:
                        units += action()
                    spent = time.perf_counter() - wall, time.process_time() - cpu
                    taken.append(Taken(contender.name, quantity, number, *(part / units for part in spent)))
            if told is not None:
                told(number + 1)
    return taken


def memory(contender: Contender, work: Workload) -> dict[str, float]:
    """Bytes kept: of the cached states of a segment, of a candidate made ready, and of a user's keys and values."""
    scorer = contender.scorer
    if not isinstance(scorer, Serving):
        return {"segment_bytes": 0.0, "ready_bytes": 0.0, "user_bytes": 0.0}
    stack, tokens = scorer.network.stack, work.packer.tokens.lengths + 2
    used = np.unique(np.concatenate([work.users.values, work.candidates.values]))
    segment = float(tokens[used].mean()) * stack.width * stack.dtype.itemsize if scorer.network.late else 0.0
    ready = 0.0 if scorer.ready is None else float(scorer.ready.cost(np.unique(work.candidates.values)).mean())
    user = float(np.mean([one.bytes for one in scorer.read(work.users)]))
    return {"segment_bytes": segment, "ready_bytes": ready, "user_bytes": user}
