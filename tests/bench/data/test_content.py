"""Text out of a file: lines and their rows, encodings, what is no text, lines beyond the limit."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data import content as module
from bench.data.content import Content
from bench.errors import DataError

TEXT = b"first\nsecond \xc3\xa9\n\nfourth\n"
LINES = ["first", "second é", "", "fourth"]


def write(folder: Path, raw: bytes) -> Content:
    path = folder / "file"
    path.write_bytes(raw)
    return Content(path)


def test_the_name_of_a_file_says_nothing(tmp_path, rows_of):
    (tmp_path / "x.gz").write_bytes(TEXT)
    assert rows_of(Content(tmp_path / "x.gz")) == dict(enumerate(LINES, start=1))


def test_a_plain_file_can_be_sought_in(tmp_path):
    with write(tmp_path, TEXT).open() as stream:
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == b"fourth\n"
        assert stream.seek(0) == 0
        assert stream.read(5) == b"first"


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"])), max_size=12),
    size=st.integers(1, 30),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_latin_1_comes_out_as_utf_8(tmp_path, rows_of, lines, size):
    lines = ["ÿ", *("".join(chr(1 + ord(letter) % 255) for letter in line) for line in lines), "é"]
    lines = [line.translate({10: "n", 13: "r"}) for line in lines]
    content = write(tmp_path, "\r\n".join(lines).encode("latin-1"))
    assert rows_of(content, size=size, encoding="latin-1") == dict(enumerate(lines, start=1))


def test_a_carriage_return_within_a_line_stays(tmp_path, rows_of):
    assert rows_of(write(tmp_path, b"a\rb\nc\r\n\rd\n")) == {1: "a\rb", 2: "c", 3: "\rd"}


def test_many_empty_lines_come_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLANK_LINES", 1000)
    blocks = list(write(tmp_path, b"\n" * 2500 + b"x" + b"\n" * 9000).blocks(size=300))
    assert [(block.first_row, len(block.lines())) for block in blocks] == [(1, 1000), (1001, 1000), (2001, 501)]
    assert blocks[-1].lines()[-1] == "x"


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
def test_wide_encodings_are_named_with_the_remedy(tmp_path, refusal, encoding, named, text, read_as):
    message = refusal(write(tmp_path, gzip.compress(text.encode(encoding))), encoding=read_as)
    assert f"the text is {named}: convert it with `iconv -f {named} -t UTF-8`" in message
    assert "row 1: " in message


def test_utf_16_of_the_other_order_is_named(tmp_path, refusal):
    message = refusal(write(tmp_path, b"\xfe\xff" + "чёрт\n".encode("utf-16-be")))
    assert "row 1: byte 0xfe is not UTF-8: the text is UTF-16:" in message


@pytest.mark.parametrize("size", [1, 4, 7, 8 << 20])
def test_a_byte_that_is_not_utf_8_is_named_with_its_row(tmp_path, refusal, size):
    content = write(tmp_path, b"\xef\xbb\xbfa\r\n\r\nb \xc3\xa9 caf\xe9\r\n\r\n")
    assert refusal(content, size=size) == (
        f"{content}, row 3: byte 0xe9 is not UTF-8: if the file is Latin-1, say `reading: {{encoding: latin-1}}` "
        "in the card"
    )


@pytest.mark.parametrize("bad", [b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\x80"])
def test_what_only_looks_like_utf_8_is_refused(tmp_path, refusal, bad):
    assert f"row 2: byte {bad[0]:#04x} is not UTF-8" in refusal(write(tmp_path, b"a\n" + bad + b"\nb\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_nul_byte_is_refused_with_its_row(tmp_path, refusal, encoding):
    message = refusal(write(tmp_path, b"ab\nc\xc3\xa9\nd\0e\n"), encoding=encoding)
    assert message.endswith("row 3: a NUL byte: the file is damaged, or not text")


def test_utf_8_that_is_called_latin_1_is_refused(tmp_path, refusal):
    assert "marked as UTF-8" in refusal(write(tmp_path, b"\xef\xbb\xbfa\n"), encoding="latin-1")


def test_a_line_of_ten_megabytes_is_read(tmp_path, rows_of):
    content = write(tmp_path, gzip.compress(b"a\n" + b"x" * 10_000_000 + b"\nb\n"))
    started = time.monotonic()
    rows = rows_of(content, size=1 << 12)
    assert {row: len(line) for row, line in rows.items()} == {1: 1, 2: 10_000_000, 3: 1}
    # Adding 2,400 pieces up one by one would copy 12 GB.
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("size", [1, 99, 100, 8 << 20])
def test_a_line_beyond_the_limit_is_refused_wherever_it_stands(tmp_path, rows_of, refusal, monkeypatch, size):
    monkeypatch.setattr(module, "LINE_LIMIT", 100)
    fits = b"a\n" + b"x" * 100 + b"\n" + b"y" * 100
    assert len(rows_of(write(tmp_path, fits + b"\nz"), size=size)) == 4
    for end in (b"", b"\n", b"\nmore\n"):
        message = refusal(write(tmp_path, fits + b"y" + end), size=size)
        assert message.endswith("row 3: the line is longer than 100 bytes")


def test_lines_of_an_old_mac_beyond_the_limit_are_told(tmp_path, refusal, monkeypatch):
    monkeypatch.setattr(module, "LINE_LIMIT", 100)
    assert r"do lines end in CR alone? tr '\r' '\n'" in refusal(write(tmp_path, b"abc\r" * 30))


def test_what_cannot_be_read_is_a_data_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "nothing", "pipe", "x" * 300, "a\0b"):
        with pytest.raises(DataError, match="cannot be read: "), Content(tmp_path / name).open() as stream:
            stream.read()


def test_an_error_of_the_caller_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="of the caller"), write(tmp_path, gzip.compress(TEXT)).open():
        raise OSError("of the caller")
