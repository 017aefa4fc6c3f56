"""Which prompt asks: from a task and the settings to the templates that may serve it, best first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from bench.errors import UsageError
from bench.models import Capabilities
from bench.tasks import TaskName
from llm_models.indexing import extendable
from llm_models.p5.sequences import GROUPS, group_of
from llm_models.p5.settings import P5Settings
from llm_models.prompts import WHO, PromptCollection, Template, load_prompts

__all__ = ["QUESTIONS", "Question", "abilities", "collection", "drawn", "tasks_of", "templates_for", "variants"]

_ITEM = frozenset({"item", "title", "brand", "price"})
#: What a template shows of an item by its id alone.
_IDS = frozenset({"item", "candidates"})


@dataclass(frozen=True)
class Question:
    """What a task gives a prompt to show, and what it wants in return.

    Attributes
    ----------
    family : str
        Whose templates serve it unless one is named.
    targets : tuple of str
        Fields of the answer; each is enough.
    gives : frozenset of str
    shows : frozenset of str
        A template must show one of these: without it, it serves a task that gives less.
    reading : {"sequential", "direct"} or None
        The setting that says whether items are written or asked about one by one.
    """

    family: str
    targets: tuple[str, ...]
    gives: frozenset[str]
    shows: frozenset[str] = frozenset()
    reading: Literal["sequential", "direct"] | None = None

    def served_by(self, template: Template) -> bool:
        """Whether a template asks what the task wants and shows what it gives."""
        # Stars beside a sentence are part of that answer.
        asked = template.target_fields - {"star"} or template.target_fields
        return (
            template.fields <= self.gives
            and bool(self.shows & template.fields or not self.shows)
            and asked <= frozenset(self.targets)
        )


_HISTORY = frozenset({"history", "history_titles"})
_FEATURE, _STAR, _BODY = frozenset({"feature"}), frozenset({"star"}), frozenset({"body"})
QUESTIONS: dict[TaskName, Question] = {
    "sequential": Question(
        "sequential", ("item", "yes_no"), WHO | _ITEM | _HISTORY | {"candidates"}, _HISTORY, reading="sequential"
    ),
    "direct": Question("direct", ("item", "yes_no"), WHO | _ITEM | {"candidates"}, reading="direct"),
    "rating": Question("rating", ("star",), WHO | _ITEM),
    "click": Question("rating", ("like",), WHO | _ITEM),
    "explanation": Question("explanation", ("explanation",), WHO | _ITEM),
    "feature-explanation": Question("explanation", ("explanation",), WHO | _ITEM | _FEATURE, _FEATURE),
    "rated-explanation": Question("explanation", ("explanation",), WHO | _ITEM | _FEATURE | _STAR, _STAR),
    "headline": Question("review", ("headline",), WHO | _ITEM | _BODY, _BODY),
    "preference": Question("review", ("star",), WHO | _ITEM | _BODY, _BODY),
}


def collection(name: str, extra: bool) -> PromptCollection:
    """The collection of that name or path, with or without its extra prompts; a file that has changed is read anew."""
    path = Path(name).expanduser()
    seen = path.stat() if path.is_file() else None
    return _collection(name, extra, seen and (path.resolve(), seen.st_mtime_ns, seen.st_size))


@lru_cache(maxsize=32)
def _collection(name: str, extra: bool, file: tuple[Path, int, int] | None) -> PromptCollection:
    prompts = load_prompts(name)
    return prompts if extra else prompts.without_extra()


def tasks_of(template: Template) -> tuple[TaskName, ...]:
    """Tasks that a template can serve."""
    return tuple(task for task, question in QUESTIONS.items() if question.served_by(template))


def drawn(template: Template, settings: P5Settings) -> bool:
    """Whether training draws prompts of a template's kind (the cross-domain family is asked of models without any)."""
    number = getattr(settings.numbers, template.family, 1)
    if isinstance(number, tuple):
        number = number[GROUPS[template.family].index(group_of(template))]
    return bool(number > 0)


def templates_for(task: TaskName, prompts: PromptCollection, settings: P5Settings) -> tuple[Template, ...]:
    """Templates that may ask the requests of a task; which of them does depends on what a request gives.

    A prompt that is named serves every task that it can. Otherwise those of the task's family do, as far as they are
    drawn in training and their answer is read in the way that the settings say. First come those that show most of
    what the task gives beyond user and item, then those that are asked for nothing besides.

    Parameters
    ----------
    prompts : PromptCollection
        Templates that are not in it serve nothing.

    Raises
    ------
    UsageError
        For a prompt that the collection of the settings does not hold, and for one that stands for several.
    """
    question = QUESTIONS[task]
    if settings.families is not None and question.family not in settings.families:
        return ()
    if settings.prompt == "each":
        raise UsageError("`prompt: each` stands for several entries of a suite; to ask one model, name one prompt")
    if settings.prompt in {None, "held-out"}:
        group = "held-out" if settings.prompt else "seen"
        target = {"item": "item", "yes-no": "yes_no", None: None}[getattr(settings, question.reading or "", None)]
        found = [
            template
            for template in prompts.templates
            if template.family == question.family
            and template.group == group
            and target in {None, *template.target_fields}
            and drawn(template, settings)
        ]
    else:
        wanted = collection(settings.prompts, settings.extra).template(str(settings.prompt))
        found = [template for template in prompts.templates if template.id == wanted.id]
    special = question.gives - WHO - _ITEM - {"candidates"}
    served = [template for template in found if question.served_by(template)]
    return tuple(sorted(served, key=lambda t: (-len(t.fields & special), len(t.target_fields))))


def abilities(settings: P5Settings) -> Capabilities:
    """What a P5 of these settings can do, on data that has all that its prompts show.

    Newcomers are served where every task has a prompt that does without their ids; a direct request is about a training
    user anyway.
    """
    prompts = collection(settings.prompts, settings.extra)
    by_task = {task: templates_for(task, prompts, settings) for task in QUESTIONS}
    tasks = {task: found for task, found in by_task.items() if found}
    nameless = all(any(not t.fields & WHO for t in found) for task, found in tasks.items() if task != "direct")
    titled = all(any(not (t.fields | t.target_fields) & _IDS for t in found) for found in tasks.values())
    newcomers = {"semantic": "semantic id"}.get(settings.index, "id at a random place")
    return Capabilities(
        tasks=frozenset(tasks),
        cold_users="prompt without the user" if nameless and set(tasks) != {"direct"} else None,
        cold_items=newcomers if extendable(settings.index) else "title prompt" if titled and tasks else None,
        needs_text=settings.index == "semantic",
        answers_with="lists",
        draws=True,
        fresh_draws="fresh-negatives" in settings.quirks,
    )


def variants(settings: P5Settings, tasks: Collection[str]) -> dict[str, P5Settings]:
    """The settings with each prompt in turn that can serve one of the tasks, as its answer is read.

    Prompts of a kind that is never drawn in training are left out, and so are the paraphrases of such.
    """
    prompts = collection(settings.prompts, settings.extra)
    found: dict[str, P5Settings] = {}
    for template in prompts.templates:
        original = template if template.of is None else prompts.template(template.of)
        one = settings.model_copy(update={"prompt": template.id})
        if drawn(original, settings) and any(
            task in tasks and templates_for(task, prompts, one) and _read(template, QUESTIONS[task], settings)
            for task in tasks_of(template)
        ):
            found[template.id] = one
    return found


def _read(template: Template, question: Question, settings: P5Settings) -> bool:
    """Whether the settings read items as the template gives them."""
    if question.reading is None:
        return True
    return ("yes_no" in template.target_fields) == (getattr(settings, question.reading) == "yes-no")
