from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.data.card import load_card
from bench.data.content import Content
from bench.data.sources import Located, content_sha256, locate, remedy
from bench.errors import DataError

CONTENT = b"1 1 2 3\n2 3 1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A web server of this machine; ``answer`` writes the whole response, ``answers`` those of certain paths."""

    url: str
    answer: Callable[[BaseHTTPRequestHandler], None]
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            state.answers.get(self.path, state.answer)(self)

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
def find(tmp_path, card_of) -> Callable[..., Located | None]:
    """Locate a file of a card of the user's own; keywords are those of the source."""

    def run(role: str = "interactions", /, *, download: bool = True, **source: Any) -> Located | None:
        card = load_card(card_of(tmp_path / "card", "s3rec", {}, files={"interactions": source}))
        return locate(card, role, card.files.interactions[0], download=download)

    return run


def files_in(folder: Path) -> list[str]:
    """Files below a folder, but those of locks, which stay."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def pins(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return json.loads((tmp_path / "cache" / "pins.json").read_text())


def test_a_download_is_checked_cached_and_not_repeated(server, find, tmp_path):
    source = {"url": f"{server.url}/some/x.txt", "sha256": SHA256}
    first = find(**source)
    assert (first.origin, first.checked, first.pinned) == (f"downloaded from {server.url}/some/x.txt", True, False)
    assert first.content == Content(first.path)
    assert first.path.read_bytes() == CONTENT
    assert files_in(tmp_path / "cache" / "datasets") == [first.path.name]
    assert first.path.name.endswith("-x.txt")
    second = find(**source)
    assert (second.origin, second.path) == ("the cache", first.path)
    assert server.asked == ["/some/x.txt"]
    assert not (tmp_path / "cache" / "pins.json").exists()


@pytest.mark.parametrize(
    ("packed", "member"),
    [(gzip.compress(CONTENT, mtime=0), None), (zipped(x=b"0", y=gzip.compress(CONTENT, mtime=0)), "y")],
)
def test_a_packed_download_is_checked_by_its_content(server, find, packed, member):
    server.answer = sending(packed)
    found = find(url=f"{server.url}/x", member=member, sha256=SHA256)
    assert found.checked
    assert [block.data for block in found.content.blocks()] == [CONTENT.strip()]


@pytest.mark.parametrize(
    ("answer", "complaint", "pinned_by_card"),
    [
        (sending(b"something else\n"), f"wrong checksum: expected sha256 {SHA256}, found ", True),
        (sending(CONTENT[:5], promised=len(CONTENT)), "failed", True),
        (sending(CONTENT[:5], promised=len(CONTENT)), "failed", False),
        (sending(gzip.compress(CONTENT, mtime=0)[:-6]), "failed (damaged or truncated gzip", True),
        (sending(gzip.compress(CONTENT, mtime=0)[:-6]), "failed (damaged or truncated gzip", False),
        (sending(b"", status=404), "HTTP status 404", True),
        (sending(CONTENT, status=503), "HTTP status 503", False),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    server, find, tmp_path, answer, complaint, pinned_by_card
):
    server.answer = answer
    with pytest.raises(DataError) as caught:
        find(path="s3rec/x.txt", url=f"{server.url}/x.txt", sha256=SHA256 if pinned_by_card else None)
    message = str(caught.value)
    assert complaint in message
    for part in ("small", f"{server.url}/x.txt", "$BENCH_DATA_DIR/s3rec/x.txt", *([SHA256] if pinned_by_card else [])):
        assert part in message
    assert "\n" not in message
    assert ".part" not in message
    assert files_in(tmp_path / "cache") == []


def test_offline_fails_at_once_and_says_what_to_do(find, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(DataError, match="no connection") as caught:
        find(path="x.txt", url=f"http://127.0.0.1:{port}/x.txt")
    assert time.monotonic() - started < 10
    assert "fetch http://127.0.0.1" in str(caught.value)
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "no address", "http://[::1/x", "http://" + "a" * 70 + ".test/x"])
def test_an_address_that_makes_no_sense_is_a_data_error(find, monkeypatch, url):
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(DataError, match=r"downloading .* failed"):
        find(url=url)


def test_nothing_is_asked_of_the_network_when_downloads_are_off(server, find):
    with pytest.raises(DataError, match="not on this machine: fetch http://127"):
        find(path="x.txt", url=f"{server.url}/x.txt", download=False)
    with pytest.raises(DataError, match="not on this machine: have http://127"):
        find(url=f"{server.url}/x.txt", download=False)
    assert server.asked == []


def test_a_silent_server_is_given_up(server, find, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.data.sources.READ_TIMEOUT_S", 0.2)
    released = threading.Event()
    server.answer = lambda _: released.wait(10) and None
    with pytest.raises(DataError, match="timed out"):
        find(url=f"{server.url}/x.txt")
    released.set()
    assert files_in(tmp_path / "cache") == []


PROGRAM = """
import sys
from bench.data.card import load_card
from bench.data.sources import locate
card = load_card(sys.argv[1])
found = locate(card, "interactions", card.files.interactions[0])
print(found.origin)
"""


def test_a_download_killed_half_way_is_never_taken_for_the_file(server, card_of, tmp_path):
    half_sent, released = threading.Event(), threading.Event()

    def stall() -> None:
        half_sent.set()
        released.wait(60)

    server.answer = sending(CONTENT[:7], promised=len(CONTENT), then=stall)
    files = {"interactions": {"url": f"{server.url}/x.txt"}}
    path = card_of(tmp_path, "s3rec", {}, files=files)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)])
    try:
        assert half_sent.wait(60)
    finally:
        process.kill()
        process.wait()
        released.set()
    server.answer = sending(CONTENT)
    card = load_card(path)
    found = locate(card, "interactions", card.files.interactions[0])
    assert found is not None
    assert found.path.read_bytes() == CONTENT


def test_processes_side_by_side_download_once(server, card_of, tmp_path):
    released = threading.Event()
    server.answer = sending(CONTENT[:7], promised=len(CONTENT), then=lambda: released.wait(60))
    slow = server.answer

    def answer(handler: BaseHTTPRequestHandler) -> None:
        slow(handler)
        handler.wfile.write(CONTENT[7:])

    server.answer = answer
    path = card_of(tmp_path, "s3rec", {}, files={"interactions": {"url": f"{server.url}/x.txt"}})
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        deadline = time.monotonic() + 60
        while not server.asked and time.monotonic() < deadline:
            time.sleep(0.02)
        # The other one has the time to come as far.
        time.sleep(1)
        released.set()
        origins = sorted(process.communicate(timeout=60)[0].split(",")[0] for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert origins == [f"downloaded from {server.url}/x.txt", "the cache"]
    assert server.asked == ["/x.txt"]


def test_a_cached_file_that_was_damaged_since_is_refused(server, find):
    source = {"url": f"{server.url}/x.txt", "sha256": SHA256}
    find(**source).path.write_bytes(CONTENT + b"3 1\n")
    with pytest.raises(DataError, match=r"x\.txt: wrong checksum: expected sha256 .*remove it"):
        find(**source)


# Mirrors and places in the cache


def test_mirrors_are_tried_in_order(server, find):
    server.answers = {"/1/x.txt": sending(b"", status=404), "/2/y.txt.gz": sending(gzip.compress(CONTENT, mtime=0))}
    urls = [f"{server.url}/1/x.txt", f"{server.url}/2/y.txt.gz", f"{server.url}/3/x.txt"]
    found = find(url=urls, sha256=SHA256)
    assert found.origin == f"downloaded from {urls[1]}"
    assert server.asked == ["/1/x.txt", "/2/y.txt.gz"]
    # Whichever mirror it came from, it is found again.
    assert find(url=urls, sha256=SHA256).path == found.path
    assert len(server.asked) == 2


def test_what_failed_is_said_of_every_mirror(server, find, tmp_path):
    server.answers = {
        "/1": sending(b"", status=404),
        "/2": sending(b"other"),
        "/3": sending(gzip.compress(CONTENT, mtime=0)[:9]),
    }
    with pytest.raises(DataError) as caught:
        find(path="x.txt", url=[f"{server.url}/{n}" for n in (1, 2, 3)], sha256=SHA256)
    first, *mirrors, last = str(caught.value).split("\n")
    assert "the interactions file is not on this machine" in first
    assert [line.strip().split(" failed (")[0] for line in mirrors] == [f"{server.url}/{n}" for n in (1, 2, 3)]
    for line, why in zip(mirrors, ("404", f"wrong checksum: expected sha256 {SHA256}", "truncated gzip"), strict=True):
        assert why in line
    assert "put it at $BENCH_DATA_DIR/x.txt" in last
    assert files_in(tmp_path / "cache") == []


def test_roles_with_files_of_one_name_do_not_clash(server, find):
    server.answers = {"/a/data.csv": sending(b"a\n"), "/b/data.csv": sending(b"b\n")}
    one = find("interactions", url=f"{server.url}/a/data.csv", sha256=sha256(b"a\n"))
    two = find("items", url=f"{server.url}/b/data.csv", sha256=sha256(b"b\n"))
    assert (one.path.read_bytes(), two.path.read_bytes()) == (b"a\n", b"b\n")


def test_roles_share_the_download_of_an_archive(server, find):
    server.answer = sending(zipped(a=b"a\n", b=b"b\n"))
    one = find("interactions", url=f"{server.url}/all.zip", member="a")
    two = find("items", url=f"{server.url}/all.zip", member="b", sha256=sha256(b"b\n"))
    assert one.path == two.path
    assert (one.pinned, two.pinned) == (True, False)
    assert server.asked == ["/all.zip"]
    with pytest.raises(DataError, match=r"all\.zip \(a\): wrong checksum"):
        find("items", url=f"{server.url}/all.zip", member="a", sha256=sha256(b"b\n"))


@pytest.mark.parametrize("name", ["", "..", "%2e%2e%2fx", "a%00b", "x" * 300, "ü?y=1", "%5c..%5cx"])
def test_no_address_leads_out_of_the_cache(server, find, tmp_path, name):
    found = find(url=f"{server.url}/{name}", sha256=SHA256)
    assert found.path.parent == tmp_path / "cache" / "datasets" / "small"
    assert found.path.is_file()


# Pins


def test_a_download_without_a_checksum_is_pinned_on_first_use(server, find, tmp_path):
    server.answer = sending(gzip.compress(CONTENT, mtime=0))
    source = {"url": f"{server.url}/x.txt"}
    found = find("items", **source)
    told = f"pinned on first use in {tmp_path / 'cache' / 'pins.json'}"
    assert (found.checked, found.pinned) == (False, True)
    assert found.origin == f"downloaded from {server.url}/x.txt, {told}"
    pinned = pins(tmp_path)
    assert pinned["small/items"].pop("date").startswith("20")
    assert pinned == {"small/items": {"sha256": SHA256, "size": len(CONTENT)}}
    again = find("items", **source)
    assert (again.origin, again.pinned) == (f"the cache, {told}", True)


def test_another_edition_of_a_pinned_download_is_refused(server, find, tmp_path):
    find(url=f"{server.url}/x.txt").path.unlink()
    server.answer = sending(b"new edition\n")
    with pytest.raises(DataError) as caught:
        find(url=f"{server.url}/x.txt")
    lock_file = str(tmp_path / "cache" / "pins.json")
    for part in (lock_file, "'small/interactions'", SHA256, sha256(b"new edition\n"), "remove the entry"):
        assert part in str(caught.value)
    assert pins(tmp_path)["small/interactions"]["sha256"] == SHA256
    # What the error says helps.
    (tmp_path / "cache" / "pins.json").write_text("{}")
    assert find(url=f"{server.url}/x.txt").path.read_bytes() == b"new edition\n"
    assert pins(tmp_path)["small/interactions"]["sha256"] == sha256(b"new edition\n")


def test_a_mirror_with_the_pinned_edition_helps(server, find):
    urls = [f"{server.url}/1", f"{server.url}/2"]
    find(url=urls).path.unlink()
    server.answers = {"/1": sending(b"new edition\n")}
    assert find(url=urls).origin.startswith(f"downloaded from {urls[1]}, pinned")


def test_a_cached_file_that_differs_from_its_pin_is_refused(server, find):
    found = find(url=f"{server.url}/x.txt")
    found.path.write_bytes(b"changed\n")
    with pytest.raises(DataError, match="not the content that was pinned on first use"):
        find(url=f"{server.url}/x.txt")


def test_a_local_file_is_not_pinned(find, tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "x.txt").write_bytes(CONTENT)
    found = find(path="x.txt", url="http://127.0.0.1:9/x.txt")
    assert (found.origin, found.checked, found.pinned) == ("the card's folder", False, False)
    assert not (tmp_path / "cache" / "pins.json").exists()


@pytest.mark.parametrize("broken", ["", "[]", "{", '{"small/interactions": "x"}', '{"a": {}}', "\xff"])
def test_pins_that_cannot_be_read_are_an_error_and_stay(server, find, tmp_path, broken):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pins.json").write_text(broken, encoding="latin-1")
    with pytest.raises(DataError, match=r"pins\.json: unreadable .*: mend it, or remove it"):
        find(url=f"{server.url}/x.txt")
    assert (tmp_path / "cache" / "pins.json").read_text(encoding="latin-1") == broken
    assert server.asked == []


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>\n<title>Sign in</title>", b"\xef\xbb\xbf \n<HTML lang=en>"])
def test_a_web_page_is_not_pinned(server, find, tmp_path, page):
    server.answer = sending(page)
    with pytest.raises(DataError, match="a web page came instead of the file"):
        find(url=f"{server.url}/x.txt")
    assert files_in(tmp_path / "cache") == []


def test_pins_of_processes_side_by_side_are_all_kept(tmp_path):
    program = """
import sys
from pathlib import Path
from bench.data.content import Content
from bench.data.pins import pin
for n in range(20):
    pin(f"{sys.argv[1]}/{n}", Content(Path(sys.argv[2])))
"""
    (tmp_path / "x").write_bytes(CONTENT)
    processes = [subprocess.Popen([sys.executable, "-c", program, name, str(tmp_path / "x")]) for name in ("a", "b")]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(pins(tmp_path)) == 40


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(server, find, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "taken"))
    with pytest.raises(DataError, match=r"cannot be written .*BENCH_CACHE_DIR"):
        find(url=f"{server.url}/x.txt")
    # What needs no cache does without it.
    (tmp_path / "card" / "x.txt").write_bytes(CONTENT)
    assert find(path="x.txt", sha256=SHA256).checked


def test_pins_that_cannot_be_written_are_an_error(server, find, tmp_path, monkeypatch):
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    found = find(url=f"{server.url}/x.txt")
    (tmp_path / "cache" / "pins.json").unlink()
    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\): set BENCH_CACHE_DIR"):
        find(url=f"{server.url}/x.txt")
    assert found.path.is_file()
    assert not (tmp_path / "cache" / "pins.json").exists()


# Checksums that are remembered


@pytest.fixture
def counted(monkeypatch) -> list[Path]:
    """Files that were opened for their content."""
    opened: list[Path] = []
    original = Content.open

    def open_and_count(self: Content):
        opened.append(self.path)
        return original(self)

    monkeypatch.setattr(Content, "open", open_and_count)
    monkeypatch.setattr("bench.data.pins.SETTLED_NS", 0)
    return opened


def settled(path: Path) -> None:
    """Wait until a change would leave other times."""
    deadline = time.monotonic() + 5
    # File systems count time in steps of a few milliseconds.
    while time.time_ns() <= path.stat().st_ctime_ns + 30_000_000 and time.monotonic() < deadline:
        time.sleep(0.01)


def test_an_unchanged_file_is_hashed_once(tmp_path, counted):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped(a=b"a\n", b=b"b\n"))
    settled(path)
    for _ in range(3):
        assert content_sha256(Content(path, "a")) == sha256(b"a\n")
    assert len(counted) == 1
    assert content_sha256(Content(path, "b")) == sha256(b"b\n")
    assert content_sha256(Content(path)) == sha256(path.read_bytes())
    assert len(counted) == 3
    link = tmp_path / "link"
    link.symlink_to(path)
    assert content_sha256(Content(link, "a")) == sha256(b"a\n")
    assert len(counted) == 3


def test_a_change_is_noticed_though_size_and_times_were_put_back(tmp_path, counted):
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\n")
    settled(path)
    before = path.stat()
    assert content_sha256(Content(path)) == sha256(b"one\n")
    path.write_bytes(b"two\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert content_sha256(Content(path)) == sha256(b"two\n")
    assert len(counted) == 2


def test_a_file_changed_just_now_is_not_remembered(tmp_path, counted, monkeypatch):
    monkeypatch.setattr("bench.data.pins.SETTLED_NS", 10**12)
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\n")
    assert content_sha256(Content(path)) == content_sha256(Content(path)) == sha256(b"one\n")
    assert len(counted) == 2
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"7", b"\xff", b'{"file": 1}', b'{"file": [], "sha256": 1}'])
def test_a_broken_memo_is_made_anew(tmp_path, counted, broken):
    path = tmp_path / "x.txt"
    path.write_bytes(CONTENT)
    settled(path)
    assert content_sha256(Content(path)) == SHA256
    (memo,) = (tmp_path / "cache" / "checksums").iterdir()
    good = memo.read_bytes()
    memo.write_bytes(broken)
    assert content_sha256(Content(path)) == SHA256
    assert memo.read_bytes() == good
    assert len(counted) == 2


def test_checksums_work_without_a_cache(tmp_path, counted, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "taken"))
    path = tmp_path / "x.txt"
    path.write_bytes(CONTENT)
    settled(path)
    assert content_sha256(Content(path)) == content_sha256(Content(path)) == SHA256
    assert len(counted) == 2


# Local places


@pytest.mark.parametrize("compressed", [False, True])
def test_the_data_folder_comes_first_plain_or_zipped(server, find, tmp_path, monkeypatch, compressed):
    folder = tmp_path / "mine"
    (folder / "s3rec").mkdir(parents=True)
    (folder / "s3rec" / "x.txt").write_bytes(gzip.compress(CONTENT, mtime=0) if compressed else CONTENT)
    monkeypatch.setenv("BENCH_DATA_DIR", str(folder))
    found = find(path="s3rec/x.txt", url=f"{server.url}/x.txt", sha256=SHA256)
    assert (found.origin, found.checked, found.path) == ("BENCH_DATA_DIR", True, folder / "s3rec" / "x.txt")
    assert server.asked == []


def test_a_wrong_file_in_the_data_folder_is_an_error_not_skipped(server, find, tmp_path, monkeypatch):
    (tmp_path / "mine" / "s3rec").mkdir(parents=True)
    wrong = tmp_path / "mine" / "s3rec" / "x.txt"
    wrong.write_bytes(b"9 9\n")
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "mine"))
    with pytest.raises(DataError) as caught:
        find(path="s3rec/x.txt", url=f"{server.url}/x.txt", sha256=SHA256)
    for part in (str(wrong), SHA256, sha256(b"9 9\n"), f"the original from {server.url}"):
        assert part in str(caught.value)
    assert server.asked == []


def test_a_file_inside_an_installed_package_is_found_without_running_its_code(tmp_path, find, monkeypatch):
    package = tmp_path / "site" / "carrier_of_data"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    (package / "x.txt").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert find(package="carrier_of_data", inside="x.txt", sha256=SHA256).path == package / "x.txt"
    assert "carrier_of_data" not in sys.modules


def test_a_package_that_is_not_installed_is_named(find):
    with pytest.raises(DataError, match="install the package carrier_of_nothing"):
        find(package="carrier_of_nothing", inside="x.txt")


def test_an_optional_file_may_be_missing(tmp_path, card_of):
    files = {"interactions": {"path": "s.txt"}, "items": {"path": "t.jsonl", "optional": True, "howto": "ask Ann"}}
    card = load_card(card_of(tmp_path, "s3rec", {"interactions": CONTENT}, files=files))
    assert card.files.items is not None
    assert locate(card, "items", card.files.items) is None
    assert remedy(card.files.items) == "ask Ann; or put it at $BENCH_DATA_DIR/t.jsonl"


def test_what_to_do_about_an_archive_says_whose_checksum_it_is(find):
    with pytest.raises(DataError, match=f"sha256 of its member a/b: {SHA256}"):
        find(path="x.zip", member="a/b", sha256=SHA256)


def test_a_place_that_cannot_be_looked_at_is_a_data_error(find):
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        find(path="x" * 300)
