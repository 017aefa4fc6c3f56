"""How request sets are called in headings."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.grid import count
from bench.tasks import Answers, RequestSet

__all__ = ["column", "pool", "quadrant", "shown", "task", "title"]

_QUADRANT = {
    "warm-warm": "warm user, warm item",
    "cold-warm": "cold user, warm item",
    "warm-cold": "warm user, cold item",
    "cold-cold": "cold user, cold item",
}
_TASK = {
    "feature-explanation": "explanation, feature given",
    "rated-explanation": "explanation, feature and stars of the same review given",
    "headline": "headline, review given",
    "preference": "stars, review given",
}
_SHOWN = {
    "explanation": "Asked for: the sentence of the user's review that explains the item; nothing of it is shown.",
    "feature-explanation": (
        "Asked for: the sentence of the user's review that explains the item. The feature that it is about is shown, "
        "and comes from that very review (PETER+, P5's 3-9)."
    ),
    "rated-explanation": (
        "Asked for: the sentence of the user's review that explains the item. The feature that it is about and the "
        "stars of that very review are shown (P5's 3-11 and 3-12): before someone has rated, nobody can be asked so."
    ),
    "headline": "Asked for: the headline of a review whose text is shown.",
    "preference": "Asked for: the stars of a review whose text is shown.",
}
_SHORT = {"warm-warm": "both warm", "cold-warm": "cold user", "warm-cold": "cold item", "cold-cold": "both cold"}


def quadrant(name: str) -> str:
    """``cold user, warm item``."""
    return _QUADRANT.get(name, name)


def task(name: str) -> str:
    """``explanation, feature given``: the task, and what is given away of the answer."""
    return _TASK.get(name, name)


def shown(name: str) -> list[str]:
    """What a reader must know of a task about a review; nothing of the others."""
    return [_SHOWN[name]] if name in _SHOWN else []


def pool(asked: RequestSet) -> str:
    """What is ranked: ``the 1,682 items``, ``the 168 cold items``, ``a draw of 100 items``."""
    if asked.requests.candidates is not None:
        return f"a draw of {count(int(asked.requests.candidates.lengths.max(initial=0)), 'item')}"
    kind = "item" if asked.pool == "all" else f"{asked.pool} item"
    return f"the {count(len(asked.requests.catalogue.items), kind)}"


def title(asked: RequestSet) -> str:
    """A table's heading."""
    words = quadrant(asked.quadrant)
    shots = "" if asked.shots is None else f", k = {asked.shots} shown"
    ranked = f", ranking {pool(asked)}" if isinstance(asked.answers, Answers) else ""
    return f"{words[:1].upper()}{words[1:]}{shots}: {task(asked.task)}{ranked}"


def column(asked: RequestSet, among: Sequence[RequestSet]) -> str:
    """A column's heading: no longer than it takes to tell the set from the others."""
    parts: list[str] = []
    if len({other.task for other in among}) > 1:
        parts.append(task(asked.task))
    if len({other.quadrant for other in among}) > 1:
        parts.append(_SHORT.get(asked.quadrant, asked.quadrant))
    if asked.shots is not None:
        parts.append(f"k={asked.shots}")
    if len({other.pool for other in among if other.quadrant == asked.quadrant}) > 1 or asked.quadrant == "cold-cold":
        parts.append(f"among {asked.pool}")
    return ", ".join(parts) or task(asked.task)
