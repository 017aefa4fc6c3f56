"""Tuning one entry of a suite: trials, each in a process of its own, until the budget is spent."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.hashing import canonical_json, digest
from bench.errors import UsageError
from bench.metrics import parse
from bench.models import model_class
from bench.models.presets import Dimension, Preset
from bench.runs.executors.local import Event, run_jobs
from bench.runs.lock import LockedEntry
from bench.runs.plan import Cell, Plan
from bench.runs.store import Store, read_json
from bench.tune.budget import TuningBudget
from bench.tune.edges import at_edge
from bench.tune.outcome import Listener, News, Skipped, TunedModel
from bench.tune.search import Search, Tried
from bench.tune.trial import TrialJob
from bench.tune.unfinished import Unfinished

__all__ = ["EntryTuning"]

VERSION = "1"
"""Raised whenever the same settings would be valued otherwise: what a journal holds is then tried again."""
REPEATS = 50
"""So many proposals in a row that had been tried before end a search."""


@dataclass
class EntryTuning:
    """The tuning of one entry."""

    plan: Plan
    cell: Cell
    preset: Preset
    folder: Path
    budget: TuningBudget
    seed: int
    preload: list[str]
    listener: Listener | None
    space: dict[str, Dimension] = field(init=False)
    start: dict[str, Any] = field(init=False)
    kept: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        entry = self.cell.entry
        settings = entry.parsed_settings()
        self.kept = tuple(name for name in self.preset.applicable(settings) if name in entry.settings)
        self.space = self.preset.applicable(settings, fixed=entry.settings)
        self.start = {name: getattr(settings, name) for name in self.space}

    def skipped(self) -> Skipped | None:
        """Why there is nothing to do, if so."""
        cell, model = self.cell, model_class(self.cell.entry.model)
        able = model.capable(self.cell.entry.parsed_settings())
        if not set(able.tasks) & set(self.plan.asked.tasks):
            return Skipped(f"it does none of the suite's tasks ({', '.join(self.plan.asked.tasks)})")
        if not self.space:
            return Skipped(
                f"the suite sets all there is to tune ({', '.join(self.kept)})" if self.kept else "nothing to tune"
            )
        return Skipped(cell.missing) if cell.missing else None

    def run(self) -> TunedModel | Skipped:
        """Search until the budget is spent."""
        entry = self.cell.entry
        journal = self.folder / f"{_file_name(entry.name)}.journal"
        search = Search(journal, self._search, self.space, self.start, self.seed)
        tried = search.tried()
        for one in tried:  # killed between writing down and tidying up
            self._unfinished(one.settings).remove()
        for count in range(len(tried) + 1):  # a journal may hold more than this budget buys
            if ended := self._ended(tried[:count]):
                return self._outcome(tried[:count], ended)
        while not ended:
            proposal = search.propose()
            known = {canonical_json(one.settings): one for one in tried}.get(canonical_json(proposal.settings))
            if known is not None:
                outcome = Tried(proposal.settings, known.value, reason=known.reason, repeat=True)
            else:
                number = sum(not one.repeat for one in tried) + 1
                fitted = self._try(dict(proposal.settings), number)
                if isinstance(fitted, Skipped):
                    self._unfinished(proposal.settings).remove()
                    return fitted
                outcome = fitted
                best = self._in_metric(_best([*tried, outcome]))
                told = News(entry.name, number, "tried", tried=outcome, value=self._in_metric(outcome.value), best=best)
                self._tell(told)
            search.record(proposal, outcome)
            self._unfinished(proposal.settings).remove()
            tried.append(outcome)
            ended = self._ended(tried)
        return self._outcome(tried, ended)

    @property
    def _search(self) -> str:
        """Names what is searched, and on what."""
        spec, space = self.cell.spec, _plain(self.space)
        return digest({"tuning": VERSION, "seed": self.seed, "spec": spec, "search": space})[:32]

    def _unfinished(self, settings: Mapping[str, Any]) -> Unfinished:
        return Unfinished(self.folder / "unfinished" / digest([self._search, dict(settings)])[:32])

    def _ended(self, tried: list[Tried]) -> str:
        fits = [one for one in tried if not one.repeat]
        if ended := self.budget.spent([one.seconds for one in fits]):
            return ended
        outside = not all(self.space[name].holds(value) for name, value in self.start.items())
        if len(fits) >= math.prod(dimension.size for dimension in self.space.values()) + outside:
            return "all settings tried"
        recent = tried[-REPEATS:]
        return "nothing new proposed" if len(recent) == REPEATS and all(one.repeat for one in recent) else ""

    def _try(self, settings: dict[str, Any], number: int) -> Tried | Skipped:
        entry = self.cell.entry
        trial = entry.model_copy(update={"settings": {**entry.settings, **settings}})
        try:
            trial.parsed_settings()
        except UsageError as error:
            return Tried(settings, None, reason=str(error))
        kept = self._unfinished(settings)
        before = kept.begin()
        with tempfile.TemporaryDirectory(prefix="bench-trial-") as place:
            result, suite = Path(place) / "result.json", self.plan.asked.model_copy(update={"models": (trial,)})
            job = TrialJob(suite, self.plan.device, result, kept.scratch)
            started, last = time.perf_counter(), Event(0, "failed", reason="nothing was heard of the trial")
            with closing(run_jobs([job], preload=self.preload)) as events:
                for last in events:
                    if last.kind == "progress":
                        kept.note(before + time.perf_counter() - started)
                        self._tell(News(entry.name, number, "progress", last.stage, last.done, last.total, last.note))
            seconds = before + time.perf_counter() - started
            if last.kind == "missing" and number == 1:
                return Skipped(last.reason)
            if last.kind != "done":
                Store(self.folder).record_failure(
                    self.cell.key, {**self.cell.spec, "settings": settings}, last.reason, last.log
                )
                reason = (last.reason.strip().splitlines() or ["no reason given"])[-1]
                return Tried(settings, None, seconds, reason)
            found = read_json(result)
        return Tried(settings, found["value"], before + found["seconds"])

    def _outcome(self, tried: list[Tried], ended: str) -> TunedModel | Skipped:
        fits = [one for one in tried if not one.repeat]
        best = _best(fits)
        if best is None:
            return Skipped(f"all {len(fits)} trials failed, the last with: {fits[-1].reason}", failed=True)
        chosen = next(one for one in fits if one.value == best)
        locked = LockedEntry(
            model=self.cell.entry.model,
            model_version=self.cell.spec["model_version"],
            training_seed=self.cell.seed,
            metric=self.metric,
            settings=dict(chosen.settings),
            value=self._in_metric(best),
            default=self._in_metric(fits[0].value),
            trials=len(fits),
            failed=sum(one.value is None for one in fits),
            hours=round(sum(one.seconds for one in fits) / 3600, 8),
            ended=ended,
            at_edge=at_edge(model_class(self.cell.entry.model).Settings, self.space, chosen.settings),
            search=_plain(self.space),
        )
        return TunedModel(self.kept, locked)

    @property
    def metric(self) -> str:
        """What the model is selected by."""
        return str(self.cell.spec["selected_on"]["metric"])

    def _in_metric(self, number: float | None) -> float | None:
        """The metric behind a validation number, which is its negative where lower is better."""
        return number if number is None or parse(self.metric).higher_is_better else -number

    def _tell(self, news: News) -> None:
        if self.listener is not None:
            self.listener(news)


def _best(tried: list[Tried]) -> float | None:
    return max((one.value for one in tried if one.value is not None), default=None)


def _plain(space: Mapping[str, Dimension]) -> dict[str, Any]:
    dumped = {name: one.model_dump(exclude_defaults=True, exclude={"whole"}) for name, one in space.items()}
    plain: dict[str, Any] = json.loads(canonical_json(dumped))  # as it is read back: lists, not tuples
    return plain


def _file_name(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else re.sub(r"[^\w.-]+", "-", name) + f"-{digest(name)[:8]}"
