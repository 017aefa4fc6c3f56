"""What the cache folder remembers of source files: their checksums, and which content a download had when first used.

A checksum is a memo, kept so that an unchanged file is not hashed again; it may be lost at any time. A pin is a
promise: a download that its card gives no checksum for must stay what it was, so no pin ever changes by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.content import Content
from bench.errors import DataError

__all__ = [
    "Measured",
    "cache_folder",
    "content_sha256",
    "locked",
    "measure",
    "pin",
    "pins_file",
    "read_pins",
    "replacing",
]

SETTLED_NS = 2_000_000_000
"""A file changed so recently is not remembered: file systems count time in steps, some of up to two seconds, so that
a second change might leave the same times."""
_CHUNK = 1 << 20


class Measured(NamedTuple):
    """SHA-256, in hex, and size, in bytes, of an uncompressed content."""

    sha256: str
    size: int


def cache_folder() -> Path:
    """Where downloads, and what was made of files, are kept: ``BENCH_CACHE_DIR``, else the platform's cache folder."""
    import platformdirs

    return Path(os.environ.get("BENCH_CACHE_DIR") or platformdirs.user_cache_dir("llm-rec-bench")).expanduser()


def pins_file() -> Path:
    """The lock file that holds the pins."""
    return cache_folder() / "pins.json"


def read_pins() -> dict[str, dict[str, Any]]:
    """All pins: ``<card>/<role>`` -> ``sha256`` and ``size`` of the uncompressed content, and ``date`` (UTC).

    Raises
    ------
    DataError
        The lock file is not what this module writes.
    """
    file = pins_file()
    try:
        pins: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        for entry in pins.values():
            entry["sha256"].encode("ascii")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: unreadable ({error}): mend it, or remove it to have downloads pinned anew") from error
    return pins


def content_sha256(content: Content) -> str:
    """SHA-256, in hex, of the uncompressed content; a file that has not changed since is not read again.

    Raises
    ------
    DataError
        As for ``Content.open``.
    """
    return measure(content).sha256


def measure(content: Content) -> Measured:
    """Checksum and size of the uncompressed content, remembered for as long as the file stays as it is.

    Any change is noticed: the times of a file's content can be set back, that of its entry (``ctime``) cannot.

    Raises
    ------
    DataError
        As for ``Content.open``.
    """
    place = repr((os.path.realpath(content.path), content.member))
    memo = cache_folder() / "checksums" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    before = _state(content.path)
    if before is not None and (remembered := _recall(memo, before)) is not None:
        return remembered
    started = time.time_ns()
    measured = _read(content)
    if before is not None and before == _state(content.path) and max(before[1:3]) + SETTLED_NS < started:
        # Without the memo everything works as well, only slower.
        with suppress(OSError), replacing(memo) as temporary:
            temporary.write_text(json.dumps({"file": before, **measured._asdict()}), encoding="utf-8")
    return measured


def pin(key: str, content: Content) -> None:
    """Pin a download to the content it has; one that is pinned already must still have it.

    Parameters
    ----------
    key : str
        ``<card>/<role>``.

    Raises
    ------
    DataError
        Another content than the pinned one, a lock file that cannot be read, or a cache folder that cannot be written.
    """
    file = pins_file()
    measured = measure(content)
    pinned = read_pins().get(key)
    if pinned is None:
        with locked(file):
            pins = read_pins()
            today = datetime.now(UTC).date().isoformat()
            pinned = pins.setdefault(key, {**measured._asdict(), "date": today})
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if pinned["sha256"] != measured.sha256:
        raise DataError(
            f"{content}: not the content that was pinned on first use ({pinned.get('date', 'no date')}): expected "
            f"sha256 {pinned['sha256']}, found {measured.sha256}; if the new edition is meant, remove the entry "
            f"{key!r} from {file}; if not, put the earlier file back"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing a file of the cache folder, or wait for them; makes its folder.

    Raises
    ------
    DataError
        The cache folder cannot be written; also when that turns out inside the ``with``.
    """
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f".{path.name}.lock")):
            yield
    # filelock raises the second where the file system knows no locks.
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path.parent}: the cache cannot be written ({reason}): set BENCH_CACHE_DIR to a folder that can be"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name, which becomes ``path`` if the block ends well and vanishes if not; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _state(path: Path) -> list[int] | None:
    """What changes whenever a file does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read(content: Content) -> Measured:
    sha, size = hashlib.sha256(), 0
    with content.open() as stream:
        while chunk := stream.read(_CHUNK):
            sha.update(chunk)
            size += len(chunk)
    return Measured(sha.hexdigest(), size)


def _recall(memo: Path, state: list[int]) -> Measured | None:
    try:
        known = json.loads(memo.read_text(encoding="utf-8"))
        return Measured(str(known["sha256"]), int(known["size"])) if known["file"] == state else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
