"""From a suite to cells: what must be fitted and predicted, under which keys, and what the store already has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.data import load_dataset
from bench.data.hashing import digest
from bench.errors import MissingInputError, UsageError
from bench.metrics import TEXT_LIBRARIES, TextMetric, parse
from bench.models import Capabilities, Settings, model_class
from bench.models.presets import load_preset
from bench.runs.store import Store
from bench.runs.suite import ModelEntry, Suite
from bench.splits import Split, make_split
from bench.tasks import RequestSet, possible_sets

__all__ = ["Cell", "Plan", "Prediction", "make_plan", "put_as", "selected_on", "split_of"]

SCORER_VERSION = "1"
"""Raised whenever the same model output would be counted otherwise."""


@dataclass(frozen=True)
class Prediction:
    """One request set put to one fitted model."""

    name: str
    key: str
    spec: dict[str, Any]
    cached: bool


@dataclass(frozen=True)
class Cell:
    """One fit with the predictions that need it.

    Attributes
    ----------
    name : str
        Of the entry, with the seed where the suite has several.
    entry : ModelEntry
        Of the suite, or one of the variants that it stands for.
    key : str
        Names the cell's folder in the store; empty when ``missing`` says that it cannot run. Cells whose entries
        differ only in how the fitted model is asked have the same.
    missing : str
        What the model lacks and how to get it; empty when it can run.
    asking : mapping
        The settings that only ask, each with its value; empty where the model declares none.
    """

    name: str
    entry: ModelEntry
    seed: int
    label: str
    key: str
    spec: dict[str, Any]
    cached: bool
    predictions: tuple[Prediction, ...]
    missing: str = ""
    asking: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.cached and all(prediction.cached for prediction in self.predictions)


@dataclass(frozen=True, eq=False)
class Plan:
    """A suite with its split, request sets and cells.

    Attributes
    ----------
    left_out : mapping of str to str
        Tasks of the suite that this data, or this protocol, cannot ask, with the reason.
    """

    suite: Suite
    device: str
    split: Split
    sets: tuple[RequestSet, ...]
    cells: tuple[Cell, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> Suite:
        """The suite with the tasks alone that can be asked."""
        return _without(self.suite, self.left_out)

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """The rows of its tables: the suite's entries, or the variants that they stand for."""
        return tuple({cell.entry.name: cell.entry for cell in self.cells}.values())

    @property
    def to_do(self) -> list[Cell]:
        """Cells that are not complete in the store and can run."""
        return [cell for cell in self.cells if not cell.done and not cell.missing]

    def set_named(self, name: str) -> RequestSet:
        """The request set of that name."""
        return next(asked for asked in self.sets if asked.name == name)


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions of distributions; "absent" where one is not installed."""
    found = {}
    for name in sorted(set(names)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def make_plan(suite: Suite, store: Store, *, device: str = "cpu") -> Plan:
    """Work out every key and look each up in the store.

    Raises
    ------
    UsageError, DataError
        For a suite, or data, that cannot be run.
    """
    if re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
        raise UsageError(f"--device takes cpu, cuda or cuda:<number>, not {device!r}")
    split = split_of(suite)
    for entry in suite.models:
        load_preset(entry.model)  # tables ask for it: a settings file that is wrong must not wait until then
    sets, left_out = possible_sets(split, suite.tasks)
    asked = _without(suite, left_out)
    for entry in suite.models:
        _check_tuned(asked, entry, split)
    rows = [(entry, row) for entry in suite.models for row in entry.variants(asked.tasks)]
    twice = [name for name, count in Counter(row.name for _, row in rows).items() if count > 1]
    if twice:
        raise UsageError(f"two rows of suite {suite.name} are named {twice[0]!r}: rename one of the entries")
    cells = []
    for entry, row in rows:
        # A table's reference is chosen on validation, among classic models: the many prompts of another need not be
        # asked there.
        only_test = row is not entry and model_class(row.model).side != "classic"
        put = [one for one in sets if one.part == "test"] if only_test else sets
        cells += [_cell(asked, row, seed, split, sets, put, left_out, store, device) for seed in suite.seeds]
    return Plan(suite, device, split, tuple(sets), tuple(cells), left_out)


def _without(suite: Suite, tasks: Collection[str]) -> Suite:
    return suite.model_copy(update={"tasks": tuple(task for task in suite.tasks if task not in tasks)})


def split_of(suite: Suite, *, refit: bool = False) -> Split:
    """The split of a suite; with ``refit``, validation events are learned from too."""
    return make_split(
        load_dataset(suite.dataset),
        suite.protocol,
        seed=suite.split_seed,
        refit=refit,
        leak=suite.allow_leaky_index,
    )


def _check_tuned(suite: Suite, entry: ModelEntry, split: Split) -> None:
    """Refuse settings that were chosen on another split or by another metric."""
    if entry.tuned is None:
        return
    if entry.tuned.split != split.identity:
        raise UsageError(
            f"{entry.name} was tuned on split {entry.tuned.split[:12]}, this run uses {split.identity[:12]} of "
            f"{suite.dataset}: tune it on this split (`bench tune`), or leave the lock file out"
        )
    metric, _ = selected_on(suite, model_class(entry.model).capable(entry.parsed_settings().fitting()).tasks)
    if entry.tuned.metric != metric:
        raise UsageError(
            f"{entry.name} was tuned for {entry.tuned.metric}, this run selects by {metric}: tune it for that, or "
            "leave the lock file out"
        )


def selected_on(suite: Suite, tasks: Collection[str]) -> tuple[str, list[str]]:
    """The metric that a model doing ``tasks`` is chosen by while it trains, and the tasks of the suite it is read from.

    Who ranks, rates and predicts clicks is chosen by what the suite names first: metrics of different kinds have no
    common mean.
    """
    done = [task for task in suite.tasks if task in tasks]
    metric = suite.primary_for((done or suite.tasks)[0])
    return metric, [task for task in done if task in parse(metric).tasks]


def put_as(settings: Settings, able: Capabilities, task: str) -> Settings:
    """The settings with which a task is put to a model, alike for entries that differ in what cannot matter to it.

    Where candidates are drawn anew for each row of a table, rows are told apart by all settings.
    """
    return settings if able.fresh_draws else settings.putting(task)


def _asking(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(settings.asking))


def _cell(
    suite: Suite,
    entry: ModelEntry,
    seed: int,
    split: Split,
    sets: Sequence[RequestSet],
    put: Sequence[RequestSet],
    left_out: Mapping[str, str],
    store: Store,
    device: str,
) -> Cell:
    """Describe a fit, which may be validated on any of ``sets``, and predictions of those that are ``put`` to it."""
    model, settings = model_class(entry.model), entry.parsed_settings()
    fitting, asking = settings.fitting(), _asking(settings)
    label, able, fits = model.label(settings), model.capable(settings), model.capable(fitting)
    missing, identity = "", {}
    try:
        identity = model.identity(fitting)
        if (able.needs_text or fits.needs_text) and not split.training.has_text:
            raise MissingInputError(
                f"{label} needs item titles, and {suite.dataset} has none here; "
                f"`bench data show {suite.dataset}` says where to get them"
            )
    except MissingInputError as error:
        missing = str(error)
    if not set(able.tasks) & set(suite.tasks):
        unasked = ", ".join(task for task in left_out if task in able.tasks)
        missing = missing or f"all that it answers is left out here ({unasked})"
    metric, tasks = selected_on(suite, fits.tasks)
    validated = [asked.identity for asked in sets if asked.part == "valid" and asked.task in tasks]
    spec = {
        "model": entry.model,
        "model_version": model.version,
        "settings": fitting.model_dump(mode="json"),
        "budget": entry.budget.model_dump(mode="json"),
        "brings": identity,
        "seed": seed,
        "device": device,
        "libraries": library_versions(model.libraries),
        "split": split.identity,
        "selected_on": {
            "metric": metric,
            "sets": validated,
            "limit": suite.validation_requests,
            "k": suite.depth,
            "scorer": SCORER_VERSION,
            **({"libraries": library_versions(TEXT_LIBRARIES)} if isinstance(parse(metric), TextMetric) else {}),
        },
        **({"refit": True} if suite.refit else {}),
        **({"leaky_index": True} if suite.allow_leaky_index else {}),
    }
    key = "" if missing else digest(spec)[:32]
    predictions = []
    for asked in put:
        if asked.task not in able.tasks or missing:
            continue
        described = {
            "fit": key,
            "set": asked.identity,
            "name": asked.name,
            "unit": asked.unit,
            "k": suite.depth,
            "scorer": SCORER_VERSION,
            **({"asking": _asking(put_as(settings, able, asked.task))} if asking else {}),
        }
        found = digest(described)[:32]
        predictions.append(Prediction(asked.name, found, described, store.has_prediction(key, found)))
    cached = not missing and store.has_cell(key)
    name = entry.name if len(suite.seeds) == 1 else f"{entry.name} (seed {seed})"
    return Cell(name, entry, seed, label, key, spec, cached, tuple(predictions), missing, asking)
