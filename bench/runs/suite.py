"""Suites: what is compared on what, read from YAML into a frozen value."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from bench.data import card_names
from bench.errors import ModelError, UsageError, nearest
from bench.metrics import parse
from bench.models import Budget, Settings, model_class
from bench.runs.lock import Tuned, read_lock
from bench.splits import AnyProtocol
from bench.tasks import TASKS

__all__ = ["ModelEntry", "Suite", "load_suite", "suite_names"]


class ModelEntry(BaseModel):
    """One row of a suite.

    Attributes
    ----------
    name : str
        Unique within the suite; what ``--models`` and ``--set`` refer to. Default: ``model``.
    model : str
        Entry point under ``bench.models``.
    settings : dict
        The model's own settings, checked against its ``Settings``.
    budget : Budget
    block : str
        ``"main"``, or ``"smoke-trained"``: shown in a block of its own, outside bold and tests.
    tuned : Tuned or None
        Which tuning its settings come from; filled in from a lock file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    settings: dict[str, Any] = Field(default_factory=dict)
    budget: Budget = Budget()
    block: Literal["main", "smoke-trained"] = "main"
    tuned: Tuned | None = None

    @model_serializer(mode="wrap")
    def _untuned_leaves_no_trace(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        raw: dict[str, Any] = dump(self)
        if self.tuned is None:
            raw.pop("tuned", None)
        return raw

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value, "model": value}
        if isinstance(value, dict):
            if "model" not in value and "name" in value:
                return {**value, "model": value["name"]}
            if "name" not in value and "model" in value:
                return {**value, "name": value["model"]}
        return value

    def parsed_settings(self) -> Settings:
        """Check ``settings`` against the model's own.

        Raises
        ------
        UsageError
            Naming the model, the setting and, for an unknown one, the nearest known.
        """
        schema = model_class(self.model).Settings
        unknown = sorted(set(self.settings) - set(schema.model_fields))
        if unknown:
            raise nearest(f"setting of {self.name}", unknown[0], schema.model_fields)
        try:
            return schema.model_validate(self.settings)
        except ValidationError as error:
            raise UsageError(f"model {self.name!r}: {_first(error)}") from error

    def fitting(self) -> ModelEntry:
        """The same without the settings that only ask: what its model is fitted, and tuned, with."""
        asking = model_class(self.model).Settings.asking
        return self.model_copy(update={"settings": {k: v for k, v in self.settings.items() if k not in asking}})

    def variants(self, tasks: Collection[str]) -> tuple[ModelEntry, ...]:
        """The rows that it stands for, all of one fit: itself, or what its model makes of it (``prompt: each``).

        Raises
        ------
        UsageError
            As :meth:`parsed_settings`, and where it stands for no row.
        ModelError
            When the model expands an entry into variants that would be fitted apart.
        """
        model, settings = model_class(self.model), self.parsed_settings()
        found = model.expand(settings, tasks)
        if not found:
            raise UsageError(f"{self.name} stands for nothing: it can ask for none of {', '.join(tasks)}")
        if any(one.fitting() != settings.fitting() for one in found.values()):
            raise ModelError(
                f"{self.name}: variants of {model.__name__}.expand differ in more than settings that only ask "
                f"({', '.join(sorted(settings.asking)) or 'it declares none'})"
            )
        if list(found) == [""]:
            return (self,)
        plain = settings.model_dump(mode="json")
        entries = []
        for name, variant in found.items():
            changed = {k: v for k, v in variant.model_dump(mode="json").items() if v != plain[k]}
            own = {"name": f"{self.name} {name}".strip(), "settings": {**self.settings, **changed}}
            entries.append(self.model_copy(update=own))
        return tuple(entries)


class Suite(BaseModel):
    """A question: these models, on this data, under this protocol.

    Attributes
    ----------
    metrics : tuple of str
        Each is computed for the tasks it measures.
    primary : str or tuple of str
        The metric that models are chosen and tested by: one for each kind of task (ranking, rating, click).
    validation_requests : int or None
        At most this many requests of each validation set (a seeded draw) give the number that models are selected
        by while they train; the table's own validation figures use all.
    refit : bool
        Whether a model, once chosen, learns again from training and validation events together.
    allow_leaky_index : bool
        Whether models are handed every user's full sequence, held-out events included, to number items by
        (``Training.leak``): for the study of what that does, and said under every table.
    per_dataset : dict
        Data set -> what changes when the suite is run on it instead of its own (keys as ``--set`` takes them): budgets
        and the wording of prompts, say. Resolved, and gone, once the data set is chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    dataset: str
    protocol: AnyProtocol
    split_seed: int = Field(0, ge=0)
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    primary: str | tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    validation_requests: int | None = Field(None, ge=1)
    refit: bool = False
    allow_leaky_index: bool = False
    per_dataset: dict[str, dict[str, Any]] = Field(default_factory=dict, exclude=True)
    models: tuple[ModelEntry, ...] = Field(min_length=1)

    @model_serializer(mode="wrap")
    def _no_leak_leaves_no_trace(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        raw: dict[str, Any] = dump(self)
        if not self.allow_leaky_index:
            del raw["allow_leaky_index"]
        return raw

    @field_validator("tasks")
    @classmethod
    def _tasks_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(TASKS)}")
        for task in value:
            if task not in TASKS:
                raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
        return value

    @model_validator(mode="after")
    def _coherent(self) -> Suite:
        for metric in (*self.metrics, *self._primaries):
            if parse(metric).descriptive and metric in self._primaries:
                raise ValueError(f"primary {metric!r} has no interval, so nothing can be tested by it; choose another")
        for task in self.tasks:
            if not any(task in parse(metric).tasks for metric in self._primaries):
                raise ValueError(f"primary names no metric of the task {task!r}")
        names = [entry.name for entry in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two models are named {twice[0]!r}")
        for dataset in self.per_dataset:
            if dataset.split(":")[0] not in card_names() and not dataset.endswith((".yaml", ".yml")):
                raise ValueError(
                    f"per_dataset: there is no data set {dataset!r} (`bench list datasets`), and no card {dataset}"
                )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds must be one or more distinct numbers, 0 or more")
        return self

    @property
    def depth(self) -> int:
        """Length of the lists asked of models that generate: the largest cut-off."""
        return max(parse(metric).k for metric in (*self.metrics, *self._primaries))

    @property
    def _primaries(self) -> tuple[str, ...]:
        return (self.primary,) if isinstance(self.primary, str) else self.primary

    def primary_for(self, task: str) -> str:
        """The primary metric of a task."""
        return next(metric for metric in self._primaries if task in parse(metric).tasks)

    def metrics_for(self, task: str) -> tuple[str, ...]:
        """The metrics of a task, in the order of the suite."""
        return tuple(metric for metric in self.metrics if task in parse(metric).tasks)

    def narrowed(
        self,
        *,
        dataset: str | None = None,
        models: list[str] | None = None,
        seeds: list[int] | None = None,
        changes: dict[str, Any] | None = None,
        split: Path | None = None,
        tuned: Path | None = None,
    ) -> Suite:
        """Replace the dataset, keep only some models (or add any installed one), set seeds, change settings.

        ``split``: a folder that holds a split to use instead of the protocol (``bench.splits.exchange``).

        ``tuned``: a lock file (``bench tune``); its settings take the place of the suite's.

        ``changes`` maps dotted keys to values: ``sasrec.hidden_size`` (a model's setting), ``sasrec.budget.patience``,
        ``sasrec.budget`` or ``sasrec.settings`` (all of it anew), ``protocol.test_users``, ``protocol`` (all of
        it anew), ``split_seed``, ``validation_requests``, ``refit``, ``allow_leaky_index``.

        Raises
        ------
        UsageError
            For unknown names, keys and values.
        """
        raw = self.model_dump()
        if dataset is not None:
            raw["dataset"] = dataset
            for key, value in self.per_dataset.get(dataset, {}).items():
                _change(raw, key, value)
        if seeds is not None:
            raw["seeds"] = seeds
        if models is not None:
            entries = {entry["name"]: entry for entry in raw["models"]}
            raw["models"] = [entries[name] if name in entries else self._installed(name) for name in models]
        if split is not None:
            if not split.is_dir():
                raise UsageError(f"no folder {split} to take a split from")
            raw["protocol"] = {"name": "published", "folder": str(split)}
        locked = _lock(raw["models"], tuned) if tuned is not None else {}
        for key, value in (changes or {}).items():
            _change(raw, key, value)
        for entry in raw["models"]:
            for key, value in locked.get(entry["name"], {}).items():
                if entry["settings"][key] != value:
                    raise UsageError(
                        f"{entry['name']}.{key} was tuned to {value!r}, and --set asks for {entry['settings'][key]!r}: "
                        f"leave out one of --tuned and --set"
                    )
        return _validate(raw, self.name)

    def _installed(self, name: str) -> dict[str, Any]:
        from bench.models import model_names

        if name not in model_names():
            raise nearest("model", name, {*model_names(), *(entry.name for entry in self.models)})
        return ModelEntry(name=name, model=name).model_dump()


def _lock(entries: list[dict[str, Any]], path: Path) -> dict[str, dict[str, Any]]:
    """Put the settings of a lock file into the raw entries it names; returns them by name."""
    lock = read_lock(path)
    if not any(entry["name"] in lock.entries for entry in entries):
        raise UsageError(f"lock file {path} holds none of the models asked for; it holds {', '.join(lock.entries)}")
    locked = {}
    for entry in entries:
        name = entry["name"]
        if name not in lock.entries:
            continue
        found = lock.entries[name]
        if found.model != entry["model"]:
            raise UsageError(f"lock file {path}: {name} is the model {found.model}, here it is {entry['model']}")
        entry["settings"] = {**entry["settings"], **found.settings}
        entry["tuned"] = lock.tuned(name).model_dump()
        locked[name] = found.settings
    return locked


_PLAIN = ("allow_leaky_index", "metrics", "primary", "refit", "split_seed", "tasks", "validation_requests")


def _change(raw: dict[str, Any], key: str, value: Any) -> None:
    head, _, rest = key.partition(".")
    entries = {entry["name"]: entry for entry in raw["models"]}
    if head in entries and rest:
        entry = entries[head]
        first, _, inner = rest.partition(".")
        if first == "budget" and inner:
            _put(entry, "budget", inner, value, Budget.model_fields)
        elif rest in ("block", "budget", "settings"):
            entry[rest] = value
        else:
            entry["settings"] = {**entry["settings"], rest: value}
    elif head == "protocol" and rest:
        _put(raw, "protocol", rest, value, raw["protocol"])
    elif key == "protocol" and isinstance(value, dict):
        raw["protocol"] = value
    elif not rest and head in _PLAIN:
        raw[head] = value
    else:
        known = [f"{name}.<setting>" for name in entries] + list(_PLAIN)
        raise nearest("key to set", key, known)


def _put(holder: dict[str, Any], name: str, key: str, value: Any, known: Any) -> None:
    if key not in known:
        raise nearest(f"key of {name}", key, known)
    holder[name] = {**holder[name], key: value}


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"])


def _validate(raw: Any, source: str) -> Suite:
    # The models' own settings are checked when a plan is made: a suite may name models that are not installed here.
    try:
        return Suite.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"suite {source}: {_first(error)}") from error


def suite_names() -> list[str]:
    """Names of the shipped suites."""
    return sorted(path.name.removesuffix(".yaml") for path in _shipped() if path.name.endswith(".yaml"))


def _shipped() -> list[Any]:
    return list(files("bench.suites").iterdir())


def load_suite(name: str) -> Suite:
    """Read a shipped suite by name, or any suite from a YAML file.

    Raises
    ------
    UsageError
        For an unknown name or a file that is not a valid suite.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"suite file {name} does not exist")
        text = path.read_text(encoding="utf-8")
    elif name in suite_names():
        text = files("bench.suites").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise nearest("suite", name, suite_names())
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"suite {name} is not valid YAML: {error}") from error
    return _validate(raw, name)
