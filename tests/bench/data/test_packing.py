"""However a file is packed, its content comes out; cut, damaged or blown up, it ends in a clear error."""

from __future__ import annotations

import base64
import gzip
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.data import content as module
from bench.data.content import Content
from bench.errors import DataError

TEXT = b"first\nsecond \xc3\xa9\n\nfourth\n"
# `printf 'first\nsecond \303\251\n\nfourth\n' | zstd -19 --check`
ZSTD_BY_THE_COMMAND = base64.b64decode("KLUv/QRowQAAZmlyc3QKc2Vjb25kIMOpCgpmb3VydGgKYrr6yw==")

Archived = Callable[..., bytes]


def zstd(raw: bytes) -> bytes:
    return pa.Codec("zstd").compress(raw, asbytes=True)


def halves(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Pack as two members, or frames, one after the other."""
    return lambda raw: pack(raw[: len(raw) // 2]) + pack(raw[len(raw) // 2 :])


SKIPPABLE = b"\x53\x2a\x4d\x18\x03\0\0\0abc"
PACKS: dict[str, Callable[[bytes, Archived], tuple[bytes, str | None]]] = {
    "plain": lambda raw, _: (raw, None),
    "gzip": lambda raw, _: (gzip.compress(raw, 1, mtime=0), None),
    "gzip twice": lambda raw, _: (halves(gzip.compress)(raw), None),
    "zstd": lambda raw, _: (zstd(raw), None),
    "zstd frames": lambda raw, _: (SKIPPABLE + halves(zstd)(raw) + SKIPPABLE, None),
    "zip": lambda raw, archived: (archived("zip", raw), "folder/a.txt"),
    "zip stored": lambda raw, archived: (archived("zip", raw, method=zipfile.ZIP_STORED), "folder/a.txt"),
    "gzip in zip": lambda raw, archived: (archived("zip", gzip.compress(raw)), "./folder/a.txt"),
    "tar": lambda raw, archived: (archived("tar", raw), "folder/a.txt"),
    "tar.gz": lambda raw, archived: (gzip.compress(archived("tar", raw), 1), "folder/a.txt"),
    "tar.zst": lambda raw, archived: (zstd(archived("tar", raw, "./folder/a.txt")), "folder/a.txt"),
    "gzip in tar.gz": lambda raw, archived: (gzip.compress(archived("tar", gzip.compress(raw)), 1), "folder//a.txt"),
    "zstd in tar": lambda raw, archived: (archived("tar", zstd(raw)), "folder/a.txt"),
}


@pytest.fixture
def packed(tmp_path: Path, archived: Archived) -> Callable[[bytes, str], Content]:
    """Write a content, packed in the way that is named."""

    def write(raw: bytes, pack: str) -> Content:
        content, member = PACKS[pack](raw, archived)
        path = tmp_path / "file"
        path.write_bytes(content)
        return Content(path, member)

    return write


def raw_of(content: Content) -> bytes:
    with content.open() as stream:
        return stream.read()


def attempt(read: Callable[[], object]) -> tuple[object, str | None]:
    """What was read, or what the DataError said; any other exception is a failure."""
    try:
        return read(), None
    except DataError as error:
        return None, str(error)


# Round trips

lines_of_text = st.lists(st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"])), max_size=12)


@pytest.mark.parametrize("pack", PACKS)
@given(
    lines=lines_of_text,
    size=st.integers(1, 40) | st.just(8 << 20),
    end=st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]),
    mark=st.booleans(),
    ended=st.booleans(),
)
@example(lines=["", "", "a"], size=1, end="\r\n", mark=True, ended=False)
@example(lines=["a", "", "", "b", "", ""], size=2, end="\n", mark=False, ended=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_and_their_rows_survive_any_packing(packed, rows_of, refusal, pack, lines, size, end, mark, ended):
    raw = (end.join(lines) + (end if ended else "")).encode("utf-8-sig" if mark else "utf-8")
    content = packed(raw, pack)
    while lines and not lines[-1]:
        lines.pop()
    if lines and lines[0].startswith("\ufeff") and not mark:
        lines[0] = lines[0][1:]
    if not any(lines):
        assert "the file is empty" in refusal(content, size=size)
    else:
        assert list(rows_of(content, size=size).items()) == list(enumerate(lines, start=1))


@pytest.mark.parametrize("pack", PACKS)
@given(raw=st.binary(max_size=300))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_survive_any_packing(packed, pack, raw):
    # Content that is compressed itself would be decompressed, or be damaged.
    content = packed(b"-" + raw, pack)
    assert raw_of(content) == b"-" + raw
    with content.open() as stream:
        assert stream.read(1) + stream.read(7) == (b"-" + raw)[:8]
    assert content.sha256() == packed(b"-" + raw, "plain").sha256()


def test_zstd_of_the_command_is_read(tmp_path):
    (tmp_path / "x").write_bytes(ZSTD_BY_THE_COMMAND)
    assert raw_of(Content(tmp_path / "x")) == TEXT


def test_gzip_in_gzip_is_content(packed, refusal):
    content = packed(gzip.compress(TEXT), "gzip")
    assert raw_of(content) == gzip.compress(TEXT)
    assert "compressed, or was so twice" in refusal(content)


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n\r\n", b"\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"])
@pytest.mark.parametrize("pack", ["plain", "gzip", "zstd", "zip", "tar.gz"])
def test_nothing_but_empty_lines_is_an_empty_file(packed, refusal, raw, pack):
    content = packed(raw, pack)
    assert refusal(content) == f"{content}: the file is empty"


@pytest.mark.parametrize("pack", ["zip", "tar", "tar.gz", "tar.zst"])
def test_a_missing_member_is_told_with_the_nearest(packed, refusal, pack):
    path = packed(TEXT, pack).path
    assert "file: holds no member 'a.txt'; nearest: " in refusal(Content(path, "a.txt"))
    assert "folder/a.txt" in refusal(Content(path, "a.txt"))
    assert "nearest: before" in refusal(Content(path, "befor"))


# Bombs


@pytest.mark.parametrize("pack", [pack for pack in PACKS if pack not in ("plain", "zip stored", "tar", "gzip twice")])
def test_a_bomb_is_refused_while_it_is_read(packed, rows_of, refusal, monkeypatch, pack):
    content = packed(b"a line\n" * 30_000, pack)
    assert len(rows_of(content)) == 30_000
    monkeypatch.setattr(module, "EXPANSION_LIMIT", 2)
    assert len(rows_of(content)) == 30_000
    monkeypatch.setattr(module, "EXPANSION_FREE", 100_000)
    assert "refused as a decompression bomb" in refusal(content)
    with pytest.raises(DataError, match="refused as a decompression bomb"):
        content.sha256()


# Damage

NOISE = random.Random(0).randbytes(400).hex().encode()


@pytest.mark.parametrize("pack", [pack for pack in PACKS if pack != "plain"])
def test_a_truncated_file_is_never_taken_for_a_whole_one(packed, pack):
    raw = b"\n".join(NOISE[at : at + 40] for at in range(0, len(NOISE), 40))
    content = packed(raw, pack)
    whole = content.path.read_bytes()
    # Nothing tells that a second half is missing altogether, nor that the end of a tar archive is.
    allowed = (
        {raw, raw[: len(raw) // 2]} if pack in ("gzip twice", "zstd frames") else {raw} if "tar" in pack else set()
    )
    refused = 0
    # One to three bytes carry no sign yet of being compressed.
    for cut in sorted({*range(4, len(whole), max(1, len(whole) // 150)), len(whole) - 1}):
        content.path.write_bytes(whole[:cut])
        read, message = attempt(lambda: raw_of(content))
        assert read in allowed if message is None else "damaged" in message or "holds no member" in message, cut
        refused += message is not None
    assert refused > 30


@pytest.mark.parametrize("pack", ["gzip", "zstd", "zip", "tar", "tar.gz"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_a_data_error_or_harmless(packed, pack, data):
    content = packed(NOISE, pack)
    raw = bytearray(content.path.read_bytes())
    # A changed magic number would make plain content of a compressed one.
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    content.path.write_bytes(raw)
    read, message = attempt(lambda: raw_of(content))
    assert message is None or message.startswith(str(content.path))
    # Neither tar nor zstd as it is written here has a checksum over the content.
    assert message or read == NOISE or pack in ("tar", "zstd")


@given(
    raw=st.binary(max_size=700),
    member=st.sampled_from([None, "a"]),
    magic=st.sampled_from([b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06", SKIPPABLE[:4]]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_a_data_error_or_text(tmp_path, rows_of, raw, member, magic):
    (tmp_path / "x").write_bytes(magic + raw)
    _, message = attempt(lambda: rows_of(Content(tmp_path / "x", member)))
    assert message is None or message.startswith(str(tmp_path / "x"))


# Memory

MEASURE = """
import resource, sys
from pathlib import Path
from bench.data.content import Content
content = Content(Path(sys.argv[1]), sys.argv[2] or None)
next(content.blocks(size=1 << 20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = size = 0
for block in content.blocks(size=1 << 20):
    rows += block.data.count(b"\\n") + 1
    size += len(block.data) + 1
print(rows, size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("pack", ["gzip", "tar.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path, pack):
    lines, times = b"".join(b"%09d,%09d,5.0,1400000000\n" % (n, n * 7919 % 10**9) for n in range(1 << 15)), 180
    content = Content(tmp_path / "x", None if pack == "gzip" else "a")
    if pack == "gzip":
        content.path.write_bytes(gzip.compress(lines, 1) * times)
    else:
        info = tarfile.TarInfo("a")
        info.size = len(lines) * times
        header, padding = info.tobuf(), bytes(-info.size % 512 + 1024)
        content.path.write_bytes(zstd(header) + zstd(lines) * times + zstd(padding))
    command = [sys.executable, "-c", MEASURE, str(content.path), content.member or ""]
    rows, size, grown_kib = map(int, subprocess.check_output(command, text=True).split())
    assert (rows, size) == (times << 15, len(lines) * times)
    assert size > 200_000_000
    assert grown_kib < 24 << 10
