"""What the cache remembers of source files: the content a download had when first used, and checksums."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bench.data.content import Content
from bench.data.sources import content_sha256
from bench.errors import DataError

CONTENT = b"1 1 2 3\n2 3 1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pins(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return json.loads((tmp_path / "cache" / "pins.json").read_text())


# Pins


def test_a_download_without_a_checksum_is_pinned_on_first_use(server, find, tmp_path):
    server.send(gzip.compress(CONTENT, mtime=0))
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
    server.send(b"new edition\n")
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
    server.send(b"new edition\n", path="/1")
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
def test_a_web_page_is_not_pinned(server, find, cached_files, page):
    server.send(page)
    with pytest.raises(DataError, match="a web page came instead of the file"):
        find(url=f"{server.url}/x.txt")
    assert cached_files() == []


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
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "a\n")
        archive.writestr("b", "b\n")
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


def test_a_file_changed_just_now_is_not_remembered(tmp_path, counted, cached_files, monkeypatch):
    monkeypatch.setattr("bench.data.pins.SETTLED_NS", 10**12)
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\n")
    assert content_sha256(Content(path)) == content_sha256(Content(path)) == sha256(b"one\n")
    assert len(counted) == 2
    assert cached_files() == []


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
