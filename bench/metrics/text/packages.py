"""Packages that text metrics are parted from the suite by: imported when asked for, and missed by name."""

from __future__ import annotations

import importlib
from typing import Any

from bench.errors import MissingInputError

__all__ = ["load"]


def load(module: str, wanted_by: str) -> Any:
    """Import ``module``.

    Raises
    ------
    MissingInputError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingInputError(
            f"{wanted_by} needs {module.split('.')[0]}, which is not installed: pip install 'llm-rec-bench[text]'"
        ) from error
