"""Rows of a suite that ask one and the same fit with different prompts: a family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.data.hashing import digest
from bench.errors import ModelError
from bench.report.values import Model, Prompt
from bench.tasks import RequestSet

__all__ = ["SETTING", "families", "is_about", "joined", "spokesmen", "strangers"]

SETTING = "prompt"
"""The asking setting that tells the members of a family apart; the others are the same."""


class _Note(BaseModel):
    """What a fit report says of a prompt (``notes["prompts"]``)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: str
    group: Literal["seen", "held-out", "word", "structure", "register"]
    of: str | None = None
    untrained_words: tuple[str, ...] = ()


def joined(models: Sequence[Model]) -> list[Model]:
    """The same models, those of a family with its name, its label and their prompts.

    Raises
    ------
    ModelError
        When a fit report describes its prompts in a form that cannot be read.
    """
    groups: dict[str, list[Model]] = defaultdict(list)
    prompts = {model.name: prompt for model in models if (prompt := _prompt(model)) is not None}
    for model in models:
        if model.name in prompts:
            cells = model.cells
            rest = {name: value for name, value in cells[0].asking.items() if name != SETTING}
            groups[digest([[cell.key for cell in cells], rest, model.block])].append(model)
    # Two prompts of one task, at least: by itself, a prompt is a row like any other.
    tasks = {name: [prompts[model.name].task for model in group] for name, group in groups.items()}
    found = [group for name, group in groups.items() if len(set(tasks[name])) < len(group)]
    alone = {model.label for model in models} - {model.label for group in found for model in group}
    labels = [str(group[0].fits[0]["label"]) for group in found]
    said = {
        model.name: (group[0].name, label if labels.count(label) == 1 and label not in alone else group[0].label)
        for group, label in zip(found, labels, strict=True)
        for model in group
    }
    return [
        replace(model, family=said[model.name][0], family_label=said[model.name][1], prompt=prompts[model.name])
        if model.name in said
        else model
        for model in models
    ]


def _prompt(model: Model) -> Prompt | None:
    """The prompt that an entry asks with; ``None`` where its fit knows none of that name, or no other one."""
    notes = [_prompts_of(fit) for fit in model.fits]
    name = str(model.cells[0].asking.get(SETTING, ""))
    if len(notes[0]) < 2 or any(name not in known for known in notes):
        return None
    read = [_read(model, name, known[name]) for known in notes]
    # Seeds may have drawn different prompts: a word counts as trained where every one of them met it.
    untrained = sorted({word for note in read for word in note.untrained_words})
    return Prompt(name, read[0].task, read[0].group, read[0].of, tuple(untrained))


def _prompts_of(fit: Mapping[str, Any]) -> Mapping[str, Any]:
    prompts: Mapping[str, Any] = fit.get("notes", {}).get("prompts", {})
    return prompts


def _read(model: Model, name: str, raw: Any) -> _Note:
    try:
        return _Note.model_validate(raw)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise ModelError(f'{model.label}: notes["prompts"][{name!r}] of its fit: {where}: {detail["msg"]}') from error


def families(models: Iterable[Model]) -> list[list[Model]]:
    """The families, each in the order of the suite."""
    found: dict[str, list[Model]] = {}
    for model in models:
        if model.family:
            found.setdefault(model.family, []).append(model)
    return list(found.values())


def is_about(model: Model, asked: RequestSet) -> bool:
    """Whether a member's prompt is one of the task."""
    return model.prompt is not None and model.prompt.task == asked.task


def strangers(models: Iterable[Model], members: Sequence[Model]) -> list[Model]:
    """Rows that ask the fit of a family with a prompt that it does not know, not even as its default."""
    keys = [cell.key for cell in members[0].cells]
    return [
        one
        for one in models
        if not one.family
        and [cell.key for cell in one.cells] == keys
        and one.cells[0].asking[SETTING] != one.cells[0].spec["settings"][SETTING]
    ]


def spokesmen(models: Sequence[Model], asked: RequestSet, served: Collection[str]) -> list[Model]:
    """Whoever has a row in the tables of a request set: of each family, one member.

    It is the one with the first seen prompt of the task, or, if none of these was asked, with the first of the task;
    where no member does the task, the first of all. A prompt that the fit does not know, for it shows what the data
    lacks, has no row.

    Parameters
    ----------
    served : collection of str
        Names of the models that answered some request.
    """
    chosen = {}
    dumb = set[str]()
    for members in families(models):
        able = [one for one in members if one.name in served and is_about(one, asked)]
        seen = [one for one in able if one.prompt is not None and one.prompt.group == "seen"]
        chosen[members[0].family] = (seen or able or members)[0].name
        dumb |= {one.name for one in strangers(models, members) if one.name not in served}
    return [model for model in models if chosen.get(model.family, model.name) == model.name and model.name not in dumb]
