"""How much the wording of a prompt matters: one fit, asked with prompts that it was trained with and with others.

Everything is paired: prompts are compared on the same requests under the same seeds. Intervals and tests are over the
unit of inference of the request set, as in every table; the prompts themselves are taken as they are, and their spread
is reported beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.metrics import parse
from bench.report.collect import LEVEL, PERMUTATIONS, REPLICATES, measured_on, stored_models
from bench.report.families import SETTING, families, is_about, strangers
from bench.report.measures import coverage, units_of, values_of
from bench.report.values import Model
from bench.runs.plan import Plan
from bench.runs.store import Store
from bench.stats import Interval, Units, correct, intervals, randomisation_p
from bench.tasks import RequestSet

__all__ = ["GROUPS", "UNSEEN", "Gap", "Group", "PromptTable", "PromptValue", "Words", "prompt_tables"]

GROUPS = ("seen", "held-out", "word", "structure", "register")
UNSEEN = "unseen"
"""All groups but the first together."""

Words = Literal["all", "trained"]
"""Which unseen prompts are counted: all of them, or those whose words were all trained."""

_SAME = 1e-12
"""Differences up to this much come from adding in another order."""

_Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PromptValue:
    """One prompt on one request set: the primary metric with its interval."""

    model: Model
    found: Interval
    coverage: float


@dataclass(frozen=True)
class Group:
    """Prompts of a kind on one request set.

    Attributes
    ----------
    name : str
        One of ``GROUPS``, or ``UNSEEN``.
    prompts : int
    mean, sd, worst : float
        Of the prompts' values; ``sd`` is NaN for a single prompt.
    worst_prompt : str
    gap : Interval or None
        Mean of the seen prompts minus this group's, paired; ``None`` for the seen ones, or without any.
    """

    name: str
    prompts: int
    mean: float
    sd: float
    worst: float
    worst_prompt: str
    gap: Interval | None


@dataclass(frozen=True)
class Gap:
    """Seen minus unseen on one request set.

    Attributes
    ----------
    seen, unseen : Group
    found : Interval
        Of the mean over units of "mean over the seen prompts minus mean over the unseen ones".
    p, p_holm : float
        Paired randomisation test of whole units, as it is and corrected for all gaps of the report.
    """

    seen: Group
    unseen: Group
    found: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, eq=False)
class PromptTable:
    """The prompts of one fit on one request set.

    Attributes
    ----------
    title : str
        Of the fit.
    primary : str
    units : str
        What was sampled, such as ``"943 users"``.
    prompts : tuple of PromptValue
        In the order of the suite.
    unserved : tuple of str
        Prompts with which nothing could be asked: they show what the data lacks.
    groups : mapping
        Over all prompts, and over those whose words were all trained; only ``"all"`` where these are the same.
    gaps : mapping
        As ``groups``; without an entry where there is no seen, or no such unseen, prompt.
    """

    asked: RequestSet
    title: str
    primary: str
    units: str
    prompts: tuple[PromptValue, ...]
    unserved: tuple[str, ...]
    groups: Mapping[Words, tuple[Group, ...]]
    gaps: Mapping[Words, Gap]


def prompt_tables(plan: Plan, store: Store) -> list[PromptTable]:
    """One table a test set and fit that answered it under several prompts; p-values are corrected over all of them."""
    models = stored_models(plan, store)
    found = [
        table
        for asked in plan.sets
        if asked.part == "test"
        for members in families(models)
        if (table := _table(plan, store, asked, _fellows(models, members, asked))) is not None
    ]
    corrected = iter(correct([gap.p for table in found for gap in table.gaps.values()]).tolist())
    return [
        replace(table, gaps={words: replace(gap, p_holm=next(corrected)) for words, gap in table.gaps.items()})
        for table in found
    ]


def _fellows(models: Sequence[Model], members: Sequence[Model], asked: RequestSet) -> list[Model]:
    """The members that are about the task, and rows of their fit with prompts that it does not know."""
    return [one for one in members if is_about(one, asked)] + strangers(models, members)


def _together(store: Store, asked: RequestSet, fellows: Sequence[Model]) -> list[Model]:
    """Who was asked at all, with the seeds alone under which everyone was: an interrupted run leaves others."""
    seeds = {
        model.name: {
            cell.seed
            for cell in model.cells
            for one in cell.predictions
            if one.name == asked.name and store.has_prediction(cell.key, one.key)
        }
        for model in fellows
    }
    some = [model for model in fellows if seeds[model.name]]
    common = set.intersection(*(seeds[model.name] for model in some)) if some else set()
    found = []
    for model in some:
        kept = [(cell, fit) for cell, fit in zip(model.cells, model.fits, strict=True) if cell.seed in common]
        found.append(replace(model, cells=tuple(cell for cell, _ in kept), fits=tuple(fit for _, fit in kept)))
    return found if common else []


def _table(plan: Plan, store: Store, asked: RequestSet, fellows: Sequence[Model]) -> PromptTable | None:
    fellows = _together(store, asked, fellows)
    frames = measured_on(asked.name, store, fellows)
    silent = {name for name, own in frames.items() if coverage(own) == 0}
    members = [model for model in fellows if model.prompt is not None and model.name in frames.keys() - silent]
    primary = plan.suite.primary_for(asked.task)
    if len(members) < 2 or not parse(primary).defined(frames[members[0].name][0]):
        return None
    units = units_of(asked.unit, frames[members[0].name][0])
    values = {model.name: values_of(primary, frames[model.name]) for model in members}
    drawn = _intervals(values, units)
    prompts = tuple(PromptValue(model, drawn[model.name], coverage(frames[model.name])) for model in members)
    ways: dict[Words, list[PromptValue]] = {"all": [*prompts]}
    trained = [one for one in prompts if _group(one) == "seen" or not _untrained(one)]
    if len(trained) < len(prompts):
        ways["trained"] = trained
    groups, gaps = dict[Words, tuple[Group, ...]](), dict[Words, Gap]()
    for words, chosen in ways.items():
        groups[words] = _groups(chosen, values, units, higher_is_better=parse(primary).higher_is_better)
        by_name = {group.name: group for group in groups[words]}
        if "seen" in by_name and UNSEEN in by_name:
            apart = _apart(chosen, UNSEEN, values)
            p = float(randomisation_p(units.to_cells(apart).mean(axis=0)[None], units, permutations=PERMUTATIONS)[0])
            gap = by_name[UNSEEN].gap
            assert gap is not None
            gaps[words] = Gap(by_name["seen"], by_name[UNSEEN], gap, p, np.nan)
    unserved = tuple(str(model.cells[0].asking[SETTING]) for model in fellows if model.name in silent)
    return PromptTable(asked, members[0].title, primary, str(units), prompts, unserved, groups, gaps)


def _group(one: PromptValue) -> str:
    assert one.model.prompt is not None
    return one.model.prompt.group


def _untrained(one: PromptValue) -> bool:
    return one.model.prompt is not None and bool(one.model.prompt.untrained)


def _of(prompts: Sequence[PromptValue], group: str) -> list[PromptValue]:
    return [one for one in prompts if _group(one) == group or (group == UNSEEN and _group(one) != "seen")]


def _groups(
    prompts: Sequence[PromptValue], values: Mapping[str, _Values], units: Units, *, higher_is_better: bool
) -> tuple[Group, ...]:
    """Every group that has a prompt; all unseen ones together come last."""
    chosen = {name: own for name in (*GROUPS, UNSEEN) if (own := _of(prompts, name))}
    tested = [name for name in chosen if name != "seen"] if "seen" in chosen else []
    gaps = _intervals({name: _apart(prompts, name, values) for name in tested}, units)
    groups = []
    for name, own in chosen.items():
        means = np.array([one.found.mean for one in own])
        place = int(means.argmin() if higher_is_better else means.argmax())
        prompt = own[place].model.prompt
        assert prompt is not None
        sd = float(means.std(ddof=1)) if len(means) > 1 else np.nan
        groups.append(Group(name, len(own), float(means.mean()), sd, float(means[place]), prompt.id, gaps.get(name)))
    return tuple(groups)


def _apart(prompts: Sequence[PromptValue], group: str, values: Mapping[str, _Values]) -> _Values:
    """Mean over the seen prompts minus mean over those of a group, shape (seeds, requests)."""
    seen, others = (np.mean([values[one.model.name] for one in _of(prompts, name)], axis=0) for name in ("seen", group))
    apart: _Values = np.where(np.abs(seen - others) <= _SAME, 0.0, seen - others)
    return apart


def _intervals(values: Mapping[str, _Values], units: Units) -> dict[str, Interval]:
    return intervals(values, units, replicates=REPLICATES, level=LEVEL)
