"""The run store: one folder a cell, named by the hash of everything that can change its numbers.

::

    <root>/<cell key>/spec.json          what was hashed
                      fit.json           the model's FitReport
                      about.json         readable names: model, dataset, protocol
                      provenance.json    versions, machine, seconds, memory
                      model/             the fitted model
                      predictions/<key>/ spec.json, provenance.json, measurements.parquet, lists.parquet
    <root>/attempts/<time>-<key>/        cells that failed: spec.json, traceback.txt, log.txt

Folders are written under a temporary name and renamed; nothing is overwritten, nothing deleted.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

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

    def sweep(self) -> None:
        """Remove the temporary folders of processes that no longer run."""
        for folder in self.root.glob(".writing-*"):
            process = int(folder.name.split("-")[1])
            if not _runs(process):
                shutil.rmtree(folder, ignore_errors=True)

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

        Columns: ``request``, ``user_id``, ``item_id`` (the answer), ``above``, ``tied``, ``candidates``, ``served``.
        """
        return pl.read_parquet(self.prediction(cell, key) / "measurements.parquet")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
