"""The uncompressed bytes of a source file, read in blocks of whole lines so that memory does not grow with the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bench.data.hashing import stream_sha256
from bench.errors import DataError

__all__ = ["Block", "Content"]

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Block:
    """Consecutive whole lines of a text file.

    Attributes
    ----------
    first_row : int
        Row of the first line, from 1.
    data : bytes
        UTF-8, lines separated by ``\\n`` alone, no byte order mark, no line break at the end.
    """

    first_row: int
    data: bytes

    def lines(self) -> list[str]:
        """The lines as texts."""
        return self.data.decode().split("\n")


@dataclass(frozen=True)
class Content:
    """A file's uncompressed content: plain, gzip or zstd (told by the first bytes), or one member of an archive.

    Attributes
    ----------
    path : Path
    member : str or None
        Path inside a zip or tar archive.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path} ({self.member})"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open for reading the uncompressed bytes.

        Raises
        ------
        DataError
            Unreadable, or damaged (also when the damage is met while reading inside the ``with``).
        """
        try:
            with self.path.open("rb") as raw:
                zipped = raw.read(2) == _GZIP_MAGIC
                raw.seek(0)
                if zipped:
                    with gzip.GzipFile(fileobj=raw) as unzipped:
                        yield cast(BinaryIO, unzipped)
                else:
                    yield raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self}: damaged or truncated gzip ({error}): replace the file") from error
        except OSError as error:
            raise DataError(f"{self}: cannot be read: {error.strerror or error}") from error

    def sha256(self) -> str:
        """SHA-256, in hex, of the uncompressed bytes."""
        with self.open() as stream:
            return stream_sha256(stream)

    def blocks(self, *, size: int = 8 << 20, encoding: str = "utf-8") -> Iterator[Block]:
        """Read whole lines, about ``size`` bytes at a time.

        Empty lines at the end of the file are not lines; others are kept, so that rows are counted as an editor does.

        Raises
        ------
        DataError
            Empty, damaged, not text in ``encoding`` (the row is named), or a line of more than 64 MiB.
        """
        with self.open() as stream:
            row, rest = 1, b""
            while chunk := stream.read(size):
                head, found, tail = chunk.rpartition(b"\n")
                if not found:
                    rest += chunk
                    continue
                data = rest + head
                rest = tail
                yield Block(row, data)
                row += data.count(b"\n") + 1
            if rest:
                yield Block(row, rest)
