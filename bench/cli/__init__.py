"""The command line: one file a verb, heavy imports inside the verb."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run ``bench`` and leave with its exit code: 2 usage, 3 data, 4 model failure, 130 interruption."""
    from bench.cli.app import app
    from bench.errors import BenchError

    # Told to end, it ends as after Ctrl-C: running cells are stopped and not left to themselves.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
