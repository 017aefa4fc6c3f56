"""Numbers of texts that several metrics, and the same metric asked twice, are made of."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingInputError
from bench.metrics.text.written import Written

__all__ = ["load", "once"]

_MOST_BYTES = 1 << 27
_kept: OrderedDict[tuple[str, str], NDArray[np.float64]] = OrderedDict()


def once(name: str, written: Written, compute: Callable[[Written], NDArray[np.float64]]) -> NDArray[np.float64]:
    """``compute(written)``, remembered by ``name`` and the texts while there is room; read-only."""
    key = (name, written.digest)
    found = _kept.pop(key, None)
    if found is None:
        found = compute(written)
        found.setflags(write=False)
    _kept[key] = found
    while sum(array.nbytes for array in _kept.values()) > _MOST_BYTES and len(_kept) > 1:
        _kept.popitem(last=False)
    return found


def load(module: str, wanted_by: str) -> Any:
    """Import a module of the ``text`` extra.

    Raises
    ------
    MissingInputError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingInputError(
            f"{wanted_by}: {module.split('.')[0]} cannot be imported ({error}): pip install 'llm-rec-bench[text]'"
        ) from error
