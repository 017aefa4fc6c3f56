"""From a card to a checked file on this machine: data folder, installed package, cache, download."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from bench.data.card import Card, Source
from bench.data.content import Content
from bench.data.pins import cache_folder, content_sha256, locked, pin, pins_file, read_pins, replacing
from bench.errors import DataError

__all__ = ["Located", "cache_folder", "content_sha256", "locate", "remedy"]

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 8, 60
_CACHE = "the cache"
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Located:
    """A source file on this machine.

    Attributes
    ----------
    content : Content
        The file, or a member of it.
    origin : str
        Where it was found, in words; also says when it was pinned on first use, and in which file.
    checked : bool
        Whether the card pins its content; if so, the checksum held.
    pinned : bool
        Whether it is a download that the card gives no checksum for: it is what it was when first used.
    """

    content: Content
    origin: str
    checked: bool
    pinned: bool = False

    @property
    def path(self) -> Path:
        """The file; an archive where ``content`` is a member of it."""
        return self.content.path


def locate(card: Card, role: str, source: Source, *, download: bool = True) -> Located | None:
    """Find a source file and check it; what is nowhere on this machine is downloaded, unless ``download`` is false.

    The checksum is that of the uncompressed content, in an archive that of the member. While another process downloads
    the same file, this one waits for it.

    Returns
    -------
    Located or None
        None for an optional file that is nowhere to be had.

    Raises
    ------
    DataError
        Nowhere to be found, not to be downloaded, or not the content that the card, or its first use, pins.
    """
    for path, origin in _places(card, source):
        if _is_file(path):
            return _checked(card, role, source, path, origin, download=origin == _CACHE)
    if source.url and download:
        return _download(card, role, source)
    if source.optional:
        return None
    raise DataError(f"{card.name}: the {role} file is not on this machine: {remedy(source)}")


def remedy(source: Source) -> str:
    """What a person can do to have the file, in one line."""
    steps = []
    if source.howto:
        steps.append(source.howto)
    elif source.package is not None:
        steps.append(f"install the package {source.package}")
    if source.path:
        fetch = f"fetch {source.url[0]} yourself and put it" if source.url else "put it"
        steps.append(f"{fetch} at $BENCH_DATA_DIR/{source.path[0]}")
    elif source.url:
        steps.append(f"have {source.url[0]} downloaded")
    what = "the uncompressed content" if source.member is None else f"its member {source.member}"
    return "; or ".join(steps) + (f" (sha256 of {what}: {source.sha256})" if source.sha256 else "")


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
    if source.url:
        yield _cached(card, source.url[0]), _CACHE


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _cached(card: Card, url: str) -> Path:
    """One place for all mirrors, named after the first; roles that share an archive share its download."""
    last = unquote(re.split(r"[?#]", url)[0].rsplit("/", 1)[-1])
    name = re.sub(r"[^A-Za-z0-9.+-]", "_", last)[-80:] or "download"
    return cache_folder() / "datasets" / card.name / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"


def _checked(card: Card, role: str, source: Source, path: Path, origin: str, *, download: bool) -> Located:
    """Compare the content with the card's checksum or, for a download without one, with its pin."""
    content = Content(path, source.member)
    if source.sha256 is not None and (found := content_sha256(content)) != source.sha256:
        original = f"the original from {source.url[0]}" if source.url else "the original"
        raise DataError(
            f"{content}: wrong checksum: expected sha256 {source.sha256}, found {found}; "
            f"this is not the file the card describes: remove it, or put {original} in its place"
        )
    if source.sha256 is None and download:
        pin(_key(card, role), content)
    return _located(source, content, origin, download=download)


def _located(source: Source, content: Content, origin: str, *, download: bool) -> Located:
    if pinned := source.sha256 is None and download:
        origin = f"{origin}, pinned on first use in {pins_file()}"
    return Located(content, origin, checked=source.sha256 is not None, pinned=pinned)


def _key(card: Card, role: str) -> str:
    return f"{card.name}/{role}"


def _download(card: Card, role: str, source: Source) -> Located:
    """Fetch from the first mirror that has the right content; only then the file gets its name."""
    target = _cached(card, source.url[0])
    failures = []
    with locked(target):
        if target.is_file():
            # Another process was faster.
            return _checked(card, role, source, target, _CACHE, download=True)
        # Pins that cannot be read are better known before gigabytes were fetched.
        read_pins()
        for url in source.url:
            try:
                with replacing(target) as temporary:
                    _fetch(url, temporary)
                    _check_download(card, role, source, temporary)
            # The exceptions of requests are OSErrors too; a malformed address may raise a ValueError.
            except (OSError, DataError, ValueError) as error:
                failures.append(f"{url} failed ({_reason(error)})")
            else:
                content = Content(target, source.member)
                return _located(source, content, f"downloaded from {url}", download=True)
    several = "".join(f"\n  {failure}" for failure in failures) + "\n"
    listed = f"{failures[0]}; " if len(failures) == 1 else several
    raise DataError(
        f"{card.name}: the {role} file is not on this machine, and downloading {listed}"
        f"nothing was kept: try again; or {remedy(source)}"
    )


def _fetch(url: str, path: Path) -> None:
    import pooch
    import requests

    with path.open("wb") as sink, ExitStack() as responses:

        def close_later(response: requests.Response, *_: object, **__: object) -> None:
            """Have every response closed: pooch leaves that of a failed download open."""
            responses.callback(response.close)

        fetch = pooch.HTTPDownloader(timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), hooks={"response": close_later})
        fetch(url, sink, None)


def _check_download(card: Card, role: str, source: Source, path: Path) -> None:
    """Check what came, which is still under a temporary name that nobody should read of."""
    content = Content(path, source.member)
    try:
        if source.sha256 is None:
            # A page that asks to sign in comes with status 200, and must not be pinned.
            with Content(path).open() as stream:
                if _WEB_PAGE.match(stream.read(512)):
                    raise DataError("a web page came instead of the file")
            pin(_key(card, role), content)
        elif (found := content.sha256()) != source.sha256:
            raise DataError(f"wrong checksum: expected sha256 {source.sha256}, found {found}")
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{content}: ").removeprefix(f"{path}: ")) from error


def _reason(error: Exception) -> str:
    """The failure of a download in a few words: a connection error's own text is a chain of wrappers."""
    import requests

    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    return " ".join(str(error).split())
