"""The folder under the segment cache: arrays by key, in generations, bounded, and shared between processes.

The files of a folder::

    <space>-<number>.data    arrays of one space, see :mod:`llm_models.backbones.segment_generation`
    <space>-<number>.index   where they are
    <space>.open             locked (shared) by the processes that have the space open
    lock                     locked (exclusive) by the one process that is writing

An own index instead of SQLite: all that is asked of it is one look into a dictionary, and it is only appended to, so
that readers need no lock; the size of the folder is known to the byte; and it works where SQLite's write-ahead log does
not (read-only folders, network file systems). POSIX only (``flock``, deleting open files).
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from llm_models.backbones.segment_generation import ALIGNMENT, Array, Generation, Record

__all__ = ["SegmentFiles"]

_NAME = re.compile(r"([0-9a-f]{16})-(\d{16})\.(?:data|index)")
_PARTS = 16  # of the bound: a generation ends at this size, and eviction frees one at a time
_PATIENCE_S = 30.0


class SegmentFiles:
    """Arrays by key in a folder that several processes share. Threads may share the object.

    Parameters
    ----------
    folder : Path
    space : str
        16 hexadecimal digits. Only keys of this space are seen; those of all spaces share the bound.
    dtype : numpy dtype
        Of the arrays.
    max_bytes : int
        Bound of all files together, kept at every moment, whoever writes. A file that was evicted while another
        process has it mapped takes up disk space until that process looks up something again.

    Attributes
    ----------
    evicted : int
        Arrays that this object removed to make room, those of other spaces included.
    damaged : int
        Arrays that failed their checksum.

    Raises
    ------
    OSError
        When the folder does not exist and cannot be made.
    """

    def __init__(self, folder: Path, space: str, dtype: np.dtype[Any], max_bytes: int) -> None:
        self.folder, self.space, self.dtype, self.max_bytes = folder, space, dtype, max_bytes
        self.evicted = self.damaged = 0
        self._generations: dict[int, Generation] = {}
        self._where: dict[bytes, tuple[Generation, int]] = {}
        self._mutex = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        self._opened: int | None = None
        with suppress(OSError):  # a read-only folder can still be read
            self._opened = os.open(folder / f"{space}.open", os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self._opened, fcntl.LOCK_SH)
        self._sync()
        if self.size > max_bytes:
            with suppress(OSError), self._writing():
                self._write(deque(self._make_room(0)))

    def __len__(self) -> int:
        return len(self._where)

    @property
    def size(self) -> int:
        """Bytes, of the generations of all spaces."""
        return sum(size for size, _ in self._listed().values())

    def find(self, keys: Sequence[bytes]) -> list[Array | None]:
        """Look up arrays: flat read-only views of mapped files, None where there is none."""
        with self._mutex:
            self._sync()
            places = [self._where.get(key) for key in keys]
            rows: dict[Generation, list[int]] = {}
            for place in places:
                if place is not None:
                    rows.setdefault(place[0], []).append(place[1])
            for generation in rows:
                generation.touch()
            found: list[Array | None] = []
            for key, place in zip(keys, places, strict=True):
                values = None if place is None else place[0].read(place[1])
                if place is not None and values is None and key in self._where:
                    del self._where[key]
                    self.damaged += place[0].data.exists()  # or evicted just now, before it was mapped
                found.append(values)
            for generation, read in rows.items():
                generation.mark(read)
            return found

    def store(self, records: Sequence[Record]) -> int:
        """Add arrays under keys that are not there yet; return how many were too large for the bound.

        Raises
        ------
        OSError
            When the folder cannot be written; what was there still is.
        """
        with self._mutex, self._writing():
            self._sync()
            fresh = {record.key: record for record in records if record.key not in self._where}
            return self._write(deque(fresh.values()))

    def close(self) -> None:
        """Let go of the files; views that were handed out stay valid."""
        with self._mutex:
            self._generations, self._where = {}, {}
            if self._opened is not None:
                os.close(self._opened)
                self._opened = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the one lock of writers; it falls when its holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"another process has been writing for {_PATIENCE_S:.0f} s") from None
                    time.sleep(0.002)
            try:
                yield
            finally:
                # Closing is not enough: a process forked meanwhile would go on holding the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def _write(self, queue: deque[Record]) -> int:
        """Append what is queued, making room for it; return how many were too large."""
        part, refused = self.max_bytes // _PARTS, 0
        while queue:
            if queue[0].cost > self.max_bytes:
                queue.popleft()
                refused += 1
                continue
            last = self._generations.get(max(self._generations, default=0))
            room = part - self._listed().get((self.space, last.number), (0, 0))[0] - ALIGNMENT if last else 0
            if last is None or queue[0].cost > room:
                last, room = None, max(part, queue[0].cost)
            chunk: list[Record] = []
            while queue and queue[0].cost <= room:
                chunk.append(queue.popleft())
                room -= chunk[-1].cost
            # After what a dead writer left, an array starts at the next multiple of ALIGNMENT.
            survivors = self._make_room(sum(record.cost for record in chunk) + (ALIGNMENT if last else 0))
            if last is None or last.number not in self._generations:
                last = self._begin()
            last.append(chunk)
            self._learn(last)
            queue.extendleft(survivors)
        return refused

    def _listed(self) -> dict[tuple[str, int], tuple[int, int]]:
        """The folder's generations by space and number: bytes, and when last used (ns)."""
        listed: dict[tuple[str, int], tuple[int, int]] = {}
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if name := _NAME.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        size, used = listed.get((name[1], int(name[2])), (0, 0))
                        if entry.name.endswith(".data"):
                            used = status.st_mtime_ns
                        listed[name[1], int(name[2])] = size + status.st_size, used
        return listed

    def _sync(self) -> None:
        """Learn what other processes wrote and evicted."""
        numbers: set[int] = set()
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            names = [_NAME.fullmatch(entry.name) for entry in entries]
            numbers = {int(name[2]) for name in names if name and name[1] == self.space}
        for number in self._generations.keys() - numbers:
            self._forget(number)
        for number in sorted(numbers):
            if number not in self._generations:
                self._generations[number] = self._generation(self.space, number)
            self._learn(self._generations[number])

    def _learn(self, generation: Generation) -> None:
        self._where.update((generation.keys[row], (generation, row)) for row in generation.read_on())
        self._where.pop(b"", None)

    def _forget(self, number: int) -> None:
        generation = self._generations.pop(number)
        for key in generation.keys:
            if key in self._where and self._where[key][0] is generation:
                del self._where[key]

    def _generation(self, space: str, number: int) -> Generation:
        stem = self.folder / f"{space}-{number:016d}"
        return Generation(stem.with_suffix(".data"), stem.with_suffix(".index"), number, self.dtype)

    def _begin(self) -> Generation:
        # The time (microseconds), so that no name comes back after its files were deleted.
        number = max(time.time_ns() // 1000, 1 + max((number for _, number in self._listed()), default=0))
        self._generations[number] = self._generation(self.space, number)
        return self._generations[number]

    def _make_room(self, wanted: int) -> list[Record]:
        """Delete generations until ``wanted`` bytes fit: first those of spaces that nobody has open.

        Then the oldest go. Of this space that means written longest ago, with a second chance for what was read since
        (so that one array in use does not hold the rest of its generation); of other open spaces, used longest ago.

        Returns
        -------
        list of Record
            What to store again: the second chances, newest first, up to half of each generation.
        """
        listed = self._listed()
        total = sum(size for size, _ in listed.values()) + wanted
        if total <= self.max_bytes:
            return []
        is_open = {space: self._is_open(space) for space in {space for space, _ in listed}}
        survivors: list[Record] = []

        def age(name: tuple[str, int]) -> tuple[bool, int]:
            # A number is the time when the generation began, in microseconds.
            return is_open[name[0]], name[1] if name[0] == self.space else listed[name][1] // 1000

        for space, number in sorted(listed, key=age):
            if total <= self.max_bytes:
                break
            size, _ = listed.pop((space, number))
            victim = self._generation(space, number)
            self.evicted += len(victim.read_on())
            if space == self.space:
                kept = self._second_chances(victim, size // 2)
                self.evicted -= len(kept)
                survivors += kept
                if number in self._generations:
                    self._forget(number)
            victim.delete()
            total -= size
        for space in is_open.keys() - {space for space, _ in listed}:
            if not is_open[space]:
                (self.folder / f"{space}.open").unlink(missing_ok=True)
        return survivors

    def _second_chances(self, victim: Generation, room: int) -> list[Record]:
        victim.touch()
        kept: list[Record] = []
        for row in reversed(victim.marked()):
            place = self._where.get(victim.keys[row])
            values = victim.read(row) if place is not None and place[0].number == victim.number else None
            if values is not None:
                record = Record(victim.keys[row], values.copy())  # the map holds the deleted file
                room -= record.cost
                if room < 0:
                    break
                kept.append(record)
        return kept

    def _is_open(self, space: str) -> bool:
        """Whether some process has a space open; one that died has not."""
        if space == self.space:
            return True
        try:
            descriptor = os.open(self.folder / f"{space}.open", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
