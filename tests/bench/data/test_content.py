"""Every way a file may be packed, cut, damaged or meant to do harm ends in its content or in a clear error."""

from __future__ import annotations

import base64
import gzip
import io
import os
import random
import stat
import subprocess
import sys
import tarfile
import time
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
LINES = ["first", "second é", "", "fourth"]
# `printf 'first\nsecond \303\251\n\nfourth\n' | zstd -19 --check`
ZSTD_BY_THE_COMMAND = base64.b64decode("KLUv/QRowQAAZmlyc3QKc2Vjb25kIMOpCgpmb3VydGgKYrr6yw==")

Pack = Callable[[bytes], tuple[bytes, str | None]]


def zstd(raw: bytes) -> bytes:
    return pa.Codec("zstd").compress(raw, asbytes=True)


def in_zip(raw: bytes, name: str = "folder/a.txt", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("before", b"0" * 3000)
        archive.writestr(name, raw)
        archive.writestr("after", b"")
    return target.getvalue()


def in_tar(raw: bytes, name: str = "folder/a.txt", **changes: object) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for member, content in {"before": b"0" * 3000, name: raw, "after": b""}.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            if member == name:
                for key, value in changes.items():
                    setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def halves(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Pack as two members, or frames, one after the other."""
    return lambda raw: pack(raw[: len(raw) // 2]) + pack(raw[len(raw) // 2 :])


SKIPPABLE = b"\x53\x2a\x4d\x18\x03\0\0\0abc"
PACKS: dict[str, Pack] = {
    "plain": lambda raw: (raw, None),
    "gzip": lambda raw: (gzip.compress(raw, 1, mtime=0), None),
    "gzip twice": lambda raw: (halves(gzip.compress)(raw), None),
    "zstd": lambda raw: (zstd(raw), None),
    "zstd frames": lambda raw: (SKIPPABLE + halves(zstd)(raw) + SKIPPABLE, None),
    "zip": lambda raw: (in_zip(raw), "folder/a.txt"),
    "zip stored": lambda raw: (in_zip(raw, method=zipfile.ZIP_STORED), "folder/a.txt"),
    "gzip in zip": lambda raw: (in_zip(gzip.compress(raw)), "./folder/a.txt"),
    "tar": lambda raw: (in_tar(raw), "folder/a.txt"),
    "tar.gz": lambda raw: (gzip.compress(in_tar(raw), 1), "folder/a.txt"),
    "tar.zst": lambda raw: (zstd(in_tar(raw, "./folder/a.txt")), "folder/a.txt"),
    "gzip in tar.gz": lambda raw: (gzip.compress(in_tar(gzip.compress(raw)), 1), "folder//a.txt"),
    "zstd in tar": lambda raw: (in_tar(zstd(raw)), "folder/a.txt"),
}


def write(folder: Path, raw: bytes, pack: str = "plain") -> Content:
    packed, member = PACKS[pack](raw)
    path = folder / "file"
    path.write_bytes(packed)
    return Content(path, member)


def rows_of(content: Content, **options: object) -> dict[int, str]:
    """Row -> line, checking that blocks hold what they promise."""
    rows: dict[int, str] = {}
    for block in content.blocks(**options):  # type: ignore[arg-type]
        lines = block.lines()
        assert block.data == "\n".join(lines).encode()
        assert lines[-1], "blocks end with a line that is not empty"
        rows.update(enumerate(lines, start=block.first_row))
    return rows


def raw_of(content: Content) -> bytes:
    with content.open() as stream:
        return stream.read()


def refusal(content: Content, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        rows_of(content, **options)
    message = str(caught.value)
    assert message.startswith(str(content.path)), message
    assert "\n" not in message
    return message


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
def test_lines_and_their_rows_survive_any_packing(tmp_path, pack, lines, size, end, mark, ended):
    raw = (end.join(lines) + (end if ended else "")).encode("utf-8-sig" if mark else "utf-8")
    content = write(tmp_path, raw, pack)
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
def test_bytes_survive_any_packing(tmp_path, pack, raw):
    # Content that is compressed itself would be decompressed, or be damaged.
    content = write(tmp_path, b"-" + raw, pack)
    assert raw_of(content) == b"-" + raw
    with content.open() as stream:
        assert stream.read(1) + stream.read(7) == (b"-" + raw)[:8]
    assert content.sha256() == Content(write(tmp_path, b"-" + raw).path).sha256()


def test_zstd_of_the_command_is_read(tmp_path):
    (tmp_path / "x").write_bytes(ZSTD_BY_THE_COMMAND)
    assert raw_of(Content(tmp_path / "x")) == TEXT


def test_the_name_of_a_file_says_nothing(tmp_path):
    (tmp_path / "x.gz").write_bytes(TEXT)
    assert rows_of(Content(tmp_path / "x.gz")) == dict(enumerate(LINES, start=1))


def test_gzip_in_gzip_is_content(tmp_path):
    content = write(tmp_path, gzip.compress(TEXT), "gzip")
    assert raw_of(content) == gzip.compress(TEXT)
    assert "compressed, or was so twice" in refusal(content)


def test_a_plain_file_can_be_sought_in(tmp_path):
    with write(tmp_path, TEXT).open() as stream:
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == b"fourth\n"
        assert stream.seek(0) == 0
        assert stream.read(5) == b"first"


@given(lines=lines_of_text, size=st.integers(1, 30))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_latin_1_comes_out_as_utf_8(tmp_path, lines, size):
    lines = ["ÿ", *("".join(chr(1 + ord(letter) % 255) for letter in line) for line in lines), "é"]
    lines = [line.translate({10: "n", 13: "r"}) for line in lines]
    content = write(tmp_path, "\r\n".join(lines).encode("latin-1"))
    assert rows_of(content, size=size, encoding="latin-1") == dict(enumerate(lines, start=1))


def test_a_carriage_return_within_a_line_stays(tmp_path):
    assert rows_of(write(tmp_path, b"a\rb\nc\r\n\rd\n")) == {1: "a\rb", 2: "c", 3: "\rd"}


def test_many_empty_lines_come_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLANK_LINES", 1000)
    blocks = list(write(tmp_path, b"\n" * 2500 + b"x" + b"\n" * 9000).blocks(size=300))
    assert [(block.first_row, len(block.lines())) for block in blocks] == [(1, 1000), (1001, 1000), (2001, 501)]
    assert blocks[-1].lines()[-1] == "x"


# Text that is none


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n\r\n", b"\r", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"])
@pytest.mark.parametrize("pack", ["plain", "gzip", "zstd", "zip", "tar.gz"])
def test_nothing_but_empty_lines_is_an_empty_file(tmp_path, raw, pack):
    content = write(tmp_path, raw, pack)
    assert refusal(content) == f"{content}: the file is empty"


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        *[(name, name.upper()[:6]) for name in ("utf-16", "utf-32")],
        *[
            (name, name.upper()[:6] + name.upper()[-2:])
            for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
        ],
    ],
)
@pytest.mark.parametrize("text", ["user,item\n1,2\n", "Ünïcödé\n" * 900, "Привет, user\nmir\n"])
@pytest.mark.parametrize("read_as", ["utf-8", "latin-1"])
def test_wide_encodings_are_named_with_the_remedy(tmp_path, encoding, named, text, read_as):
    message = refusal(write(tmp_path, text.encode(encoding), "gzip"), encoding=read_as)
    assert f"the text is {named}: convert it with `iconv -f {named} -t UTF-8`" in message
    assert "row 1: " in message


def test_utf_16_of_the_other_order_is_named(tmp_path):
    message = refusal(write(tmp_path, b"\xfe\xff" + "чёрт\n".encode("utf-16-be")))
    assert "row 1: byte 0xfe is not UTF-8: the text is UTF-16:" in message


@pytest.mark.parametrize("size", [1, 4, 7, 8 << 20])
def test_a_byte_that_is_not_utf_8_is_named_with_its_row(tmp_path, size):
    content = write(tmp_path, b"\xef\xbb\xbfa\r\n\r\nb \xc3\xa9 caf\xe9\r\n\r\n")
    assert refusal(content, size=size) == (
        f"{content}, row 3: byte 0xe9 is not UTF-8: if the file is Latin-1, say `reading: {{encoding: latin-1}}` "
        "in the card"
    )


@pytest.mark.parametrize("bad", [b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\x80"])
def test_what_only_looks_like_utf_8_is_refused(tmp_path, bad):
    assert f"row 2: byte {bad[0]:#04x} is not UTF-8" in refusal(write(tmp_path, b"a\n" + bad + b"\nb\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_nul_byte_is_refused_with_its_row(tmp_path, encoding):
    message = refusal(write(tmp_path, b"ab\nc\xc3\xa9\nd\0e\n"), encoding=encoding)
    assert message.endswith("row 3: a NUL byte: the file is damaged, or not text")


def test_utf_8_that_is_called_latin_1_is_refused(tmp_path):
    assert "marked as UTF-8" in refusal(write(tmp_path, b"\xef\xbb\xbfa\n"), encoding="latin-1")


@pytest.mark.parametrize("raw", [in_zip(TEXT), in_tar(TEXT)])
@pytest.mark.parametrize("pack", ["plain", "gzip"])
def test_an_archive_in_the_place_of_a_text_is_told(tmp_path, raw, pack):
    assert "an archive: name the file inside it as `member` in the card" in refusal(write(tmp_path, raw, pack))


# Long lines and bombs


def test_a_line_of_ten_megabytes_is_read(tmp_path):
    content = write(tmp_path, b"a\n" + b"x" * 10_000_000 + b"\nb\n", "gzip")
    started = time.monotonic()
    rows = rows_of(content, size=1 << 12)
    assert {row: len(line) for row, line in rows.items()} == {1: 1, 2: 10_000_000, 3: 1}
    # Adding 2,400 pieces up one by one would copy 12 GB.
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("size", [1, 99, 100, 8 << 20])
def test_a_line_beyond_the_limit_is_refused_wherever_it_stands(tmp_path, monkeypatch, size):
    monkeypatch.setattr(module, "LINE_LIMIT", 100)
    fits = b"a\n" + b"x" * 100 + b"\n" + b"y" * 100
    assert len(rows_of(write(tmp_path, fits + b"\nz"), size=size)) == 4
    for end in (b"", b"\n", b"\nmore\n"):
        message = refusal(write(tmp_path, fits + b"y" + end), size=size)
        assert message.endswith("row 3: the line is longer than 100 bytes")


def test_lines_of_an_old_mac_beyond_the_limit_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LINE_LIMIT", 100)
    assert r"do lines end in CR alone? tr '\r' '\n'" in refusal(write(tmp_path, b"abc\r" * 30))


@pytest.mark.parametrize("pack", [pack for pack in PACKS if pack not in ("plain", "zip stored", "tar", "gzip twice")])
def test_a_bomb_is_refused_while_it_is_read(tmp_path, monkeypatch, pack):
    content = write(tmp_path, b"a line\n" * 30_000, pack)
    assert len(rows_of(content)) == 30_000
    monkeypatch.setattr(module, "EXPANSION_LIMIT", 2)
    assert len(rows_of(content)) == 30_000
    monkeypatch.setattr(module, "EXPANSION_FREE", 100_000)
    assert "refused as a decompression bomb" in refusal(content)
    with pytest.raises(DataError, match="refused as a decompression bomb"):
        content.sha256()


def test_a_bomb_beside_the_member_is_refused_too(tmp_path, monkeypatch):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, size in {"zeros": 300_000, "a": 1}.items():
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(b"a" * size))
    (tmp_path / "x").write_bytes(target.getvalue())
    assert rows_of(Content(tmp_path / "x", "a")) == {1: "a"}
    monkeypatch.setattr(module, "EXPANSION_FREE", 100_000)
    monkeypatch.setattr(module, "EXPANSION_LIMIT", 2)
    assert "refused as a decompression bomb" in refusal(Content(tmp_path / "x", "a"))


def test_a_header_that_claims_gigabytes_takes_none(tmp_path):
    claims = tarfile.TarInfo("././@LongLink")
    claims.type, claims.size = tarfile.GNUTYPE_LONGNAME, 7 << 30
    (tmp_path / "x").write_bytes(gzip.compress(claims.tobuf() + b"a" * 3_000_000))
    assert "own list of members is too long" in refusal(Content(tmp_path / "x", "a"))


def test_a_list_of_members_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for n in range(200):
            archive.writestr(f"{n}", b"x")
    (tmp_path / "x").write_bytes(target.getvalue())
    assert rows_of(Content(tmp_path / "x", "7")) == {1: "x"}
    monkeypatch.setattr(module, "DIRECTORY_LIMIT", 5000)
    assert "own list of members is too long" in refusal(Content(tmp_path / "x", "7"))


# Members of archives


@pytest.mark.parametrize("member", ["/etc/passwd", "../a.txt", "folder/../a.txt", "..", "a\\..\\b", "C:\\a", "\\a"])
@pytest.mark.parametrize("archive", [in_zip, in_tar])
def test_a_path_out_of_the_archive_is_refused(tmp_path, member, archive):
    (tmp_path / "x").write_bytes(archive(TEXT, member))
    assert "refused: the path of a member is relative and stays inside" in refusal(Content(tmp_path / "x", member))


@pytest.mark.parametrize("archive", [in_zip, in_tar])
def test_an_absolute_path_inside_is_not_taken_for_a_relative_one(tmp_path, archive):
    (tmp_path / "x").write_bytes(archive(TEXT, "/folder/a.txt"))
    assert "holds no member 'folder/a.txt'; nearest: /folder/a.txt" in refusal(Content(tmp_path / "x", "folder/a.txt"))


@pytest.mark.parametrize("pack", ["zip", "tar", "tar.gz", "tar.zst"])
def test_a_missing_member_is_told_with_the_nearest(tmp_path, pack):
    path = write(tmp_path, TEXT, pack).path
    assert "file: holds no member 'a.txt'; nearest: " in refusal(Content(path, "a.txt"))
    assert "folder/a.txt" in refusal(Content(path, "a.txt"))
    assert "nearest: before" in refusal(Content(path, "befor"))


def test_an_archive_of_nothing_is_told(tmp_path):
    target = io.BytesIO()
    zipfile.ZipFile(target, "w").close()
    for raw in (target.getvalue(), bytes(10240)):
        (tmp_path / "x").write_bytes(raw)
        assert "holds no member 'a'; it holds nothing" in refusal(Content(tmp_path / "x", "a"))


def test_no_archive_at_all_is_told(tmp_path):
    for raw in (TEXT, b"", TEXT * 100, gzip.compress(TEXT * 100)):
        (tmp_path / "x").write_bytes(raw)
        assert "neither a zip nor a tar archive" in refusal(Content(tmp_path / "x", "a"))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "before"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.DIRTYPE},
    ],
)
def test_links_devices_and_folders_in_tar_are_refused(tmp_path, changes):
    (tmp_path / "x").write_bytes(in_tar(b"", **changes))
    assert "refused: the member is a folder, link, device" in refusal(Content(tmp_path / "x", "folder/a.txt"))


def test_links_folders_and_twins_in_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder/", b"")
        archive.writestr("a", b"1")
        archive.writestr("./a", b"2")
    assert "the member is a folder or a link" in refusal(Content(tmp_path / "x", "link"))
    assert "the member is a folder or a link" in refusal(Content(tmp_path / "x", "folder"))
    assert "the archive holds 2 members of this name" in refusal(Content(tmp_path / "x", "a"))


def test_an_encrypted_member_is_refused(tmp_path):
    raw = bytearray(in_zip(TEXT))
    # The flag stands in the local header and in the list at the end.
    name = b"folder/a.txt"
    local, listed = raw.index(name) - 30, raw.rindex(name) - 46
    raw[local + 6] |= 1
    raw[listed + 8] |= 1
    (tmp_path / "x").write_bytes(raw)
    assert "the member is encrypted: decrypt the archive first" in refusal(Content(tmp_path / "x", "folder/a.txt"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound_are_refused(tmp_path, method):
    (tmp_path / "x").write_bytes(in_zip(TEXT, method=method))
    assert "not by deflate: pack the archive anew" in refusal(Content(tmp_path / "x", "folder/a.txt"))


# Damage

NOISE = random.Random(0).randbytes(400).hex().encode()


@pytest.mark.parametrize("pack", [pack for pack in PACKS if pack != "plain"])
def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path, pack):
    raw = b"\n".join(NOISE[at : at + 40] for at in range(0, len(NOISE), 40))
    content = write(tmp_path, raw, pack)
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


def test_the_end_of_a_compressed_archive_counts(tmp_path):
    # Its checksum stands there.
    packed = gzip.compress(in_tar(TEXT))
    (tmp_path / "x").write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    with pytest.raises(DataError, match=r"damaged or truncated gzip \(CRC check failed"):
        raw_of(Content(tmp_path / "x", "folder/a.txt"))


@pytest.mark.parametrize("pack", ["gzip", "zstd", "zip", "tar", "tar.gz"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_a_data_error_or_harmless(tmp_path, pack, data):
    content = write(tmp_path, NOISE, pack)
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
def test_noise_is_a_data_error_or_text(tmp_path, raw, member, magic):
    (tmp_path / "x").write_bytes(magic + raw)
    _, message = attempt(lambda: rows_of(Content(tmp_path / "x", member)))
    assert message is None or message.startswith(str(tmp_path / "x"))


def test_a_damaged_header_in_tar_is_not_taken_for_the_end(tmp_path):
    raw = bytearray(in_tar(TEXT))
    raw[raw.index(b"folder/a.txt")] ^= 1
    (tmp_path / "x").write_bytes(raw)
    assert "damaged or truncated tar" in refusal(Content(tmp_path / "x", "after"))


def test_what_cannot_be_read_is_a_data_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "nothing", "pipe", "x" * 300, "a\0b"):
        with pytest.raises(DataError, match="cannot be read: "):
            raw_of(Content(tmp_path / name))


def test_an_error_of_the_caller_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="of the caller"), write(tmp_path, TEXT, "gzip").open():
        raise OSError("of the caller")


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
