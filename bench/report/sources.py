"""Which published tables answer the same question as a request set of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.published import PublishedTable, published_for

if TYPE_CHECKING:
    from bench.runs.plan import Plan
    from bench.tasks import RequestSet

__all__ = ["sources"]


def sources(plan: Plan, asked: RequestSet) -> tuple[PublishedTable, ...]:
    """Tables on the same data, held-out events, task and candidates; none for validation sets and cold quadrants."""
    if (asked.part, asked.quadrant, asked.shots) != ("test", "warm-warm", None):
        return ()
    drawn = asked.requests.candidates
    return published_for(
        dataset=plan.split.dataset,
        protocol=plan.suite.protocol.name,
        task=asked.task,
        pool=asked.pool,
        # Beside each answer; a user who met nearly everything may have fewer.
        negatives=None if drawn is None else int(drawn.lengths.max(initial=1)) - 1,
    )
