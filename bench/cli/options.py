"""Options that several verbs share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.runs.suite import Suite

__all__ = [
    "Changes",
    "Dataset",
    "Device",
    "Models",
    "Results",
    "Seeds",
    "SplitFolder",
    "StoreRoot",
    "SuiteName",
    "TunedLock",
    "read_change",
    "read_suite",
]

SuiteName = Annotated[str, typer.Option("--suite", help="A shipped suite (see `bench list suites`) or a YAML file.")]
Dataset = Annotated[str | None, typer.Option(help="Run on this dataset instead of the suite's own.")]
Models = Annotated[
    str | None, typer.Option(help="Only these models, separated by commas; any installed one may be named.")
]
Seeds = Annotated[str | None, typer.Option(help="Model seeds, separated by commas.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. sasrec.hidden_size=128; may be repeated."),
]
StoreRoot = Annotated[Path, typer.Option("--store", help="Folder of the run store.")]
Results = Annotated[Path, typer.Option(help="Folder that gets one folder of tables a suite.")]
Device = Annotated[str, typer.Option(help="Where models compute: cpu or cuda.")]


SplitFolder = Annotated[
    Path | None, typer.Option("--split", help="Use the split in this folder instead (see `bench split import`).")
]
TunedLock = Annotated[
    Path | None, typer.Option("--tuned", help="Use the settings in this lock file (see `bench tune`).")
]


def read_suite(
    name: str,
    dataset: str | None,
    models: str | None,
    seeds: str | None,
    changes: list[str] | None,
    split: Path | None = None,
    tuned: Path | None = None,
) -> Suite:
    """Load a suite and apply what the command line changes."""
    from bench.runs.suite import load_suite

    return load_suite(name).narrowed(
        dataset=dataset,
        models=_names(models),
        seeds=None if seeds is None else [_number(seed) for seed in seeds.split(",")],
        changes=dict(read_change(text) for text in changes or []),
        split=split,
        tuned=tuned,
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--seeds takes whole numbers separated by commas, not {text!r}") from None


def read_change(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``, the value as YAML."""
    import yaml

    key, sign, value = text.partition("=")
    if not sign or not key:
        raise UsageError(f"--set takes KEY=VALUE, not {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        return key.strip(), value
