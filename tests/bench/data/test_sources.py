"""Where a source file is found, and how it is downloaded: places in order, checks, mirrors, processes side by side."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from bench.data.card import load_card
from bench.data.content import Content
from bench.data.sources import locate, remedy
from bench.errors import DataError

CONTENT = b"1 1 2 3\n2 3 1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


# Downloads


def test_a_download_is_checked_cached_and_not_repeated(server, find, cached_files, tmp_path):
    source = {"url": f"{server.url}/some/x.txt", "sha256": SHA256}
    first = find(**source)
    assert (first.origin, first.checked, first.pinned) == (f"downloaded from {server.url}/some/x.txt", True, False)
    assert first.content == Content(first.path)
    assert first.path.read_bytes() == CONTENT
    assert cached_files("datasets") == [first.path.name]
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
    server.send(packed)
    found = find(url=f"{server.url}/x", member=member, sha256=SHA256)
    assert found.checked
    assert [block.data for block in found.content.blocks()] == [CONTENT.strip()]


@pytest.mark.parametrize(
    ("sent", "complaint", "pinned_by_card"),
    [
        ({"content": b"something else\n"}, f"wrong checksum: expected sha256 {SHA256}, found ", True),
        ({"content": CONTENT[:5], "promised": len(CONTENT)}, "failed", True),
        ({"content": CONTENT[:5], "promised": len(CONTENT)}, "failed", False),
        ({"content": gzip.compress(CONTENT, mtime=0)[:-6]}, "failed (damaged or truncated gzip", True),
        ({"content": gzip.compress(CONTENT, mtime=0)[:-6]}, "failed (damaged or truncated gzip", False),
        ({"content": b"", "status": 404}, "HTTP status 404", True),
        ({"content": CONTENT, "status": 503}, "HTTP status 503", False),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    server, find, cached_files, sent, complaint, pinned_by_card
):
    server.send(**sent)
    with pytest.raises(DataError) as caught:
        find(path="s3rec/x.txt", url=f"{server.url}/x.txt", sha256=SHA256 if pinned_by_card else None)
    message = str(caught.value)
    assert complaint in message
    for part in ("small", f"{server.url}/x.txt", "$BENCH_DATA_DIR/s3rec/x.txt", *([SHA256] if pinned_by_card else [])):
        assert part in message
    assert "\n" not in message
    assert ".part" not in message
    assert cached_files() == []


def test_offline_fails_at_once_and_says_what_to_do(find, cached_files, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(DataError, match="no connection") as caught:
        find(path="x.txt", url=f"http://127.0.0.1:{port}/x.txt")
    assert time.monotonic() - started < 10
    assert "fetch http://127.0.0.1" in str(caught.value)
    assert cached_files() == []


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


def test_a_silent_server_is_given_up(server, find, cached_files, monkeypatch):
    monkeypatch.setattr("bench.data.sources.READ_TIMEOUT_S", 0.2)
    released = threading.Event()
    server.answer = lambda _: released.wait(10) and None
    with pytest.raises(DataError, match="timed out"):
        find(url=f"{server.url}/x.txt")
    released.set()
    assert cached_files() == []


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

    server.send(CONTENT[:7], promised=len(CONTENT), then=stall)
    files = {"interactions": {"url": f"{server.url}/x.txt"}}
    path = card_of(tmp_path, "s3rec", {}, files=files)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)])
    try:
        assert half_sent.wait(60)
    finally:
        process.kill()
        process.wait()
        released.set()
    server.send(CONTENT)
    card = load_card(path)
    found = locate(card, "interactions", card.files.interactions[0])
    assert found is not None
    assert found.path.read_bytes() == CONTENT


def test_processes_side_by_side_download_once(server, card_of, tmp_path):
    released = threading.Event()
    server.send(CONTENT[:7], promised=len(CONTENT), then=lambda: released.wait(60), rest=CONTENT[7:])
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
    server.send(b"", path="/1/x.txt", status=404)
    server.send(gzip.compress(CONTENT, mtime=0), path="/2/y.txt.gz")
    urls = [f"{server.url}/1/x.txt", f"{server.url}/2/y.txt.gz", f"{server.url}/3/x.txt"]
    found = find(url=urls, sha256=SHA256)
    assert found.origin == f"downloaded from {urls[1]}"
    assert server.asked == ["/1/x.txt", "/2/y.txt.gz"]
    # Whichever mirror it came from, it is found again.
    assert find(url=urls, sha256=SHA256).path == found.path
    assert len(server.asked) == 2


def test_what_failed_is_said_of_every_mirror(server, find, cached_files):
    server.send(b"", path="/1", status=404)
    server.send(b"other", path="/2")
    server.send(gzip.compress(CONTENT, mtime=0)[:9], path="/3")
    with pytest.raises(DataError) as caught:
        find(path="x.txt", url=[f"{server.url}/{n}" for n in (1, 2, 3)], sha256=SHA256)
    first, *mirrors, last = str(caught.value).split("\n")
    assert "the interactions file is not on this machine" in first
    assert [line.strip().split(" failed (")[0] for line in mirrors] == [f"{server.url}/{n}" for n in (1, 2, 3)]
    for line, why in zip(mirrors, ("404", f"wrong checksum: expected sha256 {SHA256}", "truncated gzip"), strict=True):
        assert why in line
    assert "put it at $BENCH_DATA_DIR/x.txt" in last
    assert cached_files() == []


def test_roles_with_files_of_one_name_do_not_clash(server, find):
    server.send(b"a\n", path="/a/data.csv")
    server.send(b"b\n", path="/b/data.csv")
    one = find("interactions", url=f"{server.url}/a/data.csv", sha256=sha256(b"a\n"))
    two = find("items", url=f"{server.url}/b/data.csv", sha256=sha256(b"b\n"))
    assert (one.path.read_bytes(), two.path.read_bytes()) == (b"a\n", b"b\n")


def test_roles_share_the_download_of_an_archive(server, find):
    server.send(zipped(a=b"a\n", b=b"b\n"))
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
