"""The command line: one file a verb, heavy imports inside the verb."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``bench`` and leave with its exit code: 2 usage, 3 data, 4 model failure, 130 interruption."""
    from bench.cli.app import app
    from bench.errors import BenchError

    try:
        app()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
