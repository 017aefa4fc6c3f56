"""What can go wrong, and the exit code each kind ends the command with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["BenchError", "DataError", "InterruptedRunError", "MissingInputError", "ModelError", "UsageError", "nearest"]


class BenchError(Exception):
    """A failure the user can act on; its message is shown without a traceback."""

    exit_code = 1


class UsageError(BenchError):
    """An unknown name, setting or value (exit code 2)."""

    exit_code = 2


class DataError(BenchError):
    """A data file that is missing, damaged or not what its card says (exit code 3)."""

    exit_code = 3


class ModelError(BenchError):
    """One or more models failed; the others are stored (exit code 4)."""

    exit_code = 4


class InterruptedRunError(BenchError):
    """The user stopped the run; what was finished is stored (exit code 130)."""

    exit_code = 130


class MissingInputError(ModelError):
    """A model needs something (text, weights, a package) that is not there; says what and how to get it."""


def nearest(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Make the error for an unknown ``name``, suggesting the closest known one."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known: {', '.join(names) or 'none'}")
