"""The run store: one folder a cell, named by the hash of everything that can change its numbers.

::

    <root>/<cell key>/spec.json          what was hashed
                      fit.json           the model's FitReport
                      about.json         readable names: model, dataset, protocol
                      provenance.json    versions, machine, seconds, memory
                      model/             the fitted model
                      predictions/<key>/ spec.json, provenance.json, measurements.parquet, lists.parquet; about.json
                                         where entries share the fit and differ in how they ask it
    <root>/attempts/<time>-<key>/        cells that failed: spec.json, traceback.txt, log.txt
    <root>/unfinished/<cell key>/        what an interrupted fit goes on from (fit/, and refit/ where a suite refits)

Folders are written under a temporary name and renamed; nothing is overwritten, nothing deleted.

What a model leaves in its scratch folder (checkpoints) lies under ``unfinished``: it outlives a killed process, is
found again by the next run of the same cell, and goes once the cell is stored. Beside it lies ``<cell key>.lock``,
which whoever fits the cell holds; the operating system lets go of it when that process ends, however it ends. A fit
that nobody will take up again (settings or a model's version changed since) stays there; a folder without a process at
work may be deleted by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from bench.data.hashing import canonical_json

__all__ = ["Store", "read_json", "write_json"]


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON with sorted keys."""
    plain = json.loads(canonical_json(value))
    path.write_text(json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


class Store:
    """Content-addressed results below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def cell(self, key: str) -> Path:
        """Folder of a cell, whether it exists or not."""
        return self.root / key

    def prediction(self, cell: str, key: str) -> Path:
        """Folder of a prediction, whether it exists or not."""
        return self.cell(cell) / "predictions" / key

    def has_cell(self, key: str) -> bool:
        """Whether the cell's fit is stored."""
        return (self.cell(key) / "fit.json").is_file()

    def has_prediction(self, cell: str, key: str) -> bool:
        """Whether the prediction is stored."""
        return (self.prediction(cell, key) / "measurements.parquet").is_file()

    @contextmanager
    def writing(self, target: Path) -> Iterator[Path]:
        """Give an empty temporary folder; rename it to ``target`` when the block ends well.

        A ``target`` that another process finished first is left as it is.
        """
        # Beside the target's own top folder, so that the rename stays within one file system.
        temporary = self.root / f".writing-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        temporary.mkdir(parents=True)
        try:
            yield temporary
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def unfinished(self, key: str, waiting: Callable[[], None]) -> Iterator[Path]:
        """Give the scratch folder of a cell to one process at a time; it goes when the cell is stored by the end.

        Parameters
        ----------
        waiting : callable
            Called every half second while another process has the folder.
        """
        folder, lock = self._unfinished(key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(timeout=0.5)
                break
            except Timeout:
                waiting()
        try:
            folder.mkdir(exist_ok=True)
            yield folder
        finally:
            if self.has_cell(key):
                _remove(folder, lock)
            lock.release()

    def _unfinished(self, key: str) -> tuple[Path, FileLock]:
        folder = self.root / "unfinished" / key
        return folder, FileLock(folder.with_suffix(".lock"))

    def sweep(self) -> None:
        """Remove the temporary folders of processes that no longer run, and the scratch folders of stored cells."""
        for folder in self.root.glob(".writing-*"):
            process = int(folder.name.split("-")[1])
            if not _runs(process):
                shutil.rmtree(folder, ignore_errors=True)
        for key in {path.stem for path in self.root.glob("unfinished/*")}:
            if self.has_cell(key):  # killed between storing and tidying up
                folder, lock = self._unfinished(key)
                with suppress(Timeout), lock.acquire(timeout=0):
                    _remove(folder, lock)

    def record_failure(self, key: str, spec: Any, traceback: str, log: str) -> Path:
        """Keep a failed attempt apart from the results; returns its folder."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        target = self.root / "attempts" / f"{stamp}-{key}"
        with self.writing(target) as folder:
            write_json(folder / "spec.json", spec)
            (folder / "traceback.txt").write_text(traceback, encoding="utf-8")
            (folder / "log.txt").write_text(log, encoding="utf-8")
        return target

    def measurements(self, cell: str, key: str) -> pl.DataFrame:
        """Per-request measurements of a prediction, in request order.

        Columns: ``request``, ``user_id``, ``item_id`` (the answer, or the item asked about) and, for rankings,
        ``above``, ``tied``, ``candidates``, ``served``; for ratings, clicks and preferences ``actual``, ``predicted``,
        ``served``; for texts ``actual``, ``written``, ``served`` and, for explanations, ``feature``.
        """
        return pl.read_parquet(self.prediction(cell, key) / "measurements.parquet")


def _remove(folder: Path, lock: FileLock) -> None:
    """Remove a scratch folder, and its lock while it is held: who waits for it will find the cell stored."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(lock.lock_file).unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
