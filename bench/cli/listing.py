"""``bench list``: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.errors import nearest

__all__ = ["listing"]

KINDS = ("suites", "models", "datasets")


def listing(
    kind: Annotated[str | None, typer.Argument(help="suites, models or datasets; all three when left out.")] = None,
) -> None:
    """List the suites, models and datasets that can be named."""
    if kind is not None and kind not in KINDS:
        raise nearest("list", kind, KINDS)
    from tabulate import tabulate

    for wanted in (kind,) if kind else KINDS:
        print(tabulate(_ROWS[wanted](), headers=_HEADERS[wanted]))
        print()


def _suites() -> list[list[str]]:
    from bench.runs.suite import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    return [[suite.name, suite.dataset, suite.protocol.name, suite.description] for suite in suites]


def _models() -> list[list[str]]:
    from bench.models import model_class, model_names

    rows = []
    for name in model_names():
        model = model_class(name)
        can = model.capable(model.Settings())
        rows.append(
            [
                name,
                model.side,
                ", ".join(sorted(can.tasks)),
                can.cold_users or "no",
                can.cold_items or "no",
                "titles" if can.needs_text else "",
            ]
        )
    return rows


def _datasets() -> list[list[str]]:
    from bench.data import card_names, load_card

    return [[card.name, card.order, card.title] for card in map(load_card, card_names())]


_ROWS = {"suites": _suites, "models": _models, "datasets": _datasets}
_HEADERS = {
    "suites": ["suite", "dataset", "protocol", "what it asks"],
    "models": ["model", "side", "tasks", "cold users", "cold items", "needs"],
    "datasets": ["dataset", "order", "what it is"],
}
