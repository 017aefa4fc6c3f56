"""Cells on this machine, each in a process of its own.

A fork server with the heavy imports done keeps the start cheap. A cell can crash, leak or set global state without
touching the others.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from bench.errors import MissingInputError
from bench.runs.cell import Report

__all__ = ["Event", "Job", "run_jobs"]

REPORT_EVERY_S = 0.1

ENVIRONMENT = {
    # Threads that wait sleep instead of spinning: on a machine that is busy otherwise too, small tensor operations took
    # ten times as long while they spun (libgomp; elsewhere no effect).
    "OMP_WAIT_POLICY": "passive",
    # Large tensors come and go every step: keep their memory instead of returning it (glibc; elsewhere no effect).
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TOP_PAD_": "100000000",
}


class Job(Protocol):
    """Work for a process of its own: pickled, and told where to report; what it makes goes into files."""

    def run(self, report: Report) -> None:
        """Do all of it."""


@dataclass(frozen=True)
class Event:
    """News of a job: ``kind`` is "progress", "done", "missing" (an input is not there) or "failed"."""

    job: int
    kind: str
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    reason: str = ""
    log: str = ""


@dataclass
class _Running:
    process: BaseProcess
    pipe: Connection
    log: Path
    folder: tempfile.TemporaryDirectory[str]
    finished: bool = False


def run_jobs(
    jobs: Sequence[Job], *, preload: Sequence[str] = (), side_by_side: int = 1
) -> Generator[Event, None, None]:
    """Run ``jobs`` in order, ``side_by_side`` at a time, and yield what happens.

    When the iterator is closed, or interrupted, running cells are stopped; what they had stored stays.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    if method == "forkserver":
        present = [name for name in preload if find_spec(name) is not None]
        multiprocessing.set_forkserver_preload(["bench.runs.cell", *present])
    waiting, running = deque(range(len(jobs))), dict[int, _Running]()
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                number = waiting.popleft()
                running[number] = _start(jobs[number], method)
            yield from _collect(running)
    finally:
        for cell in running.values():
            cell.process.terminate()
            cell.process.join(10)
            if cell.process.is_alive():
                cell.process.kill()
                cell.process.join()
            cell.folder.cleanup()


def _start(job: Job, method: str) -> _Running:
    folder = tempfile.TemporaryDirectory(prefix="bench-cell-", ignore_cleanup_errors=True)
    log = Path(folder.name) / "log.txt"
    log.touch()
    context = multiprocessing.get_context(method)
    parent, child = context.Pipe(duplex=False)
    surroundings = (str(Path.cwd()), dict(os.environ))
    process = context.Process(  # type: ignore[attr-defined]
        target=_work, args=(job, child, log, *surroundings), daemon=False
    )
    process.start()
    child.close()
    return _Running(process, parent, log, folder)


def _collect(running: dict[int, _Running]) -> Iterator[Event]:
    ready = wait([cell.pipe for cell in running.values()], timeout=0.5)
    for number, cell in list(running.items()):
        if cell.pipe not in ready:
            continue
        try:
            message = cell.pipe.recv()
        except EOFError:
            cell.process.join()
            text = f"the process ended without a word (exit code {cell.process.exitcode}; -9 often means out of memory)"
            message = ("failed", text)
        if message[0] == "progress":
            yield Event(number, "progress", *message[1:])
            continue
        cell.process.join()
        log = cell.log.read_text(encoding="utf-8", errors="replace")
        del running[number]
        cell.pipe.close()
        cell.folder.cleanup()
        yield Event(number, message[0], reason="".join(message[1:]), log=log)


def _end_with(parent: BaseProcess) -> None:
    """End this process at once when the one that started it is gone, killed without a chance to say so."""
    wait([parent.sentinel])
    os._exit(1)


def _work(job: Job, pipe: Connection, log: Path, directory: str, environment: dict[str, str]) -> None:
    # The parent decides what an interrupt means; prints of libraries go to the cell's log.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The fork server keeps those it was started with: paths must mean here what they mean to the caller.
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    last = 0.0

    def report(*news: object) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            pipe.send(("progress", *news))

    try:
        job.run(report)
    except MissingInputError as error:
        pipe.send(("missing", str(error)))
    except BaseException:
        pipe.send(("failed", traceback.format_exc()))
    else:
        pipe.send(("done",))
    finally:
        pipe.close()
