"""Members of zip and tar archives: what is found, and what is refused as missing, harmful or damaged."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from bench.data import content as module
from bench.data.content import Content
from bench.errors import DataError

TEXT = b"first\nsecond \xc3\xa9\n\nfourth\n"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_an_archive_in_the_place_of_a_text_is_told(tmp_path, archived, refusal, kind, compress):
    (tmp_path / "x").write_bytes(compress(archived(kind, TEXT)))
    assert "an archive: name the file inside it as `member` in the card" in refusal(Content(tmp_path / "x"))


@pytest.mark.parametrize("member", ["/etc/passwd", "../a.txt", "folder/../a.txt", "..", "a\\..\\b", "C:\\a", "\\a"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_out_of_the_archive_is_refused(tmp_path, archived, refusal, member, kind):
    (tmp_path / "x").write_bytes(archived(kind, TEXT, member))
    assert "refused: the path of a member is relative and stays inside" in refusal(Content(tmp_path / "x", member))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_absolute_path_inside_is_not_taken_for_a_relative_one(tmp_path, archived, refusal, kind):
    (tmp_path / "x").write_bytes(archived(kind, TEXT, "/folder/a.txt"))
    assert "holds no member 'folder/a.txt'; nearest: /folder/a.txt" in refusal(Content(tmp_path / "x", "folder/a.txt"))


def test_an_archive_of_nothing_is_told(tmp_path, refusal):
    target = io.BytesIO()
    zipfile.ZipFile(target, "w").close()
    for raw in (target.getvalue(), bytes(10240)):
        (tmp_path / "x").write_bytes(raw)
        assert "holds no member 'a'; it holds nothing" in refusal(Content(tmp_path / "x", "a"))


def test_no_archive_at_all_is_told(tmp_path, refusal):
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
def test_links_devices_and_folders_in_tar_are_refused(tmp_path, archived, refusal, changes):
    (tmp_path / "x").write_bytes(archived("tar", b"", **changes))
    assert "refused: the member is a folder, link, device" in refusal(Content(tmp_path / "x", "folder/a.txt"))


def test_links_folders_and_twins_in_zip_are_refused(tmp_path, refusal):
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


def test_an_encrypted_member_is_refused(tmp_path, archived, refusal):
    raw = bytearray(archived("zip", TEXT))
    # The flag stands in the local header and in the list at the end.
    name = b"folder/a.txt"
    local, listed = raw.index(name) - 30, raw.rindex(name) - 46
    raw[local + 6] |= 1
    raw[listed + 8] |= 1
    (tmp_path / "x").write_bytes(raw)
    assert "the member is encrypted: decrypt the archive first" in refusal(Content(tmp_path / "x", "folder/a.txt"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound_are_refused(tmp_path, archived, refusal, method):
    (tmp_path / "x").write_bytes(archived("zip", TEXT, method=method))
    assert "not by deflate: pack the archive anew" in refusal(Content(tmp_path / "x", "folder/a.txt"))


def test_a_bomb_beside_the_member_is_refused_too(tmp_path, rows_of, refusal, monkeypatch):
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


def test_a_header_that_claims_gigabytes_takes_none(tmp_path, refusal):
    claims = tarfile.TarInfo("././@LongLink")
    claims.type, claims.size = tarfile.GNUTYPE_LONGNAME, 7 << 30
    (tmp_path / "x").write_bytes(gzip.compress(claims.tobuf() + b"a" * 3_000_000))
    assert "own list of members is too long" in refusal(Content(tmp_path / "x", "a"))


def test_a_list_of_members_beyond_the_limit_is_refused(tmp_path, rows_of, refusal, monkeypatch):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for n in range(200):
            archive.writestr(f"{n}", b"x")
    (tmp_path / "x").write_bytes(target.getvalue())
    assert rows_of(Content(tmp_path / "x", "7")) == {1: "x"}
    monkeypatch.setattr(module, "DIRECTORY_LIMIT", 5000)
    assert "own list of members is too long" in refusal(Content(tmp_path / "x", "7"))


def test_the_end_of_a_compressed_archive_counts(tmp_path, archived):
    # Its checksum stands there.
    packed = gzip.compress(archived("tar", TEXT))
    (tmp_path / "x").write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    content = Content(tmp_path / "x", "folder/a.txt")
    with pytest.raises(DataError, match=r"damaged or truncated gzip \(CRC check failed"), content.open() as stream:
        stream.read()


def test_a_damaged_header_in_tar_is_not_taken_for_the_end(tmp_path, archived, refusal):
    raw = bytearray(archived("tar", TEXT))
    raw[raw.index(b"folder/a.txt")] ^= 1
    (tmp_path / "x").write_bytes(raw)
    assert "damaged or truncated tar" in refusal(Content(tmp_path / "x", "after"))
