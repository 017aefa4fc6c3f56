"""From a card to a checked file on this machine: data folder, installed package, cache, download."""

from __future__ import annotations

import gzip
import importlib.util
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from bench.data.card import Card, Source
from bench.data.hashing import stream_sha256
from bench.errors import DataError

__all__ = ["Located", "cache_folder", "locate", "open_content", "remedy"]

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 8, 60
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Located:
    """A source file on this machine.

    Attributes
    ----------
    path : Path
    origin : str
        Where it was found, in words.
    checked : bool
        Whether the card pins its content; if so, the checksum held.
    """

    path: Path
    origin: str
    checked: bool


def cache_folder() -> Path:
    """Where downloads are kept: ``BENCH_CACHE_DIR``, else the platform's cache folder."""
    import platformdirs

    return Path(os.environ.get("BENCH_CACHE_DIR") or platformdirs.user_cache_dir("llm-rec-bench"))


@contextmanager
def open_content(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading its uncompressed bytes; gzip is recognised by its first bytes.

    Raises
    ------
    DataError
        Unreadable, or damaged gzip (also when the damage is met while reading inside the ``with``).
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    yield cast(BinaryIO, unzipped)
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged or truncated gzip ({error}): replace the file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def locate(card: Card, role: str, source: Source, *, download: bool = True) -> Located | None:
    """Find a source file and check it; what is nowhere on this machine is downloaded, unless ``download`` is false.

    Returns
    -------
    Located or None
        None for an optional file that is nowhere to be had.

    Raises
    ------
    DataError
        Nowhere to be found, not to be downloaded, or not the content that the card pins.
    """
    for path, origin in _places(card, source):
        if path.is_file():
            _check(path, source)
            return Located(path, origin, checked=source.sha256 is not None)
    if source.url is not None and download:
        return _download(card, role, source, source.url)
    if source.optional:
        return None
    raise DataError(f"{card.name}: the {role} file is not on this machine: {remedy(source)}")


def _places(card: Card, source: Source) -> Iterator[tuple[Path, str]]:
    data = os.environ.get("BENCH_DATA_DIR")
    for relative in source.path:
        if data:
            yield Path(data).expanduser() / relative, "BENCH_DATA_DIR"
        if card.folder is not None:
            yield card.folder / relative, "the card's folder"
    if source.package is not None and source.inside is not None:
        # find_spec of a top-level name looks the package up without running any of its code.
        spec = importlib.util.find_spec(source.package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield Path(folder) / source.inside, f"the installed package {source.package}"
    if source.url is not None:
        yield _cached(card, source.url), "the cache"


def _cached(card: Card, url: str) -> Path:
    return cache_folder() / "datasets" / card.name / (Path(unquote(urlsplit(url).path)).name or "download")


def remedy(source: Source) -> str:
    """What a person can do to have the file, in one line."""
    steps = []
    if source.howto:
        steps.append(source.howto)
    elif source.package is not None:
        steps.append(f"install the package {source.package}")
    if source.path:
        fetch = f"fetch {source.url} yourself and put it" if source.url else "put it"
        steps.append(f"{fetch} at $BENCH_DATA_DIR/{source.path[0]}")
    check = f" (sha256 of the uncompressed content: {source.sha256})" if source.sha256 else ""
    return "; or ".join(steps) + check


def _content_sha256(path: Path) -> str:
    with open_content(path) as stream:
        return stream_sha256(stream)


def _check(path: Path, source: Source) -> None:
    """Compare the uncompressed content with the card's checksum, where it pins one."""
    if source.sha256 is None:
        return
    found = _content_sha256(path)
    if found != source.sha256:
        original = f"the original from {source.url}" if source.url else "the original"
        raise DataError(
            f"{path}: wrong checksum: expected sha256 {source.sha256}, found {found}; "
            f"this is not the file the card describes: remove it, or put {original} in its place"
        )


def _download(card: Card, role: str, source: Source, url: str) -> Located:
    """Fetch into a temporary name; the final name appears only after the checksum held."""
    import pooch
    import requests

    target = _cached(card, url)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as sink, ExitStack() as responses:

            def close_later(response: requests.Response, *_: object, **__: object) -> None:
                """Have every response closed: pooch leaves that of a failed download open."""
                responses.callback(response.close)

            fetch = pooch.HTTPDownloader(timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), hooks={"response": close_later})
            fetch(url, sink, None)
        found = _content_sha256(temporary)
        if found != source.sha256:
            raise DataError(f"wrong checksum: expected sha256 {source.sha256}, found {found}")
        temporary.replace(target)
    # The exceptions of requests are OSErrors too.
    except (OSError, DataError) as error:
        raise DataError(
            f"{card.name}: the {role} file is not on this machine, and downloading {url} failed "
            f"({_reason(error)}); nothing was kept: try again; or {remedy(source)}"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return Located(target, f"downloaded from {url}", checked=True)


def _reason(error: Exception) -> str:
    """The failure of a download in a few words: a connection error's own text is a chain of wrappers."""
    import requests

    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, DataError) and ".part: " in str(error):
        return str(error).split(".part: ", 1)[1]
    return " ".join(str(error).split())
