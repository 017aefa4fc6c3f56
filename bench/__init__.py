"""A benchmark that asks whether LLM recommenders beat tuned classic ones, under one protocol.

What the command line does is one call: :func:`run`, :func:`load_results`, :func:`compare`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.results import compare, load_measurements, load_results
    from bench.runs.run import run

__all__ = ["__version__", "compare", "load_measurements", "load_results", "run"]

__version__ = "0.1.0"

# The allocator below polars keeps what its idle threads freed, 150 MB of the 1 GB for ten million events; read when
# polars is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0")

_HOME = {
    "run": "bench.runs.run",
    "load_results": "bench.results",
    "load_measurements": "bench.results",
    "compare": "bench.results",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `bench --help` must answer at once.
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
