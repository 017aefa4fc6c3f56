"""From a suite to the table of the edge steps: fit or load, make, measure, write.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.data.hashing import stable_hash64
from bench.errors import MissingInputError, UsageError
from bench.models import model_class
from bench.runs.cell import Job
from bench.runs.plan import Cell, Plan, make_plan
from bench.runs.provenance import environment
from bench.runs.store import Store, write_json
from bench.runs.suite import Suite
from bench.tasks import RequestSet
from llm_models.m6.click import M6Click
from llm_models.m6.edge.steps import EdgeSettings, Step, Workshop
from llm_models.m6.edge.table import BASE, measured, write_table
from llm_models.m6.edge.variants import Variant

__all__ = ["Wanted", "run"]


@dataclass(frozen=True)
class Wanted:
    """What is to be made and measured.

    Attributes
    ----------
    steps : tuple of str
    part : {"test", "valid"}
    requests : int
        At most so many of each set, drawn by its identity; 0: all.
    timed, rounds : int
        Requests that are timed, and how often.
    """

    steps: tuple[Step, ...]
    part: Literal["test", "valid"] = "test"
    requests: int = 0
    timed: int = 64
    rounds: int = 7


def run(suite: Suite, settings: EdgeSettings, wanted: Wanted, *, store: Path, out: Path, device: str) -> str:
    """Make and measure the steps; write ``table.md``, ``table.csv`` and ``provenance.json``; return the table.

    Parameters
    ----------
    suite : Suite
        With one entry, a click model, and one seed.
    settings : EdgeSettings
    wanted : Wanted
    store, out : Path
        The run store, where fits are taken from and kept, and the folder of the table.
    device : str

    Raises
    ------
    UsageError
        When the entry is no click model, or the protocol asks about no clicks.
    """
    began, place = time.monotonic(), Store(store)
    plan, cell, fitted = _fitted(suite, place, device)
    sets = [_drawn(one, wanted.requests) for one in plan.sets if one.part == wanted.part and one.task == "click"]
    if not sets:
        raise UsageError(f"suite {suite.name} asks about no clicks: take one whose protocol has them (--suite click)")
    cells = {BASE: cell.key}

    def fit_on(backbone: Path) -> M6Click:
        name = cell.entry.name
        changes: dict[str, Any] = {f"{name}.backbone": str(backbone), f"{name}.backbone_revision": None}
        student = suite.narrowed(changes={**changes, f"{name}.backbone_sha256": None})
        _, found, model = _fitted(student, place, device)
        cells["student"] = found.key
        return model

    shop = Workshop(
        fitted, plan.split.training, settings, students=store / "students", fit_on=fit_on, told=_Line("making")
    )
    variants: dict[str, Variant] = {BASE: shop.base}
    for step in wanted.steps:
        variants |= shop.make(step)
    rows = measured(
        variants,
        sets,
        timed=wanted.timed,
        rounds=wanted.rounds,
        told=lambda name: print(f"measuring: {name}", file=sys.stderr),
    )
    text = write_table(
        rows, out, title=f"Edge steps on {suite.dataset}", notes=_notes(plan, cell, sets, settings, wanted)
    )
    write_json(
        out / "provenance.json",
        {
            **environment(),
            "cells": cells,
            "split": plan.split.identity,
            "settings": asdict(settings),
            "wanted": asdict(wanted),
            "device": device,
            "seconds": time.monotonic() - began,
        },
    )
    return text


def _fitted(suite: Suite, store: Store, device: str) -> tuple[Plan, Cell, M6Click]:
    """The only cell of a suite, run if it is not stored, and its model."""
    plan = make_plan(suite, store, device=device)
    if len(plan.cells) != 1:
        raise UsageError(f"edge steps start from one fitted model, and here are {len(plan.cells)}: name one, one seed")
    [cell] = plan.cells
    model = model_class(cell.entry.model)
    if not issubclass(model, M6Click):
        raise UsageError(f"edge steps are made of a click model (m6-click), and {cell.entry.name} is none")
    if cell.missing:
        raise MissingInputError(f"{cell.entry.name}: {cell.missing}")
    if not cell.cached:
        Job(suite, store.root, device, cell.entry.name, cell.seed).run(_Line(cell.label).reported)
    return plan, cell, model.load(store.cell(cell.key) / "model", cell.entry.parsed_settings(), device=device)


def _drawn(asked: RequestSet, most: int) -> RequestSet:
    """At most so many requests, the same whenever the set is the same."""
    if not most or len(asked) <= most:
        return asked
    rng = np.random.default_rng(int(stable_hash64([asked.identity])[0]))
    drawn = asked.take(np.sort(rng.choice(len(asked), most, replace=False)))
    return replace(drawn, notes=(*drawn.notes, f"{most} of {len(asked)} requests, drawn"))


def _notes(plan: Plan, cell: Cell, sets: list[RequestSet], settings: EdgeSettings, wanted: Wanted) -> tuple[str, ...]:
    about = environment()
    asked = ", ".join(f"{one.quadrant} {len(one):,}" for one in sets)
    return (
        f"Start ({BASE}): {cell.label}, cell {cell.key[:12]}. Data: {plan.suite.dataset}, {plan.split.protocol}, split "
        f"{plan.split.identity[:12]}. Requests ({wanted.part}): {asked}. Intervals: 95%, bootstrap over users; "
        f"differences are paired, of the AUC.",
        f"Steps that tune on take {settings.tune_steps} optimiser steps from the fitted weights; `tuned on` does so "
        "without any change, and is what they are fairly compared with.",
        "Exit k: after layer k, for all. Patience p: when p exits in a row agree. Entropy: when the answer's lies "
        "below, in nats. Layers: that a candidate goes through.",
        f"The student learned the relations of the {settings.teacher}'s "
        f"{f'layer {settings.teacher_layer}' if settings.teacher_layer else 'last layer'} in {settings.distil_steps} "
        f"steps ({settings.relation_heads} relation heads, start: {settings.start}), and was then fitted as the start "
        "was.",
        f"Pruning: {settings.scope}, of the matrices of layers and words; zeros are stored as bits and computed with "
        "like other numbers, so pruning saves space alone.",
        f"Time: milliseconds a request of the network alone (texts tokenised beforehand), median of {wanted.rounds} "
        f"rounds in turns over {wanted.timed} requests; candidates of one user share a row in a batch. "
        f"{about['processor']}, {about['cores']} cores, threads: {about['threads']}, torch "
        f"{about['packages'].get('torch')}, {about['written']}.",
    )


class _Line:
    """Progress on the error stream: a line whenever another tenth is done."""

    def __init__(self, name: str) -> None:
        self.name, self.last = name, ("", -1)

    def __call__(self, what: str, done: int, total: int, loss: float) -> None:
        self.reported(what, done, total, f"loss {loss:.4f}")

    def reported(self, stage: str, done: int, total: int, note: str) -> None:
        """Print if it is time."""
        tenth = (stage, 10 * done // max(total, 1))
        if tenth != self.last:
            self.last = tenth
            print(f"{self.name}: {stage} {done}/{total} {note}", file=sys.stderr)
