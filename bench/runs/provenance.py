"""Where a number came from: versions, machine, code, time and memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

__all__ = ["Cost", "environment", "timed"]


CODE = ("bench", "baselines", "llm_models", "datasets")


class Cost(dict[str, float]):
    """Seconds and memory of a stage, filled in when its block ends."""


@contextmanager
def timed() -> Iterator[Cost]:
    """Measure wall and CPU seconds, and the peak memory of this process so far (MiB)."""
    cost = Cost()
    wall, cpu = time.perf_counter(), _cpu_s()
    try:
        yield cost
    finally:
        cost["wall_s"] = time.perf_counter() - wall
        cost["cpu_s"] = _cpu_s() - cpu
        cost["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024.0 * (1024.0 if sys.platform == "darwin" else 1.0)
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def environment() -> dict[str, Any]:
    """Describe interpreter, machine, code and the installed packages."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": os.environ.get("OMP_NUM_THREADS", "one a core"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "code": _git_revision(),
        "packages": {
            dist.name: dist.version for dist in sorted(distributions(), key=lambda dist: (dist.name or "").lower())
        },
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """Commit of the code, with "+changes" for an edited checkout; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", *CODE)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=5)  # noqa: S603, S607
    return done.stdout.strip()
