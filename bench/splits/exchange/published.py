"""A split that comes from a folder: our own export, or one that was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from bench.data import Dataset
from bench.data.hashing import file_sha256
from bench.errors import DataError
from bench.splits.exchange.files import SETTINGS, find_parts
from bench.splits.exchange.foreign import cut_foreign
from bench.splits.exchange.manifest import MANIFEST, read_manifest
from bench.splits.exchange.parquet_reading import read_parquet
from bench.splits.protocol import Protocol
from bench.splits.split import Cut

__all__ = ["Published"]


class Published(Protocol):
    """A split read from files.

    Attributes
    ----------
    folder : str
        Either a complete export of ``bench split export`` (it has a ``split.json``), from which the very same sets are
        made, or a folder with training, validation and test files as ``bench.splits.exchange.files`` reads them.
        Relative to the working directory, kept as an absolute path; the identity of the split hashes the files, never
        the path.
    """

    name: Literal["published"] = "published"
    folder: str

    version: ClassVar[str] = "1"

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: str) -> str:
        # Cells of a run compute in working directories of their own.
        return str(Path(value).expanduser().resolve())

    @property
    def _path(self) -> Path:
        path = Path(self.folder)
        if not path.is_dir():
            raise DataError(f"{path}: no such folder with a split")
        return path

    @property
    def _is_export(self) -> bool:
        return (self._path / MANIFEST).is_file()

    def describe(self) -> str:
        """Which split, and where it comes from."""
        if self._is_export:
            return f"imported ({read_manifest(self._path, check=False).protocol})"
        return f"published split {self._path.name!r}"

    def identity(self) -> dict[str, Any]:
        """Digests of the files; where they lie does not matter."""
        folder = self._path
        if self._is_export:
            files = dict(read_manifest(folder).files)
            files[MANIFEST] = file_sha256(folder / MANIFEST)
        else:
            files = {file.part: file_sha256(file.path) for file in find_parts(folder)}
            if (folder / SETTINGS).is_file():
                files[SETTINGS] = file_sha256(folder / SETTINGS)
        return {"name": self.name, "version": self.version, "files": files}

    def cut(self, dataset: Dataset, seed: int) -> Cut:
        """Make the sets of the files; an export brings its own split seed, else ``seed`` orders events of one second.

        Raises
        ------
        DataError
            When the files cannot be read, were changed, or do not belong to ``dataset``.
        """
        if self._is_export:
            return read_parquet(self._path, read_manifest(self._path), dataset)
        return cut_foreign(self._path, dataset, seed)
