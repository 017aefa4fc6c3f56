"""The uncompressed bytes of a source file, read in blocks of whole lines so that memory does not grow with the file.

Compression and archives are told by their first bytes, never by a file's name, and nothing is ever unpacked to disk.
Files come from strangers: whatever they hold, reading them ends in their content or in a DataError.
"""

from __future__ import annotations

import difflib
import gzip
import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from bench.data.hashing import stream_sha256
from bench.errors import DataError

__all__ = ["Block", "Content"]

EXPANSION_LIMIT, EXPANSION_FREE = 1000, 1 << 30
"""A file may expand this many fold, and in any case to so many bytes."""
LINE_LIMIT = 64 << 20
"""Bytes of the longest line that is read."""
DIRECTORY_LIMIT, HEADER_LIMIT = 16 << 20, 64 << 10
"""Bytes of the longest list of members (zip) and of the longest header of a member (tar) that is read."""
_NAMES_LIMIT, _BLANK_LINES = 5000, 1 << 20
"""Members' names that are kept to suggest one of them, and empty lines handed over at once."""

_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", (b"PK\x03\x04", b"PK\x05\x06")
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
# The library expands other methods without a bound.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UTF8_MARK = b"\xef\xbb\xbf"
# The mark of UTF-32 begins with that of UTF-16, so it comes first.
_WIDE_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# Where zeros (0) stand among every four bytes of wide characters, at least of European letters.
_WIDE_ZEROS = {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE", "x000": "UTF-32LE", "000x": "UTF-32BE"}
_WIDE_ZEROS |= {"xx00": "UTF-32LE", "00xx": "UTF-32BE"}
_NOT_TEXT = {
    rb"PK\x03\x04|.{257}ustar": "an archive: name the file inside it as `member` in the card",
    rb"\x1f\x8b|BZh|\xfd7zXZ": "compressed, or was so twice: decompress it yourself",
}
_DAMAGE = (
    *(EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, struct.error),
    # What the parsers of archives stumble into when a header holds nonsense; zipfile raises the last of these for
    # versions and patches that it does not know.
    *(ValueError, LookupError, OverflowError, RecursionError, NotImplementedError),
)


@dataclass(frozen=True)
class Block:
    r"""Consecutive whole lines of a text file.

    Attributes
    ----------
    first_row : int
        Row of the first line, from 1.
    data : bytes
        UTF-8, lines separated by ``\n`` alone, no byte order mark, no line break at the end.
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
        Path inside a zip archive, or inside a tar archive, which may be compressed itself; the member may be too.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path} ({self.member})"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open for reading the uncompressed bytes; only a plain file can be sought in.

        Raises
        ------
        DataError
            Unreadable, or damaged, or a decompression bomb (also when that is met while reading inside the ``with``);
            a member that is missing, encrypted, no regular file, or outside the archive.
        """
        with ExitStack() as stack:
            with _told(str(self), "file"):
                # Opening a pipe would wait for its writer.
                status = self.path.stat()
                if not stat.S_ISREG(status.st_mode):
                    raise DataError(f"{self}: cannot be read: not a regular file")
                file = stack.enter_context(self.path.open("rb"))
            stream: BinaryIO = io.BufferedReader(_Stream(file, str(self), "file"))
            size = status.st_size
            if self.member is not None:
                stream, size = _open_member(self, self.member, stream, size)
            yield _decompressed(stream, str(self), size)

    def sha256(self) -> str:
        """SHA-256, in hex, of the uncompressed bytes."""
        with self.open() as stream:
            return stream_sha256(stream)

    def blocks(self, *, size: int = 8 << 20, encoding: str = "utf-8") -> Iterator[Block]:
        """Read whole lines, about ``size`` bytes at a time.

        Lines end in LF, CR LF or, in a file without any LF, CR. Empty lines at the end of the file are not lines;
        others are kept, so that rows are counted as an editor does.

        Raises
        ------
        DataError
            Empty, damaged, not text in ``encoding`` (the row is named), or a line of more than 64 MiB.
        """
        blank, empty = 0, True
        with self.open() as stream:
            head = _peek(stream, 512)
            if head.startswith(tuple(_WIDE_MARKS)):
                raise DataError(f"{self}, row 1: byte {head[0]:#04x} is not UTF-8: {_guess(head)}")
            if head.startswith(_UTF8_MARK):
                if encoding != "utf-8":
                    raise DataError(f"{self}: marked as UTF-8, but the card's `reading: encoding` says {encoding}")
                stream.read(len(_UTF8_MARK))
            for block in _whole_lines(str(self), stream, max(1, min(size, LINE_LIMIT))):
                data = _utf8(str(self), block, encoding, head)
                kept = data.rstrip(b"\n")
                if not kept:
                    blank += len(data) + 1
                    continue
                # Empty lines wait until something follows them, and millions of them do not come at once.
                while blank > _BLANK_LINES:
                    yield Block(block.first_row - blank, b"\n" * (_BLANK_LINES - 1))
                    blank -= _BLANK_LINES
                yield Block(block.first_row - blank, b"\n" * blank + kept)
                blank, empty = len(data) - len(kept), False
        if empty:
            raise DataError(f"{self}: the file is empty")


class _Stream(io.RawIOBase):
    """Reads of ``source`` as much as was asked for, refuses bombs, and turns failures into DataErrors.

    ``where`` and ``kind`` (of format) are for messages; ``packed`` is how many bytes of the file the source expands.
    While ``allowance`` is set, no more than so many bytes are read: parsers take any amount into memory that a header
    claims. ``last`` is what the latest ``read`` gave. ``tail`` is read to its end when the source is at its own.
    """

    def __init__(self, source: Any, where: str, kind: str, packed: int | None = None) -> None:
        self._source, self._where, self._kind = source, where, kind
        self._limit = None if packed is None else max(EXPANSION_FREE, EXPANSION_LIMIT * packed)
        self._at = 0
        self.allowance: int | None = None
        self.last = b""
        self.tail: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return isinstance(self._source, io.BufferedReader) and self._source.seekable()

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go anywhere in a plain file, else forward only."""
        if self.seekable():
            self._at = self._source.seek(offset, whence)
            return self._at
        if whence != io.SEEK_SET or offset < self._at:
            raise io.UnsupportedOperation("compressed content is read forward only")
        # What is skipped is not kept, so it counts against no allowance.
        allowance, self.allowance = self.allowance, None
        while self._at < offset and self.read(min(offset - self._at, 1 << 16)):
            pass
        self.allowance = allowance
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        if self.allowance is not None:
            size = min(size, self.allowance + 1)
        pieces = []
        with _told(self._where, self._kind):
            while size > 0 and (piece := self._source.read(size)):
                pieces.append(piece)
                size -= len(piece)
            while size > 0 and self.tail is not None and self.tail.read(1 << 16):
                pass
        self.last = b"".join(pieces)
        self._at += len(self.last)
        if self.allowance is not None:
            self.allowance -= len(self.last)
            if self.allowance < 0:
                raise DataError(f"{self._where}: refused: the archive's own list of members is too long: unpack it")
        if self._limit is not None and self._at > self._limit:
            raise DataError(
                f"{self._where}: refused as a decompression bomb: the {self._kind} expands more than "
                f"{EXPANSION_LIMIT:,}-fold, to over {self._limit:,} bytes; if it is meant, decompress it yourself"
            )
        return self.last

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _told(where: str, kind: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into a DataError that names the file."""
    try:
        yield
    except (OSError, *_DAMAGE) as error:
        if kind == "file":
            raise DataError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
        # A failing disk was told one layer below.
        raise DataError(f"{where}: damaged or truncated {kind} ({error}): replace the file") from error


def _peek(stream: BinaryIO, size: int) -> bytes:
    """The first bytes of a stream that nothing was read from; every stream of this module is buffered."""
    return cast(io.BufferedReader, stream).peek(size)[:size]


def _decompressed(stream: BinaryIO, where: str, packed: int) -> BinaryIO:
    """Undo gzip or zstd, once."""
    magic = _peek(stream, 4)
    if magic.startswith(_GZIP):
        return io.BufferedReader(_Stream(gzip.GzipFile(fileobj=stream), where, "gzip", packed))
    if magic == _ZSTD or _ZSTD_SKIPPABLE.fullmatch(magic):
        import pyarrow

        # Among the readers of zstd this one goes on after a frame, refuses a truncated one, and is bounded in memory.
        unpacked = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, "r"), "zstd")
        return io.BufferedReader(_Stream(unpacked, where, "zstd", packed))
    return stream


def _open_member(content: Content, member: str, stream: BinaryIO, packed: int) -> tuple[BinaryIO, int]:
    """Find a member of an archive; also says how many bytes of the archive hold it, as far as that is known."""
    if re.match(r"[/\\]|[A-Za-z]:", member) or ".." in re.split(r"[/\\]", member):
        raise DataError(f"{content}: refused: the path of a member is relative and stays inside the archive")
    if _peek(stream, 4).startswith(_ZIP):
        return _zip_member(content, _tidy(member), stream, packed)
    return _tar_member(content, _tidy(member), _decompressed(stream, str(content), packed)), packed


def _tidy(name: str) -> str:
    """``./a//b/`` as ``a/b``; a path from the root stays one."""
    return "/" * name.startswith("/") + "/".join(part for part in name.split("/") if part not in ("", "."))


def _zip_member(content: Content, wanted: str, stream: BinaryIO, packed: int) -> tuple[BinaryIO, int]:
    guarded = _Stream(stream, str(content), "zip")
    with _told(str(content), "zip"):
        guarded.allowance = DIRECTORY_LIMIT
        archive = zipfile.ZipFile(cast(BinaryIO, guarded))
        guarded.allowance = None
        found = [info for info in archive.infolist() if _tidy(info.filename) == wanted]
        if not found:
            raise _missing(content, wanted, archive.namelist()[:_NAMES_LIMIT])
        info = found[0]
        if len(found) > 1:
            raise DataError(f"{content}: refused: the archive holds {len(found)} members of this name")
        if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{content}: refused: the member is a folder or a link, not a plain file")
        if info.flag_bits & 1:
            raise DataError(f"{content}: refused: the member is encrypted: decrypt the archive first")
        if info.compress_type not in _ZIP_METHODS:
            raise DataError(f"{content}: refused: the member is compressed, but not by deflate: pack the archive anew")
        packed = min(info.compress_size, packed)
        return io.BufferedReader(_Stream(archive.open(info), str(content), "zip", packed)), packed


def _tar_member(content: Content, wanted: str, stream: BinaryIO) -> BinaryIO:
    """Find the first member of this name."""
    guarded = _Stream(stream, str(content), "tar")
    names: list[str] = []
    with _told(str(content), "tar"):
        guarded.allowance = HEADER_LIMIT
        try:
            archive = tarfile.TarFile(fileobj=cast(BinaryIO, guarded), errors="replace")
        except tarfile.ReadError as error:
            raise DataError(f"{content}: damaged, or neither a zip nor a tar archive ({error})") from error
        while (info := archive.next()) is not None:
            # Kept by the library for a second look, which nobody takes.
            archive.members = []  # type: ignore[attr-defined]
            if _tidy(info.name) == wanted:
                break
            if len(names) < _NAMES_LIMIT:
                names.append(info.name)
            guarded.allowance = HEADER_LIMIT
        else:
            # The library takes an unreadable header for the end, which is a block of zeros.
            if guarded.last.strip(b"\0"):
                raise ValueError("a header is unreadable")
            raise _missing(content, wanted, names)
        guarded.allowance = None
        if not info.isreg() or info.issparse():
            raise DataError(f"{content}: refused: the member is a folder, link, device or sparse file, not a plain one")
        found = _Stream(archive.extractfile(info), str(content), "tar")
        # The checksum at the end of a compressed archive is the only one there is.
        found.tail = None if guarded.seekable() else stream
        return io.BufferedReader(found)


def _missing(content: Content, wanted: str, names: list[str]) -> DataError:
    same = [name for name in names if name.rsplit("/", 1)[-1] == wanted.rsplit("/", 1)[-1]]
    near = [*same, *difflib.get_close_matches(wanted, names, n=3, cutoff=0.4)] or names
    hint = f"nearest: {', '.join(list(dict.fromkeys(near))[:3])}" if near else "it holds nothing"
    return DataError(f"{content.path}: holds no member {wanted!r}; {hint}")


def _whole_lines(where: str, stream: BinaryIO, size: int) -> Iterator[Block]:
    """Cut a stream after line breaks, and make every line break LF."""
    row, pieces, held = 1, [b""], 0

    def check(length: int) -> None:
        if length > LINE_LIMIT:
            hint = ": do lines end in CR alone? tr '\\r' '\\n'" if any(b"\r" in piece for piece in pieces) else ""
            raise DataError(f"{where}, row {row}: the line is longer than {LINE_LIMIT:,} bytes{hint}")

    while chunk := stream.read(size):
        if (end := chunk.rfind(b"\n")) >= 0:
            # Only the first line can have begun in an earlier chunk.
            check(held + chunk.find(b"\n"))
            data = _lf_only(b"".join([*pieces, chunk[:end]]))
            yield Block(row, data)
            row += data.count(b"\n") + 1
            pieces, held = [chunk[end + 1 :]], len(chunk) - end - 1
        else:
            pieces.append(chunk)
            held += len(chunk)
            check(held)
    rest = b"".join(pieces)
    if rest:
        yield Block(row, _lf_only(rest) if row > 1 else rest.replace(b"\r", b"\n"))


def _lf_only(data: bytes) -> bytes:
    """Drop every CR before a line break, or before the end."""
    if b"\r" in data:
        data = data.rstrip(b"\r").replace(b"\r\n", b"\n")
        # CR CR LF; looking back keeps the search linear in long runs of CR.
        data = re.sub(rb"(?<!\r)\r+\n", b"\n", data) if b"\r\n" in data else data
    return data


def _utf8(where: str, block: Block, encoding: str, head: bytes) -> bytes:
    """Check that a block is text, and say it in UTF-8."""
    data = block.data

    def refuse(at: int, problem: str, otherwise: str) -> DataError:
        row = block.first_row + data.count(b"\n", 0, at)
        return DataError(f"{where}, row {row}: {problem}: {_guess(head) or otherwise}")

    if (at := data.find(b"\0")) >= 0:
        raise refuse(at, "a NUL byte", "the file is damaged, or not text")
    if data.isascii():
        return data
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        problem = f"byte {data[error.start]:#04x} is not {encoding.upper()}"
        hint = "if the file is Latin-1, say `reading: {encoding: latin-1}` in the card"
        raise refuse(error.start, problem, hint) from error
    return data if encoding == "utf-8" else text.encode()


def _guess(head: bytes) -> str | None:
    """What a file that is not text may be, by its first bytes."""
    for magic, what in _NOT_TEXT.items():
        if re.match(magic, head, re.DOTALL):
            return f"the file is {what}"
    zeros = "".join("0" if 2 * head[at::4].count(0) > len(head) // 4 else "x" for at in range(4))
    marks: list[str | None] = [name for mark, name in _WIDE_MARKS.items() if head.startswith(mark)]
    wide = (marks or [_WIDE_ZEROS.get(zeros)])[0]
    return f"the text is {wide}: convert it with `iconv -f {wide} -t UTF-8`" if wide else None
