"""A cache of text segments' hidden states in a folder: memory-mapped, shared between processes, bounded.

An entry is found by the SHA-256 of the segment's text and of the *space*: a string that the caller makes of all that
the states depend on (backbone weights, tokenizer, layer L', dtype, tuned weights below L'). Whatever changes there
makes another space, so that no stale state is ever found, and entries of spaces that nobody has open are the first to
go when room is needed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import DataError, UsageError
from llm_models.backbones.segment_files import SegmentFiles
from llm_models.backbones.segment_generation import Array, Record
from llm_models.backbones.segments import MemorySegments, Packed, Segments, SegmentStats, states_of

__all__ = ["MemorySegments", "Packed", "SegmentCache", "SegmentStats", "Segments", "states_of"]

_FORMAT = "segments 1"  # another layout of the files is another space


class SegmentCache(Segments):
    """States of segments in a folder.

    Any number of processes on one machine may read and write it at the same time: writers take turns, readers wait for
    nobody. Reads are views of mapped files, each checked against its checksum. A process that is killed at any moment
    leaves a valid cache. A folder that cannot be written is still read.

    Parameters
    ----------
    folder : Path
        Made where it is missing; nothing else should be kept there.
    space : str
        All that the states depend on besides the text, in any form.
    width, dtype, max_bytes
        See :class:`Segments`; the bound holds for the folder, with all its spaces and whoever writes. What was used
        longest ago goes first, in sixteenths of the bound; of these, half may stay if it was read since it was stored.

    Raises
    ------
    UsageError
        When the folder cannot be made.
    """

    def __init__(self, folder: Path, *, space: str, width: int, dtype: str = "float32", max_bytes: int = 2**30) -> None:
        super().__init__(width=width, dtype=dtype, max_bytes=max_bytes)
        self.folder = folder
        self._prefix = hashlib.sha256(f"{_FORMAT}\0{dtype}\0{width}\0{space}\0".encode("utf-8", "surrogatepass"))
        try:
            self._files = SegmentFiles(folder, self._prefix.hexdigest()[:16], self._stored, max_bytes)
        except OSError as error:
            raise UsageError(
                f"segment cache {folder} cannot be opened ({error}); name a folder that can be written"
            ) from error

    @property
    def stats(self) -> SegmentStats:
        """What it holds, and what was asked of it."""
        files = self._files
        return SegmentStats(
            len(files), files.size, self._hits, self._misses, files.evicted, files.damaged, self._unstored
        )

    def close(self) -> None:
        """Let go of the files; arrays that were handed out stay valid."""
        super().close()
        self._files.close()

    def _find(self, texts: list[str]) -> list[Array | None]:
        return self._files.find([self._key(text) for text in texts])

    def _keep(self, states: dict[str, Array]) -> None:
        try:
            self._unstored += self._files.store([Record(self._key(text), state) for text, state in states.items()])
        except OSError as error:
            self._unstored += len(states)
            raise DataError(
                f"segment cache {self.folder} cannot be written ({error}); free disk space, or name another folder"
            ) from error

    def _key(self, text: str) -> bytes:
        digest = self._prefix.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()
