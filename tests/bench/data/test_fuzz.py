"""Bad input by name, and files with random damage: a clear error or a correct read, and no row lost silently."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers import reader_named
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError

NAMES = {"user": "u", "item": "i", "rating": "r", "time": "t"}
GOOD = [("a", "b", 1.0, 10)]


def read(
    reader: str, content: Content, columns: dict[str, str], *, items=False, drop=False, **reading
) -> tuple[pl.DataFrame, Rows]:
    rows = Rows(content, drop=drop)
    module = reader_named(reader)
    function = module.read_items if items else module.read_interactions
    batches = list(function(content, Ask(columns, Reading(**reading)), rows))
    assert rows.read == sum(batch.height for batch in batches) + sum(rows.dropped.values())
    assert drop or not rows.dropped
    return pl.concat(batches), rows


@dataclass(frozen=True)
class Case:
    """A file, and either the rows it holds or the complaint about it."""

    raw: bytes | Callable[[], bytes]
    rows: list[tuple] | None = None
    said: str = ""
    """Part of the message, with the row where there is one."""
    reader: str = "table"
    member: str | None = None
    columns: dict[str, str] = field(default_factory=lambda: dict(NAMES))
    items: bool = False
    reading: dict[str, str] = field(default_factory=dict)


def csv_of(*lines: str, header: str = "u,i,r,t", encoding: str = "utf-8") -> bytes:
    return "\n".join([header, *lines]).encode(encoding)


def zipped(name: str, raw: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, raw)
    return sink.getvalue()


def parquet_of(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"u": ["a"], "i": ["b"], "r": [1.0], "t": [10], **columns}), sink)
    return sink.getvalue()


def table(raw: bytes | Callable[[], bytes], **changes) -> Case:
    return Case(raw, **changes)


def atomic(*lines: str, header: str = "u:token\ti:token\tr:float\tt:float", **changes) -> Case:
    return Case(csv_of(*lines, header=header), reader="recbole-atomic", **changes)


def sequences(raw: bytes, **changes) -> Case:
    return Case(raw, reader="s3rec", columns={}, **changes)


def movielens(raw: bytes, **changes) -> Case:
    return Case(raw, reader="movielens", columns={}, **changes)


CASES = {
    # Encodings
    "byte order mark": table(b"\xef\xbb\xbf" + csv_of("a,b,1,10"), rows=GOOD),
    "UTF-16 with its mark": table(csv_of("a,b,1,10", encoding="utf-16"), said="row 1: byte 0xff is not UTF-8"),
    "UTF-16 without a mark": table(csv_of("a,b,1,10", encoding="utf-16-le"), said="row 1: a NUL byte"),
    "latin-1 taken for UTF-8": table(csv_of("a,b,1,10", "é,b,1,10", encoding="latin-1"), said="row 3: byte 0xe9"),
    "latin-1 that the card declares": table(
        csv_of("é,b,1,10", encoding="latin-1"), rows=[("é", "b", 1.0, 10)], reading={"encoding": "latin-1"}
    ),
    "half a character at the end": table(csv_of("a,b,1,10") + "\né".encode()[:-1], said="row 3: byte 0xc3"),
    "an overlong encoding": table(csv_of() + b"\n\xc0\xaf,b,1,10", said="row 2: byte 0xc0"),
    "a NUL byte": table(csv_of("a,b,1,10", "a\0,b,1,10"), said="row 3: a NUL byte"),
    "a tail of NUL bytes": table(csv_of("a,b,1,10") + b"\n" + b"\0" * 99, said="row 3: a NUL byte"),
    # Numbers
    "a rating that is NaN": table(csv_of("a,b,NaN,10"), said="row 2, column 'r': 'NaN' is not a finite number"),
    "a rating that is infinite": table(csv_of("a,b,-inf,10"), said="row 2, column 'r'"),
    "a rating with a comma": table(csv_of("a;b;4,5;10", header="u;i;r;t"), said="row 2, column 'r': '4,5'"),
    "a rating beyond Float32": table(csv_of("a,b,1e39,10"), said="row 2, column 'r': '1e39'"),
    "digits of another script": table(csv_of("a,b,٣,10"), said="row 2, column 'r'"),
    "an unknown rating": table(csv_of("a,b,,10"), rows=[("a", "b", None, 10)]),
    "a rating with an exponent": table(csv_of("a,b,+1e0,10"), rows=GOOD),
    # Times
    "a negative time": table(csv_of("a,b,1,10", "a,b,1,-1"), said="row 3, column 't': negative time -1"),
    "an empty time": table(csv_of("a,b,1,"), said="row 2, column 't': '' is not a whole number of seconds"),
    "a fraction of a second": table(csv_of("a,b,1,1.5"), said="row 2, column 't': '1.5'"),
    "milliseconds taken for seconds": table(csv_of("a,b,1,1700000000000"), said="time_format: milliseconds"),
    "a time beyond 64 bits": table(csv_of("a,b,1,9223372036854775808"), said="row 2, column 't'"),
    "a date that never was": table(csv_of("a,b,1,2001-02-29"), said="row 2", reading={"time_format": "iso"}),
    "an unknown form of time": table(csv_of("a,b,1,10"), said="reading.time_format", reading={"time_format": "unix"}),
    # Ids
    "ids with spaces": table(csv_of(" a b ,b ,1,10"), rows=[(" a b ", "b ", 1.0, 10)]),
    "ids with tabs": table(csv_of("a\tb,\tc,1,10"), rows=[("a\tb", "\tc", 1.0, 10)]),
    "ids with quotes": table(csv_of('"say ""hi""",5" nail,1,10'), rows=[('say "hi"', '5" nail', 1.0, 10)]),
    "ids with delimiters and line breaks": table(csv_of('"a,\n\nb",b,1,10'), rows=[("a,\n\nb", "b", 1.0, 10)]),
    "ids of emoji and other scripts": table(csv_of("👩‍🚀,ñ́ عربي,1,10"), rows=[("👩‍🚀", "ñ́ عربي", 1.0, 10)]),
    "ids that look like numbers": table(csv_of("007,1e3,1,10"), rows=[("007", "1e3", 1.0, 10)]),
    "ids that look like nothing": table(csv_of("null,NaN,1,10"), rows=[("null", "NaN", 1.0, 10)]),
    "an empty id": table(csv_of("a,b,1,10", ",b,1,10"), said="row 3, column 'u': empty id"),
    "an id of white space": table(csv_of("a, \u3000,1,10"), said="row 2, column 'i': empty id"),
    # Rows and columns
    "a line of 10 MB": table(csv_of(f"{'x' * 10_000_000},b,1,10"), rows=[("x" * 10_000_000, "b", 1.0, 10)]),
    "a line of 10 MB that is no row": table(csv_of("a,b,1,10", "x" * 10_000_000), said="row 3: 1 fields"),
    "a line of 80 MB": table(lambda: csv_of("a" * 80_000_000), said="row 2"),
    "a column asked for that stands twice": table(csv_of("a,b,1,10,c", header="u,i,r,t,u"), said="stands twice"),
    "another column that stands twice": table(csv_of("a,b,1,10,c,d", header="u,i,r,t,x,x"), rows=GOOD),
    "a missing column": table(csv_of("a,b,1,10", header="u,i,r,tt"), said="row 1: column 't' is missing"),
    "too few fields": table(csv_of("a,b,1"), said="row 2: 3 fields where the header has 4"),
    "too many fields": table(csv_of("a,b,1,10,"), said="row 2: 5 fields where the header has 4"),
    "an empty line within": table(csv_of("a,b,1,10", "", "a,b,1,10"), said="row 3: 1 fields"),
    "empty lines at the end": table(csv_of("a,b,1,10", "", "", ""), rows=GOOD),
    "a quote that never closes": table(csv_of("a,b,1,10", '"a,b,1,10', "a,b,1,10"), said="row 3: a quote opens"),
    "text after a closing quote": table(csv_of('"a"x,b,1,10'), said="row 2: broken quoting"),
    "Windows' line ends": table(csv_of("a,b,1,10\r", header="u,i,r,t\r"), rows=GOOD),
    "an old Mac's line ends": table(b"u,i,r,t\ra,b,1,10\r", rows=GOOD),
    "a carriage return within": table(csv_of("a\r,b,1,10"), said="row 2: a carriage return"),
    "an unclear delimiter": table(csv_of("a,b;1,10", header="u;i,r;t"), said="row 1: the header may be separated by"),
    "an unusual delimiter": table(csv_of("a b 1 10", header="u i r t"), said="row 1: the header is a single column"),
    "an empty file": table(b"", said="the file is empty"),
    "a header alone": table(csv_of(), said="no row"),
    "a page of HTML": table(b"<!DOCTYPE html>\n<p>404, not found</p>", said="row 1"),
    # Compression and archives
    "gzip": table(gzip.compress(csv_of("a,b,1,10"), mtime=0), rows=GOOD),
    "truncated gzip": table(gzip.compress(csv_of("a,b,1,10"), mtime=0)[:-9], said="truncated"),
    "gzip with a broken body": table(b"\x1f\x8b" + b"garbage" * 9, said="damaged"),
    "a member of a zip archive": table(zipped("in/mine.csv", csv_of("a,b,1,10")), rows=GOOD, member="in/mine.csv"),
    "a member that is not there": table(zipped("other.csv", b"x"), said="mine.csv", member="mine.csv"),
    "a path that climbs out": table(zipped("../mine", csv_of("a,b,1,10")), said="../mine", member="../mine"),
    "a truncated zip archive": table(zipped("mine.csv", csv_of("a,b,1,10"))[:-30], said="zip", member="mine.csv"),
    "an archive taken for a table": table(zipped("mine.csv", csv_of("a,b,1,10")), said="mine"),
    # Parquet
    "Parquet without its end": table(parquet_of()[:-8], said="damaged or unreadable Parquet"),
    "Parquet with another end": table(b"PAR1" + b"x" * 99, said="damaged or unreadable Parquet"),
    "Parquet inside an archive": table(zipped("mine", parquet_of()), said="unpack it first", member="mine"),
    "Parquet with ids that are floats": table(parquet_of(u=[1.0]), said="column 'u': numbers (Float64)"),
    "Parquet with an id that is null": table(parquet_of(u=pa.nulls(1, pa.string())), said="row 1, column 'u': empty"),
    "Parquet with a NUL in an id": table(parquet_of(u=["\0"]), said="row 1, column 'u': NUL character"),
    "Parquet with a rating that is NaN": table(parquet_of(r=[float("nan")]), said="row 1, column 'r': nan"),
    "Parquet with odd ids": table(parquet_of(u=[' "\n,']), rows=[(' "\n,', "b", 1.0, 10)]),
    # RecBole's atomic files
    "atomic: quotes mean nothing": atomic('"a\tb"\t1\t10', rows=[('"a', 'b"', 1.0, 10)]),
    "atomic: too few fields": atomic("a\tb\t1", said="row 2: 3 fields where the header has 4"),
    "atomic: a rating that is NaN": atomic("a\tb\tnan\t10", said="row 2, column 'r': 'nan'"),
    "atomic: an id of white space": atomic("a\t \t1\t10", said="row 2, column 'i': empty id"),
    "atomic: commas instead of tabs": atomic("a,b,1,10", header="u,i,r,t", said="row 1: column 'u' is missing"),
    "atomic: a column twice": atomic("a\ta\tb\t1\t10", header="u\tu\ti\tr\tt", said="row 1: column 'u' stands twice"),
    # S3-Rec's sequences and item texts
    "sequences: odd white space": sequences(b" 1\t2  3 \n", rows=[("1", "2", None, 0), ("1", "3", None, 1)]),
    "sequences: a user alone": sequences(b"1 2\n2\n", said="row 2: 1 fields"),
    "sequences: a user twice": sequences(b"1 2\n1 3\n", said="row 2: user '1' stands on row 1 already"),
    "sequences: an empty line": sequences(b"1 2\n\n2 3\n", said="row 2: 0 fields"),
    "items: half a surrogate pair": sequences(b'{"id": "\\ud83d"}', items=True, said="row 1: not JSON (half a"),
    "items: a whole surrogate pair": sequences(b'{"id": "\\ud83d\\ude00"}', items=True, rows=[("😀", None, None)]),
    "items: an id of 5,000 digits": sequences(b'{"id": ' + b"9" * 5000 + b"}", items=True, said="row 1: not JSON"),
    "items: nesting without end": sequences(b"[" * 100_000, items=True, said="row 1: not JSON (nested too deeply)"),
    "items: an empty id": sequences(b'{"id": " "}', items=True, said="row 1, column 'id': empty id"),
    "items: a NUL in an id": sequences(b'{"id": "a\\u0000"}', items=True, said="row 1, column 'id': NUL character"),
    "items: an item twice": sequences(b'{"id": 1}\n{"id": "1"}', items=True, said="row 2: item '1' stands on row 1"),
    # MovieLens
    "MovieLens: another format": movielens(b"1,2,3,4\n", said="row 1: '1,2,3,4' has neither 4 fields between '::'"),
    "MovieLens: a line cut short": movielens(b"1::2::3::4\n1::2", said="row 2: 2 fields"),
    "MovieLens: a time that is none": movielens(b"1\t2\t3\tx", said="row 1, column 'time': 'x'"),
    "MovieLens: films in latin-1": movielens(
        "1::é (1999)::Drama".encode("latin-1"), items=True, rows=[("1", "é (1999)", ["Drama"], "1999")]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_by_name(tmp_path, name):
    case = CASES[name]
    path = tmp_path / "mine"
    path.write_bytes(case.raw() if callable(case.raw) else case.raw)
    content = Content(path, case.member)
    if case.rows is not None:
        table, _ = read(case.reader, content, case.columns, items=case.items, **case.reading)
        assert table.rows() == case.rows
        return
    assert case.said, "a case says what it expects"
    with pytest.raises(DataError) as caught:
        read(case.reader, content, case.columns, items=case.items, **case.reading)
    message = str(caught.value)
    assert case.said in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 600


@pytest.mark.parametrize("pack", [lambda raw: zipped("mine", raw), gzip.compress], ids=["zip", "gzip"])
def test_bombs(tmp_path, monkeypatch, pack):
    # The limits as they are would have the test write out gigabytes.
    monkeypatch.setattr("bench.data.content.EXPANSION_FREE", 1 << 20)
    monkeypatch.setattr("bench.data.content.EXPANSION_LIMIT", 100)
    raw = pack(csv_of(*["a,b,1,10"] * 300_000))
    (tmp_path / "mine").write_bytes(raw)
    with pytest.raises(DataError, match="refused as a decompression bomb"):
        read("table", Content(tmp_path / "mine", "mine" if raw.startswith(b"PK") else None), NAMES)


def test_files_that_are_no_files(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            read("table", Content(path), NAMES)


# Random damage

LINES = 12
_EVENTS = [(f"u{row % 5}", f"i {row}", row % 5 + 1, 10**9 + row) for row in range(LINES)]


def _lines(separator: str, *header: str) -> bytes:
    return "\n".join([*header, *(separator.join(map(str, event)) for event in _EVENTS)]).encode()


def _csv_items() -> bytes:
    rows = [f'{row},"T ""{row}"",\n&amp;",A|B;C,199{row % 10},,{row}.5' for row in range(LINES)]
    return "\n".join(["item,title,categories,year,brand,price", *rows]).encode()


def _json_items() -> bytes:
    rows = [{"id": row, "title": f"T {row} \u00e9 \U0001f600", "categories": [["A", "B"]]} for row in range(LINES)]
    return "\n".join(json.dumps(row) for row in rows).encode()


def _quoted() -> bytes:
    rows = [f'"{user}","{item}\n""x"", y",{rating},{time}' for user, item, rating, time in _EVENTS]
    return "\n".join(["u,i,r,t", *rows]).encode()


def _flags() -> bytes:
    return "\n".join(f"{row}|T (1999)|01-Jan-1995||x|{'|'.join('01' * 9 + '0')}" for row in range(LINES)).encode()


def _parquet() -> bytes:
    users, items, ratings, times = zip(*_EVENTS, strict=True)
    return parquet_of(u=list(users), i=list(items), r=list(ratings), t=list(times))


VALID = {
    "table": ("table", NAMES, False, _lines(",", "u,i,r,t")),
    "quoted table": ("table", NAMES, False, _quoted()),
    "Parquet table": ("table", NAMES, False, _parquet()),
    "table of items": ("table", {}, True, _csv_items()),
    "atomic": ("recbole-atomic", NAMES, False, _lines("\t", "u:token\ti:token\tr:float\tt:float")),
    "atomic items": ("recbole-atomic", {"item": "i", "title": "u"}, True, _lines("\t", "u\ti\tr\tt")),
    "sequences": ("s3rec", {}, False, b"\n".join(b"%d 1 2 3" % row for row in range(LINES))),
    "item texts": ("s3rec", {}, True, _json_items()),
    "u.data": ("movielens", {}, False, _lines("\t")),
    "ratings.dat": ("movielens", {}, False, _lines("::")),
    "u.item": ("movielens", {}, True, _flags()),
    "movies.dat": ("movielens", {}, True, "\n".join(f"{n}::É (1999)::A|B" for n in range(LINES)).encode("latin-1")),
}


@pytest.mark.parametrize("name", VALID)
def test_the_files_are_good_before_they_are_damaged(tmp_path, name):
    reader, columns, items, raw = VALID[name]
    (tmp_path / "mine").write_bytes(raw)
    table, rows = read(reader, Content(tmp_path / "mine"), columns, items=items)
    assert rows.read == table.height == (3 * LINES if name == "sequences" else LINES)


def damaged(raw: bytes, seed: int, changes: int) -> bytes:
    """Delete, insert, flip and overwrite bytes; swap, repeat and cut lines."""
    draw = random.Random(seed)
    odd = [b"\n", b"\r", b"\0", b'"', b",", b"\t", b"::", b"\xff", b"\xef\xbb\xbf", b"-", b"nan", b"{", b" ", b"9" * 30]
    for _ in range(changes):
        at = draw.randrange(len(raw) + 1)
        kind = draw.randrange(6)
        if kind == 0:
            raw = raw[:at] + raw[at + draw.randint(1, 9) :]
        elif kind == 1:
            raw = raw[:at] + draw.choice(odd) + raw[at:]
        elif kind == 2 and at < len(raw):
            raw = raw[:at] + bytes([raw[at] ^ (1 << draw.randrange(8))]) + raw[at + 1 :]
        elif kind == 3:
            raw = raw[:at] + draw.randbytes(draw.randint(1, 4)) + raw[at:]
        else:
            lines = raw.split(b"\n")
            one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
            if kind == 4:
                lines[one], lines[other] = lines[other], lines[one]
            else:
                lines[one] = lines[other]
            raw = b"\n".join(lines)
    return raw


def attempt(reader, content, columns, **options) -> tuple[pl.DataFrame | None, str]:
    """Read, and check that all rows are accounted for, or return the complaint; any other error fails the test."""
    try:
        return read(reader, content, columns, **options)[0], ""
    except DataError as error:
        return None, str(error)


@pytest.mark.parametrize("name", VALID)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 6), drop=st.booleans(), packed=st.booleans())
def test_damage_is_told_or_counted(tmp_path, name, seed, changes, drop, packed):
    reader, columns, items, raw = VALID[name]
    path: Path = tmp_path / "mine"
    raw = damaged(raw, seed, changes)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    table, complaint = attempt(reader, Content(path), columns, items=items, drop=drop)
    if table is None:
        assert complaint.startswith(str(path))
        assert "\n" not in complaint
        return
    ids = [column for column in ("user_id", "item_id") if column in table.columns]
    for column in ids:
        assert table[column].null_count() == 0
        assert all(value.strip(" \t") for value in table[column])
    if items:
        assert table["item_id"].is_unique().all()
    if "time" in table.columns:
        assert table["time"].null_count() == 0
