"""Published tables: read from YAML, checked, and found by what they are figures of."""

from __future__ import annotations

import itertools
import math
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.errors import DataError, UsageError
from bench.metrics import RankMetric, parse
from bench.tasks import TASKS

__all__ = ["PublishedTable", "published_for", "published_tables", "read_table"]

_HIGHEST = {"RMSE": 4.0, "MAE": 4.0}
"""No error of a rating from 1 to 5 exceeds 4; all else lies between 0 and 1."""

Text = Annotated[str, Field(min_length=1)]
Figures = tuple[float | None, ...]


class PublishedTable(BaseModel):
    """One table of one source: what was measured, how, and the figures.

    Attributes
    ----------
    short : str
        How a row names its source.
    source : str
        Paper, table or repository.
    year : int or None
        Of the source; ``None`` where it is several, or not known.
    protocol : str
        Name of the protocol here that holds out the same events.
    task, pool : str
        As in ``bench.tasks.RequestSet``.
    negatives : int or None
        Drawn beside the answer, where the pool is sampled.
    setup : str
        Loss, candidates and masking, as far as known.
    caveats : tuple of str
        What a reader must know before comparing.
    dataset_caveats : dict of str to tuple of str
        The same, of one dataset.
    metrics : tuple of str
        What the columns hold.
    models : dict of str to tuple of str
        The source's name of a model -> the entry points that are this model or its nearest kin; none: not here.
    figures : dict
        Dataset -> model -> a figure per metric; ``None`` where the source has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    short: Text
    source: Text
    year: int | None = Field(None, ge=1990, le=2100)
    protocol: Text
    task: Text
    pool: Literal["all", "sampled", "pairs"]
    negatives: int | None = Field(None, ge=1)
    setup: Text
    caveats: tuple[Text, ...] = ()
    dataset_caveats: dict[str, tuple[Text, ...]] = Field(default_factory=dict)
    metrics: tuple[str, ...] = Field(min_length=1)
    models: dict[Text, tuple[Text, ...]]
    figures: dict[Text, dict[Text, Figures]] = Field(min_length=1)

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            unlike = [metric for metric in value if str(parse(metric)) != metric]
        except UsageError as error:
            raise ValueError(str(error)) from error
        if unlike or len(set(value)) < len(value):
            raise ValueError(f"metrics must be distinct and spelt as tables spell them: {', '.join(value)}")
        return value

    @model_validator(mode="after")
    def _coherent(self) -> PublishedTable:
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}")
        if foreign := [metric for metric in self.metrics if self.task not in parse(metric).tasks]:
            raise ValueError(f"{foreign[0]} does not measure the task {self.task!r}")
        if (self.pool == "sampled") != (self.negatives is not None):
            raise ValueError("negatives are stated where the pool is sampled, and only there")
        if strangers := set(self.dataset_caveats) - set(self.figures):
            raise ValueError(f"caveats, and no figures, of {', '.join(sorted(strangers))}")
        named = {model for rows in self.figures.values() for model in rows}
        if named != set(self.models):
            raise ValueError(f"models and figures differ: {', '.join(sorted(named ^ set(self.models)))}")
        for dataset, rows in self.figures.items():
            for model, row in rows.items():
                if defect := self._defect(row):
                    raise ValueError(f"{dataset}, {model}: {defect}")
        return self

    def _defect(self, row: Figures) -> str:
        """What cannot be: a slip of the pen shows as a figure out of range or order."""
        if len(row) != len(self.metrics):
            return f"{len(row)} figures for {len(self.metrics)} metrics"
        known = {parse(metric): value for metric, value in zip(self.metrics, row, strict=True) if value is not None}
        if not known:
            return "no figure at all"
        for metric, value in known.items():
            if not 0 <= value <= _HIGHEST.get(metric.name, 1.0):
                return f"{metric} = {value} is out of range"
        ranks = {metric: value for metric, value in known.items() if isinstance(metric, RankMetric)}
        for (one, less), (other, more) in itertools.permutations(ranks.items(), 2):
            deeper = one.name == other.name and one.k < other.k
            bounded = one.k == other.k and other.name == "HR"
            if (deeper or bounded) and less > more:
                return f"{one} exceeds {other}"
        errors = {metric.name: value for metric, value in known.items()}
        if errors.get("MAE", 0.0) > errors.get("RMSE", math.inf):
            return "MAE exceeds RMSE"
        return ""

    def of(self, dataset: str) -> dict[str, dict[str, float]]:
        """Figures of a dataset: model -> metric -> figure, without what the source lacks."""
        return {
            model: {metric: value for metric, value in zip(self.metrics, row, strict=True) if value is not None}
            for model, row in self.figures.get(dataset, {}).items()
        }

    def caveats_of(self, dataset: str) -> tuple[str, ...]:
        """What a reader must know before comparing on a dataset."""
        return (*self.caveats, *self.dataset_caveats.get(dataset, ()))


def read_table(text: str, name: str) -> PublishedTable:
    """Read one table from YAML.

    Raises
    ------
    DataError
        Naming the file and what is wrong in it.
    """
    try:
        return PublishedTable.model_validate(_tuples(yaml.safe_load(text)))
    except yaml.YAMLError as error:
        raise DataError(f"{name} is not valid YAML: {error}") from error
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"]))
        raise DataError(f"{name}: {where + ': ' if where else ''}{detail['msg']}") from error


def _tuples(value: Any) -> Any:
    """YAML's lists as tuples: a strict model takes nothing else."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """Every table that is shipped: oldest source first, those of no single year last, then by file name."""
    found = [path for path in files("bench.published").iterdir() if path.name.endswith(".yaml")]
    tables = [
        read_table(path.read_text(encoding="utf-8"), path.name) for path in sorted(found, key=lambda path: path.name)
    ]
    return tuple(sorted(tables, key=lambda table: table.year or 9999))


def published_for(
    *, dataset: str, protocol: str, task: str, pool: str, negatives: int | None = None
) -> tuple[PublishedTable, ...]:
    """The tables whose figures answer the same question: same data, held-out events, task and candidates."""
    wanted = (protocol, task, pool, negatives)
    return tuple(
        table
        for table in published_tables()
        if dataset in table.figures and (table.protocol, table.task, table.pool, table.negatives) == wanted
    )
