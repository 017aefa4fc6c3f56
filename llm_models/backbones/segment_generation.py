"""One generation of the segment cache: an append-only data file of arrays, and the index file that says where they are.

Writers append the data first and the records of the index afterwards: a process that dies in between leaves bytes
without a record, which nobody reads. Should a machine crash leave a record without its data, the checksum gives it
away. What a record points to never changes and is never cut off; the two files are deleted whole, and whoever has the
data mapped goes on reading it.
"""

from __future__ import annotations

import mmap
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "Array", "Generation", "Record"]

Array = NDArray[Any]

ALIGNMENT = 64  # of the arrays in the data file, bytes
_RECORD = np.dtype(
    [("key", "V32"), ("start", "<i8"), ("size", "<i8"), ("sum", "<u8"), ("crc", "<u4"), ("used", "u1"), ("pad", "V3")]
)
_CHECKED = 56  # bytes of a record that its CRC-32 is taken of
_USED_AT = 60


@dataclass(frozen=True)
class Record:
    """An array to be stored, and its key (32 bytes)."""

    key: bytes
    values: Array

    @property
    def cost(self) -> int:
        """Bytes that it takes in the two files."""
        return _aligned(self.values.nbytes) + _RECORD.itemsize

    def padded(self) -> NDArray[np.uint8]:
        """Its bytes, zeros behind, shape (multiple of ALIGNMENT,)."""
        data = np.zeros(_aligned(self.values.nbytes), np.uint8)
        data[: self.values.nbytes].view(self.values.dtype)[:] = self.values.reshape(-1)
        return data


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _sum(words: NDArray[np.uint64]) -> int:
    """Add 64-bit words, wrapping round: finds zeroed, cut and changed data at six times the speed of a CRC-32."""
    return int(np.add.reduce(words, dtype=np.uint64))


def _write(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Generation:
    """One data file and its index, as far as the index was read.

    Parameters
    ----------
    data, index : Path
        Need not exist yet.
    number : int
    dtype : numpy dtype
        Of the arrays.

    Attributes
    ----------
    keys : list of bytes
        By row of the index; empty where its record is damaged.
    """

    def __init__(self, data: Path, index: Path, number: int, dtype: np.dtype[Any]) -> None:
        self.data, self.index, self.number, self.dtype = data, index, number, dtype
        self.keys: list[bytes] = []
        self._start: list[int] = []
        self._size: list[int] = []
        self._sum: list[int] = []
        self._marked = bytearray()
        self._map(0)

    def read_on(self) -> range:
        """Read the records that came since; return their rows."""
        known = len(self.keys)
        try:
            if self.index.stat().st_size < (known + 1) * _RECORD.itemsize:
                return range(known, known)
            with self.index.open("rb") as file:
                file.seek(known * _RECORD.itemsize)
                raw = file.read()
        except OSError:  # another process evicted it just now, or it is not ours to read
            return range(known, known)
        raw = raw[: len(raw) - len(raw) % _RECORD.itemsize]
        records = np.frombuffer(raw, _RECORD)
        for row, (key, crc) in enumerate(zip(records["key"].tolist(), records["crc"].tolist(), strict=True)):
            begin = row * _RECORD.itemsize
            self.keys.append(bytes(key) if zlib.crc32(raw[begin : begin + _CHECKED]) == crc else b"")
        self._start += records["start"].tolist()
        self._size += records["size"].tolist()
        self._sum += records["sum"].tolist()
        self._marked += records["used"].tobytes()
        return range(known, len(self.keys))

    def touch(self) -> None:
        """Say that the generation is in use now, and map what was appended."""
        # Evicted, or cut by somebody: the map stays as it is.
        with suppress(OSError, ValueError):
            size = self.data.stat().st_size
            if size != self._mapped:
                self._map(size)
            now = time.time_ns()
            os.utime(self.data, ns=(now, now))

    def read(self, row: int) -> Array | None:
        """View an array of the mapped file, flat and read-only, or None where it is damaged."""
        start, size = self._start[row], self._size[row]
        if min(start, size) < 0 or start + size > self._words.nbytes:
            return None
        if _sum(self._words[start // 8 : -(-(start + size) // 8)]) != self._sum[row]:
            return None
        return self._values[start // self.dtype.itemsize : (start + size) // self.dtype.itemsize]

    def mark(self, rows: list[int]) -> None:
        """Note in the index, once, that rows were read."""
        rows = [row for row in rows if not self._marked[row]]
        if not rows:
            return
        with suppress(OSError):  # evicted, or a read-only folder
            descriptor = os.open(self.index, os.O_WRONLY)
            try:
                for row in rows:
                    os.pwrite(descriptor, b"\x01", row * _RECORD.itemsize + _USED_AT)
                    self._marked[row] = 1
            finally:
                os.close(descriptor)

    def marked(self) -> list[int]:
        """Rows that any process marked, oldest first."""
        with suppress(OSError):
            records = np.fromfile(self.index, _RECORD, count=len(self.keys))
            return [int(row) for row in np.flatnonzero(records["used"])]
        return []

    def append(self, records: Sequence[Record]) -> None:
        """Write arrays, then their records in the index; only for the one that is allowed to write.

        Raises
        ------
        OSError
            When the disk is full, say; then both files are as they were.
        """
        data = os.open(self.data, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        index = os.open(self.index, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        # A writer that died may have left any number of bytes in both.
        data_end = os.lseek(data, 0, os.SEEK_END)
        index_end = os.lseek(index, 0, os.SEEK_END) // _RECORD.itemsize * _RECORD.itemsize
        start = _aligned(data_end)
        table = np.zeros(len(records), _RECORD)
        try:
            os.ftruncate(index, index_end)
            _write(data, bytes(start - data_end))
            for row, record in zip(table, records, strict=True):
                padded = record.padded()
                _write(data, padded.data)
                row["key"], row["start"], row["size"] = np.void(record.key), start, record.values.nbytes
                row["sum"] = _sum(padded.view(np.uint64))
                row["crc"] = zlib.crc32(row.tobytes()[:_CHECKED])
                start += len(padded)
            _write(index, table.tobytes())
        except OSError:
            os.ftruncate(index, index_end)
            os.ftruncate(data, data_end)
            raise
        finally:
            os.close(index)
            os.close(data)
        self.touch()

    def delete(self) -> None:
        """Remove the files; the map outlives them."""
        self.index.unlink(missing_ok=True)
        self.data.unlink(missing_ok=True)

    def _map(self, size: int) -> None:
        flat: NDArray[np.uint8] = np.empty(0, np.uint8)
        if size:
            with self.data.open("rb") as file:
                flat = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
        flat = flat[: size - size % ALIGNMENT]
        self._mapped, self._words, self._values = size, flat.view(np.uint64), flat.view(self.dtype)
