from __future__ import annotations

import gzip
import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.data import load_card, load_dataset
from bench.data.sources import locate, open_content
from bench.errors import DataError

CONTENT = b"1 1 2 3\n2 3 1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A web server of this machine; ``answer`` writes the whole response."""

    url: str
    answer: Callable[[BaseHTTPRequestHandler], None]
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            state.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state = Server(f"http://127.0.0.1:{http.server_port}", sending(CONTENT))
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def sending(content: bytes, *, promised: int | None = None, status: int = 200, then: Callable[[], None] | None = None):
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(promised or len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        handler.wfile.flush()
        if then is not None:
            then()

    return answer


@pytest.fixture
def remote(tmp_path, card_of) -> Callable[..., Path]:
    """A card whose events are to be downloaded."""

    def write(url: str, **changes) -> Path:
        source = {"path": "s3rec/x.txt", "url": url, "sha256": SHA256, **changes}
        return card_of(tmp_path / "card", "s3rec", {}, files={"interactions": source})

    return write


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_checked_cached_and_not_repeated(server, remote, tmp_path):
    card = remote(f"{server.url}/some/x.txt")
    first = load_dataset(card)
    assert first.sources["interactions"].origin == f"downloaded from {server.url}/some/x.txt"
    assert first.interactions.height == 5
    assert files_in(tmp_path / "cache") == ["x.txt"]
    second = load_dataset(card)
    assert second.sources["interactions"].origin == "the cache"
    assert server.asked == ["/some/x.txt"]


def test_a_zipped_download_is_checked_by_its_content(server, remote):
    server.answer = sending(gzip.compress(CONTENT))
    assert load_dataset(remote(f"{server.url}/x.txt.gz")).interactions.height == 5


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (sending(b"something else\n"), f"wrong checksum: expected sha256 {SHA256}, found "),
        (sending(CONTENT[:5], promised=len(CONTENT)), "failed"),
        (sending(gzip.compress(CONTENT)[:-6]), "damaged or truncated gzip"),
        (sending(b"", status=404), "HTTP status 404"),
        (sending(CONTENT, status=503), "HTTP status 503"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(server, remote, tmp_path, answer, complaint):
    server.answer = answer
    with pytest.raises(DataError) as caught:
        load_dataset(remote(f"{server.url}/x.txt"))
    message = str(caught.value)
    assert complaint in message
    for part in ("small", f"{server.url}/x.txt", SHA256, "$BENCH_DATA_DIR/s3rec/x.txt"):
        assert part in message
    assert "\n" not in message
    assert ".part" not in message
    assert files_in(tmp_path / "cache") == []


def test_offline_fails_at_once_and_says_what_to_do(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(DataError, match="no connection") as caught:
        load_dataset(remote(f"http://127.0.0.1:{port}/x.txt"))
    assert time.monotonic() - started < 10
    assert "fetch http://127.0.0.1" in str(caught.value)
    assert files_in(tmp_path / "cache") == []


def test_nothing_is_asked_of_the_network_when_downloads_are_off(server, remote):
    with pytest.raises(DataError, match="not on this machine: fetch http://127"):
        load_dataset(remote(f"{server.url}/x.txt"), download=False)
    assert server.asked == []


def test_a_silent_server_is_given_up(server, remote, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.data.sources.READ_TIMEOUT_S", 0.2)
    released = threading.Event()
    server.answer = lambda _: released.wait(10) and None
    with pytest.raises(DataError, match="timed out"):
        load_dataset(remote(f"{server.url}/x.txt"))
    released.set()
    assert files_in(tmp_path / "cache") == []


def test_a_download_killed_half_way_is_never_taken_for_the_file(server, remote, tmp_path):
    half_sent, released = threading.Event(), threading.Event()

    def stall() -> None:
        half_sent.set()
        released.wait(60)

    server.answer = sending(CONTENT[:7], promised=len(CONTENT), then=stall)
    card = remote(f"{server.url}/x.txt")
    code = f"from bench.data import load_dataset; load_dataset({str(card)!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert half_sent.wait(60)
    finally:
        process.kill()
        process.wait()
        released.set()
    assert not (tmp_path / "cache" / "datasets" / "small" / "x.txt").exists()
    server.answer = sending(CONTENT)
    assert load_dataset(card).interactions.height == 5


def test_a_cached_file_that_was_damaged_since_is_refused(server, remote, tmp_path):
    card = remote(f"{server.url}/x.txt")
    cached = load_dataset(card).sources["interactions"].path
    cached.write_bytes(CONTENT + b"3 1\n")
    with pytest.raises(DataError, match=r"x\.txt: wrong checksum: expected sha256 .*remove it"):
        load_dataset(card)


@pytest.mark.parametrize("zipped", [False, True])
def test_the_data_folder_comes_first_plain_or_zipped(server, remote, tmp_path, monkeypatch, zipped):
    folder = tmp_path / "mine"
    (folder / "s3rec").mkdir(parents=True)
    (folder / "s3rec" / "x.txt").write_bytes(gzip.compress(CONTENT) if zipped else CONTENT)
    monkeypatch.setenv("BENCH_DATA_DIR", str(folder))
    source = load_dataset(remote(f"{server.url}/x.txt")).sources["interactions"]
    assert (source.origin, source.checked) == ("BENCH_DATA_DIR", True)
    assert server.asked == []


def test_a_wrong_file_in_the_data_folder_is_an_error_not_skipped(server, remote, tmp_path, monkeypatch):
    (tmp_path / "mine" / "s3rec").mkdir(parents=True)
    wrong = tmp_path / "mine" / "s3rec" / "x.txt"
    wrong.write_bytes(b"9 9\n")
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "mine"))
    with pytest.raises(DataError) as caught:
        load_dataset(remote(f"{server.url}/x.txt"))
    for part in (str(wrong), SHA256, hashlib.sha256(b"9 9\n").hexdigest(), f"the original from {server.url}"):
        assert part in str(caught.value)
    assert server.asked == []


def test_a_file_inside_an_installed_package_is_found_without_running_its_code(tmp_path, card_of, monkeypatch):
    package = tmp_path / "site" / "carrier_of_data"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    (package / "x.txt").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    source = {"package": "carrier_of_data", "inside": "x.txt", "sha256": SHA256}
    dataset = load_dataset(card_of(tmp_path, "s3rec", {}, files={"interactions": source}))
    assert dataset.sources["interactions"].path == package / "x.txt"
    assert "carrier_of_data" not in sys.modules


def test_a_package_that_is_not_installed_is_named(tmp_path, card_of):
    source = {"package": "carrier_of_nothing", "inside": "x.txt"}
    with pytest.raises(DataError, match="install the package carrier_of_nothing"):
        load_dataset(card_of(tmp_path, "s3rec", {}, files={"interactions": source}))


def test_an_optional_file_may_be_missing(tmp_path, card_of):
    files = {"interactions": {"path": "s.txt"}, "items": {"path": "t.jsonl", "optional": True, "howto": "ask Ann"}}
    path = card_of(tmp_path, "s3rec", {"interactions": CONTENT}, files=files)
    card = load_card(path)
    assert card.files.items is not None
    assert locate(card, "items", card.files.items) is None
    dataset = load_dataset(path)
    assert dataset.missing == ("items: ask Ann; or put it at $BENCH_DATA_DIR/t.jsonl",)
    assert not dataset.has_titles


def test_what_cannot_be_read_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"), open_content(tmp_path):
        pass
