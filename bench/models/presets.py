"""What there is to tune about a model: search spaces, read from settings files that its package carries.

The file of the entry point ``sasrec`` whose class lives in the package ``baselines`` is
``baselines/settings/sasrec.yaml``::

    source: where the defaults and the ranges come from
    search:
      learning_rate: {low: 0.0001, high: 0.01, log: true}
      layers: {low: 1, high: 3}
      dropout: {low: 0.0, high: 0.8, step: 0.1}
      half_life: {choices: [1, 2, 4, null]}
      temperature: {low: 0.05, high: 1, log: true, when: {heads: contrastive}}
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from bench.errors import UsageError, nearest
from bench.models.contract import Settings
from bench.models.registry import model_class

__all__ = ["Dimension", "Preset", "Value", "load_preset"]

Value = bool | int | float | str | None
"""What a setting that is searched may be."""


class Dimension(BaseModel):
    """The values that one setting may take: a range, or a list of choices.

    Attributes
    ----------
    low, high : float or None
        Ends of a range, both included; whole numbers for a setting that takes no others.
    log : bool
        Whether proportions count in the range and not differences.
    step : float or None
        Distance of the values in a range; must divide it.
    choices : tuple or None
    when : mapping of str to tuple
        Other settings with the values under which this one matters; elsewhere it is not searched.
    whole : bool
        Whether a range holds whole numbers only; follows from the model's ``Settings``, not from the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] | None = None
    when: Mapping[str, tuple[Value, ...]] = {}
    whole: bool = False

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_is_a_list_too(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: allowed if isinstance(allowed, list) else [allowed] for name, allowed in value.items()}

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("a list of choices has no low, high, log or step")
            if len(self.choices) < 2 or len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("choices must be two or more distinct values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high, not {self.low:g} and {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a log range starts above 0 and has no step")
        if self.step is not None:
            steps = (self.high - self.low) / self.step if self.step > 0 else 0.5
            if abs(steps - round(steps)) > 1e-9:
                raise ValueError(f"step {self.step:g} does not divide the range from {self.low:g} to {self.high:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of a range."""
        if self.low is None or self.high is None:
            raise TypeError("choices have no ends")
        return self.low, self.high

    @property
    def size(self) -> float:
        """How many values there are; infinite for a continuous range."""
        if self.choices is not None:
            return len(self.choices)
        low, high = self.ends
        step = self.step or (1 if self.whole else 0)
        return round((high - low) / step) + 1 if step else math.inf

    def holds(self, value: Value) -> bool:
        """Whether ``value`` is among the values."""
        if self.choices is not None:
            return any(
                value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices
            )
        low, high = self.ends
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            return False
        steps = (value - low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9


@dataclass(frozen=True)
class Preset:
    """A model's settings file.

    Attributes
    ----------
    model : str
        Entry point.
    file : str
        What it was read from; empty where the model's package has none.
    source : str
        Where defaults and ranges come from.
    search : mapping of str to Dimension
    """

    model: str
    file: str = ""
    source: str = ""
    search: Mapping[str, Dimension] = field(default_factory=dict)

    def applicable(self, settings: Settings, fixed: Collection[str] = ()) -> dict[str, Dimension]:
        """What can be searched, beginning with ``settings`` and leaving those called ``fixed`` alone.

        A setting is left out where its ``when`` does not hold and nothing that is searched could change that.
        """
        found: dict[str, Dimension] = {}
        for name, dimension in self.search.items():
            conditions = dimension.when.items()
            if name not in fixed and all(
                other in found or getattr(settings, other) in allowed for other, allowed in conditions
            ):
                found[name] = dimension
        return found


def load_preset(model: str, path: Path | None = None) -> Preset:
    """Read the search space of a model: from its package, or from ``path``.

    Returns
    -------
    Preset
        With an empty ``search`` where the package carries no file for the model: there is nothing to tune.

    Raises
    ------
    UsageError
        Naming the file and the key: unknown settings, bad ranges, values that the model's ``Settings`` refuses.
    """
    if path is not None:
        if not path.is_file():
            raise UsageError(f"settings file {path} does not exist")
        return _parse(model, str(path), path.read_text(encoding="utf-8"))
    package = model_class(model).__module__.partition(".")[0]
    spec = import_module(package).__spec__
    if spec is None or spec.submodule_search_locations is None:
        return Preset(model)  # a single module has no files beside it
    found = files(package).joinpath("settings", f"{model}.yaml")
    if not found.is_file():
        return Preset(model)
    return _parse(model, f"{package}/settings/{model}.yaml", found.read_text(encoding="utf-8"))


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    search: dict[str, Any]


def _parse(model: str, file: str, text: str) -> Preset:
    try:
        raw = _File.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{file}: {_detail(error)}") from error
    schema, search = model_class(model).Settings, dict[str, Dimension]()
    for name, described in raw.search.items():
        for known in (name, *_conditions(described)):
            if known not in schema.model_fields:
                raise nearest(f"setting in {file}, search.{name},", known, schema.model_fields)
        if name in schema.asking:
            raise UsageError(
                f"{file}, search.{name}: it only changes how a fitted model is asked, and validation asks with its "
                "default: leave it out"
            )
        try:
            search[name] = _resolve(schema, name, Dimension.model_validate(described))
        except ValidationError as error:
            raise UsageError(f"{file}, search.{name}: {_detail(error)}") from error
        except ValueError as error:
            raise UsageError(f"{file}, search.{name}: {error}") from error
    for place, (name, dimension) in enumerate(search.items()):
        late = [other for other in dimension.when if other in list(search)[place:]]
        if late:
            raise UsageError(f"{file}, search.{name}: {late[0]}, which it depends on, must stand above it")
    return Preset(model, file, raw.source, search)


def _conditions(described: Any) -> list[str]:
    when = described.get("when") if isinstance(described, dict) else None
    return [str(name) for name in when] if isinstance(when, dict) else []


def _resolve(schema: type[Settings], name: str, dimension: Dimension) -> Dimension:
    """Check every value that is named against the model's settings, and take them as the model reads them."""
    if dimension.choices is not None:
        read = tuple(_accepted(schema, name, choice) for choice in dimension.choices)
        if not all(value is None or isinstance(value, bool | int | float | str) for value in read):
            raise ValueError("only numbers, texts, booleans and null can be searched")
        return dimension.model_copy(update={"choices": read})
    described = schema.model_json_schema()["properties"][name]
    kinds = {described.get("type"), *(one.get("type") for one in described.get("anyOf", ()))}
    if not kinds & {"integer", "number"}:
        raise ValueError("is no number, so it takes choices and no range")
    whole = "number" not in kinds
    ends = {end: value for end in ("low", "high", "step") if (value := getattr(dimension, end)) is not None}
    if whole:
        if any(value != int(value) for value in ends.values()):
            raise ValueError("takes whole numbers only")
        ends = {end: int(value) for end, value in ends.items()}
    for end in ("low", "high"):
        _accepted(schema, name, ends[end])
    return dimension.model_copy(update={**ends, "whole": whole})


def _accepted(schema: type[Settings], name: str, value: Any) -> Any:
    return getattr(schema.model_validate({name: value}), name)


def _detail(error: ValidationError) -> str:
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    said = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
