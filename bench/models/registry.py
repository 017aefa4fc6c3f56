"""Finding models by name through the entry-point group ``bench.models``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from bench.errors import UsageError, nearest
from bench.models.contract import Recommender

__all__ = ["GROUP", "model_class", "model_names"]

GROUP = "bench.models"


@cache
def _entries() -> dict[str, EntryPoint]:
    entries: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        clash = entries.get(entry.name)
        if clash is not None and clash.value != entry.value:
            raise UsageError(
                f"two installed packages offer a model named {entry.name!r}: {clash.value} and {entry.value}; "
                "uninstall one of them"
            )
        entries[entry.name] = entry
    return entries


def model_names() -> list[str]:
    """Names of all installed models, sorted."""
    return sorted(_entries())


def model_class(name: str) -> type[Recommender]:
    """The class registered under ``name``.

    Raises
    ------
    UsageError
        When no installed package offers it, or it cannot be imported; names the nearest known one.
    """
    if name not in _entries():
        raise nearest("model", name, model_names())
    entry = _entries()[name]
    try:
        loaded = entry.load()
    except Exception as error:
        raise UsageError(f"model {name!r} ({entry.value}) cannot be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Recommender)):
        raise UsageError(f"model {name!r} ({entry.value}) is not a bench.models.Recommender")
    return loaded
