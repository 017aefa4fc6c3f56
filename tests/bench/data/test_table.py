from __future__ import annotations

import csv
import gzip
import io
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers.base import Ask, Rows
from bench.data.readers.table import read_interactions, read_items
from bench.errors import DataError

NAMES = {"user": "u", "item": "i", "rating": "r", "time": "t"}
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, columns=NAMES, *, items=False, drop=False, **reading) -> tuple[list[pl.DataFrame], Rows]:
    content = Content(path)
    rows = Rows(content, drop=drop)
    function = read_items if items else read_interactions
    batches = list(function(content, Ask(columns, Reading(**reading)), rows))
    assert rows.read == sum(batch.height for batch in batches) + sum(rows.dropped.values())
    return batches, rows


def table(path: Path, columns=NAMES, **options) -> list[tuple]:
    return pl.concat(read(path, columns, **options)[0]).rows()


def complaint(path: Path, columns=NAMES, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(path, columns, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def write(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def parquet(folder: Path, **columns) -> Path:
    path = folder / "mine.parquet"
    pq.write_table(pa.table(columns), path)
    return path


# Delimiters, headers, quoting


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_delimiter_is_recognised_in_the_header(tmp_path, delimiter, ending):
    rows = [["i", "u", "t", "r"], ["b", "a", "10", "3.5"], ["d", "c", "20", ""]]
    path = write(tmp_path, ending.join(delimiter.join(row) for row in rows))
    assert table(path) == [("a", "b", 3.5, 10), ("c", "d", None, 20)]


def test_the_wanted_columns_decide_between_two_delimiters(tmp_path):
    path = write(tmp_path, "u;i;r;t;note, or none\na;b;3;10;x, y\n")
    assert table(path) == [("a", "b", 3.0, 10)]
    path = write(tmp_path, 'u;"i;i";t\na;b;10\n')
    assert table(path, {"user": "u", "item": "i;i", "time": "t"}) == [("a", "b", None, 10)]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a;b,c;d", "may be separated by comma and semicolon"),
        ("u i r t", "is a single column, or has an unusual delimiter"),
        ("u:i:r:t", "is a single column, or has an unusual delimiter"),
    ],
)
def test_an_unclear_delimiter_is_asked_for(tmp_path, header, said):
    message = complaint(write(tmp_path, header + "\n1 1 1 1\n"))
    assert f"row 1: the header {said}" in message
    assert "set reading: {delimiter: ...}" in message


def test_any_other_delimiter_is_set_on_the_card(tmp_path):
    assert table(write(tmp_path, "u:i:r:t\na:b:1:10\n"), delimiter=":") == [("a", "b", 1.0, 10)]
    assert "cannot stand between columns" in complaint(write(tmp_path, "u\n"), delimiter='"')


def test_columns_of_our_own_names_need_no_mapping(tmp_path):
    path = write(tmp_path, "time,x,item,user,text\n10,0,b,a,Fine &amp; good \n")
    [batch], _ = read(path, {})
    assert batch.columns == ["user_id", "item_id", "rating", "time", "text"]
    assert batch.rows() == [("a", "b", None, 10, "Fine & good ")]


def test_texts_of_reviews_are_kept_as_wanted(tmp_path):
    path = write(tmp_path, 'u,i,r,t,head,body,who\na,b,1,10,So so,"Two\n lines &lt;3",Ann\nc,d,1,10,, ,\n')
    columns = {**NAMES, "headline": "head", "text": "body", "reviewer": "who"}
    [batch], _ = read(path, columns)
    assert batch.select("headline", "text").rows() == [("So so", "Two\n lines <3"), (None, None)]
    assert "reviewer" not in batch.columns
    assert read(path, columns, reviewer_names=True)[0][0]["reviewer"].to_list() == ["Ann", None]
    assert read(path, columns, reviews=False)[0][0].columns == ["user_id", "item_id", "rating", "time"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,i,r,t\n", "row 1: column 'u' is missing; the file has: 'user', 'i', 'r', 't'"),
        ("u_,i,r,t\n", "column 'u' is missing: did you mean 'u_'? the file has"),
        ("u,i,r,u,t\n", "row 1: column 'u' stands twice in the header"),
        ("u,i,r,when\n", "column 't' is missing; the file has: 'u', 'i', 'r', 'when'; events need an order"),
        ("u,i,r,t\n", "there is a header, but no row"),
        ("u,i,r,t\na,b,1\n", "row 2: 3 fields where the header has 4"),
        ("u,i,r,t\na,b,1,10\n\na,b,1,10\n", "row 3: 1 fields where the header has 4"),
        ('u,i,r,t\n"a\n\nb",b,1,10\nc,d,1,10,9\n', "row 5: 5 fields where the header has 4"),
        ('u,i,r,t\na,b,1,10\n"a,b,1,10\na,b,1,10\n', "row 3: a quote opens here and never closes"),
        ('u,i,r,t\n"a" ,b,1,10\n', "row 2: broken quoting"),
        ('u\ti\tr\tt\n"a" b\tb\t1\t10\n', "text separated by tabs without quoting is read by recbole-atomic"),
        ('"u,i,r,t\na,b,1,10\n', "row 1: a quote opens here and never closes"),
        ("u,i,r,t\na,b\rc,1,10\n", "row 2: a carriage return stands inside the row"),
        ("u,i,r,t\n,b,1,10\n", "row 2, column 'u': empty id"),
        ("u,i,r,t\na,b,1,10\na, \u00a0,1,10\n", "row 3, column 'i': empty id"),
        ("u,i,r,t\na\0,b,1,10\n", "row 2: a NUL byte: the file is damaged, or not text"),
    ],
)
def test_bad_tables_are_one_clear_line(tmp_path, text, said):
    assert said in complaint(write(tmp_path, text))


def test_unmapped_times_and_equal_columns_are_refused(tmp_path):
    path = write(tmp_path, "u,i,t\na,b,1\n")
    said = "the card maps no column to 'time'; events need an order: name the column of their times"
    assert said in complaint(path, {"user": "u", "item": "i"})
    assert "users and items from the same column 'u'" in complaint(path, {"user": "u", "item": "u", "time": "t"})


def test_broken_quoting_is_never_dropped(tmp_path):
    path = write(tmp_path, 'u,i,r,t\n"a"x,b,1,10\n')
    assert "row 2: broken quoting" in complaint(path, drop=True)


def test_dropped_rows_are_counted_by_reason(tmp_path):
    bad = [
        "a,b",
        " ,b,1,10",
        "a,,1,10",
        "a,b,x,10",
        "a,b,1,x",
        "a,b,1,-1",
        "a,b,1,-2",
        "a,b,1,99999999999999",
    ]
    path = write(tmp_path, "\n".join(["u,i,r,t", *bad, "a,b,1,10"]))
    batches, rows = read(path, drop=True)
    assert pl.concat(batches).rows() == [("a", "b", 1.0, 10)]
    assert rows.read == len(bad) + 1
    assert rows.dropped == {
        "wrong number of fields": 1,
        "empty id": 2,
        "rating is not a finite number": 1,
        "time is not a whole number of seconds": 1,
        "negative time": 2,
        "time out of range": 1,
    }


def test_a_file_of_bad_rows_alone_gives_an_empty_table(tmp_path):
    batches, rows = read(write(tmp_path, "u,i,r,t\na\nb\n"), drop=True)
    assert [batch.height for batch in batches] == [0]
    assert batches[0].schema == {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "time": pl.Int64}
    assert rows.dropped == {"wrong number of fields": 2}


ids = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
any_table = st.lists(st.tuples(ids, ids, st.none() | st.integers(-5, 5), st.integers(0, 2**33)), min_size=1, max_size=8)


@FUZZ
@given(any_table, st.sampled_from(",\t;|"), st.booleans())
@example([("a\r", "b\r\n", 1, 0)], ",", False)
@example([('"', '"",\n', None, 0)], ",", True)
def test_what_the_csv_module_writes_is_read_exactly(tmp_path, rows, delimiter, zipped):
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["u", "i", "r", "t"], *rows])
    raw = sink.getvalue().encode()
    path = tmp_path / "mine.csv"
    path.write_bytes(gzip.compress(raw) if zipped else raw)

    def line_feeds(text: str) -> str:
        return text.replace("\r\n", "\n")

    assert table(path) == [(line_feeds(user), line_feeds(item), *rest) for user, item, *rest in rows]


@FUZZ
@given(any_table)
def test_csv_and_parquet_of_polars_are_read_alike(tmp_path, rows):
    written = pl.DataFrame(rows, schema={"u": pl.String, "i": pl.String, "r": pl.Int64, "t": pl.Int64}, orient="row")
    written.write_parquet(tmp_path / "mine.parquet")
    assert table(tmp_path / "mine.parquet") == rows
    if not any("\r" in user + item for user, item, *_ in rows):
        written.write_csv(tmp_path / "mine.csv")
        assert table(tmp_path / "mine.csv") == rows


def test_a_long_line_is_read(tmp_path):
    body = "ab" * 5_000_000
    path = write(tmp_path, f"u,i,r,t,body\na,b,1,10,{body}\n{body},b,1,10,\n")
    batches, _ = read(path, {**NAMES, "text": "body"})
    rows = pl.concat(batches)
    assert rows["text"].to_list() == [body, None]
    assert rows["user_id"].to_list() == ["a", body]


def test_messages_stay_short(tmp_path):
    path = write(tmp_path, f"u,i,r,t\na,b,{'9x' * 500_000},10\n")
    message = complaint(path)
    assert "(1,000,000 characters) is not a finite number" in message
    assert len(message) < 400 + len(str(path))


def test_rows_keep_their_numbers_across_blocks(tmp_path):
    # About 20 MiB, so that the file comes in several blocks, and a row of three lines at every hundredth place.
    pad = "x" * 180
    lines = [f'"u\n\n{row}",i,1,10,{pad}' if row % 100 == 0 else f"u{row},i,1,10,{pad}" for row in range(100_000)]
    path = write(tmp_path, "\n".join(["u,i,r,t,pad", *lines, "u,i,1,ten,", "u,i,1,10,"]))
    batches, rows = read(path, drop=True)
    assert len(batches) > 1
    assert rows.read == 100_002
    assert pl.concat(batches)["user_id"].n_unique() == 100_001
    assert f"row {1 + 100_000 + 2 * 1000 + 1}, column 't': 'ten'" in complaint(path)


def test_memory_does_not_grow_with_the_file(tmp_path):
    line = f"user,item,1,10,{'x' * 1000}\n"
    path = write(tmp_path, "u,i,r,t,pad\n" + line * 60_000)
    content = Content(path)
    tracemalloc.start()
    try:
        height = sum(batch.height for batch in read_interactions(content, Ask(NAMES, Reading()), Rows(content)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert height == 60_000
    assert peak < path.stat().st_size


# Numbers


@pytest.mark.parametrize(
    ("cell", "value"),
    [("5", 5), (" 5 ", 5), ("+5", 5), ("-.5", -0.5), ("1e3", 1000), ("5.", 5), ("", None), ("  ", None), ("-0", 0)],
)
def test_ratings_are_read(tmp_path, cell, value):
    assert table(write(tmp_path, f"u,i,r,t\na,b,{cell},10\n")) == [("a", "b", value, 10)]


@pytest.mark.parametrize(
    "cell",
    ["NaN", "nan", "inf", "-Infinity", "1_000", "1e39", "1e400", "٣", "\uff15", "3 4", "five", "0x1", "--1", "\u22121"],
)
def test_ratings_are_refused(tmp_path, cell):
    assert f"row 2, column 'r': {cell!r} is not a finite number" in complaint(
        write(tmp_path, f"u,i,r,t\na,b,{cell},10\n")
    )


# Times


@pytest.mark.parametrize(
    ("time_format", "cell", "seconds"),
    [
        ("seconds", "0", 0),
        ("seconds", " 10 ", 10),
        ("seconds", "+10", 10),
        ("seconds", "10.0", 10),
        ("seconds", "1e9", 10**9),
        ("milliseconds", "1700000000999", 1_700_000_000),
        ("milliseconds", "1.7e12", 1_700_000_000),
        ("iso", "2001-09-09T01:46:40Z", 10**9),
        ("iso", "2001-09-09 01:46:40", 10**9),
        ("iso", "2001-09-09T03:46:40.999999+02:00", 10**9),
        ("iso", "20010909", 10**9 - 6400),
        ("iso", "1969-12-31T23:59:59.5", -1),
        ("iso", "1900-01-01", -2_208_988_800),
        ("%d.%m.%Y %H:%M", "09.09.2001 01:46", 10**9 - 40),
        ("%Y-%m-%d %H:%M:%S %z", "2001-09-09 01:46:40 -0100", 10**9 + 3600),
        ("%d/%m/%Y %H:%M:%S.%f", "09/09/2001 01:46:40.75", 10**9),
        ("%Y%m%d", "20010909", 10**9 - 6400),
        ("%s%%".replace("s", "Y"), "2001%", 978_307_200),
    ],
)
def test_times_are_read(tmp_path, time_format, cell, seconds):
    path = write(tmp_path, f"u,i,r,t\na,b,,{cell}\n")
    assert table(path, time_format=time_format) == [("a", "b", None, seconds)]


@pytest.mark.parametrize(
    ("time_format", "cell", "said"),
    [
        ("seconds", "", "'' is not a whole number of seconds"),
        ("seconds", "10.5", "'10.5' is not a whole number of seconds"),
        ("seconds", "1_000", "'1_000' is not a whole number of seconds"),
        ("seconds", "nan", "'nan' is not a whole number of seconds"),
        ("seconds", "٣", "'٣' is not a whole number of seconds"),
        ("seconds", "9223372036854775808", "'9223372036854775808' is not a whole number of seconds"),
        ("seconds", "2001-09-09", "'2001-09-09' is not a whole number of seconds"),
        ("seconds", "-1", "negative time -1"),
        ("seconds", "1700000000000", "then set reading: {time_format: milliseconds}"),
        ("seconds", "9223372036854775807", "are not between the years 1900 and 2300"),
        ("milliseconds", "1.5", "'1.5' is not a whole number of milliseconds"),
        ("milliseconds", "-1", "negative time -1"),
        ("milliseconds", "1700000000000000", "are not between the years 1900 and 2300"),
        ("iso", "10", "'10' is not an ISO 8601 time"),
        ("iso", "", "'' is not an ISO 8601 time"),
        ("iso", "2001-02-29", "'2001-02-29' is not an ISO 8601 time"),
        ("iso", "1899-12-31", "are not between the years 1900 and 2300"),
        ("iso", "2301-01-01", "are not between the years 1900 and 2300"),
        ("iso", "0001-01-01T00:00+14:00", "are not between the years 1900 and 2300"),
        ("%d.%m.%Y", "9.9.2001 ", None),
        ("%d.%m.%Y", "09.09.2001 01:46", "'09.09.2001 01:46' is not a time of the form %d.%m.%Y"),
        ("%d.%m.%Y", "٠٩.09.2001", "'٠٩.09.2001' is not a time of the form %d.%m.%Y"),
        ("%H:%M", "01:46", None),
        ("%d.%m.%Y", "31.02.2001", "'31.02.2001' is not a time of the form %d.%m.%Y"),
    ],
)
def test_times_are_refused(tmp_path, time_format, cell, said):
    path = write(tmp_path, f"u,i,r,t\na,b,,{cell}\n")
    if said is None:
        assert len(table(path, time_format=time_format)) == 1
    else:
        message = complaint(path, time_format=time_format)
        assert "row 2, column 't': " in message
        assert said in message


@pytest.mark.parametrize(
    ("time_format", "said"),
    [
        ("second", "is none of seconds, milliseconds, iso, nor a strptime pattern"),
        ("%Y-%m-%dT%H:%M:%S%Z", "names of time zones are ambiguous"),
        ("%Y %J", "is no strptime pattern"),
        ("%Y %Y", "is no strptime pattern"),
    ],
)
def test_bad_time_formats_are_refused(tmp_path, time_format, said):
    assert said in complaint(write(tmp_path, "u,i,r,t\na,b,,1\n"), time_format=time_format)


@FUZZ
@given(
    st.datetimes(
        datetime(1900, 1, 2), datetime(2262, 1, 1), timezones=st.none() | st.just(timezone(timedelta(hours=5)))
    )
)
def test_iso_times_agree_with_pandas(tmp_path, moment):
    expected = pd.Timestamp(moment)
    expected = expected if expected.tzinfo else expected.tz_localize("UTC")
    path = write(tmp_path, f"u,i,r,t\na,b,,{moment.isoformat()}\n")
    assert table(path, time_format="iso")[0][3] == (expected - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1s")


# Parquet

MOMENTS = [
    datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    datetime(2001, 9, 9, 1, 46, 40, 999_000, tzinfo=UTC),
]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_parquet_times_of_any_unit_and_zone(tmp_path, unit, zone):
    whole = [moment.replace(microsecond=0) if unit == "s" else moment for moment in MOMENTS]
    stored = pa.array(
        [moment.replace(tzinfo=None) if zone is None else moment for moment in whole], pa.timestamp(unit, zone)
    )
    path = parquet(tmp_path, u=["a", "b"], i=["c", "d"], r=[1.0, None], t=stored)
    assert table(path) == [("a", "c", 1.0, -1), ("b", "d", None, 10**9)]


def test_parquet_ids_and_other_types(tmp_path):
    path = parquet(
        tmp_path,
        u=pa.array([2**64 - 1, 7], pa.uint64()),
        i=pa.array(["x", " "], pa.large_string()).take(pa.array([0, 0])).dictionary_encode(),
        r=pa.array([Decimal("2.5"), None], pa.decimal128(4, 1)),
        t=pa.array([date(2001, 9, 9), date(1970, 1, 1)], pa.date32()),
    )
    assert table(path) == [("18446744073709551615", "x", 2.5, 10**9 - 6400), ("7", "x", None, 0)]
    path = parquet(tmp_path, u=[1, 2], i=[-1, 0], r=["3", None], t=["2001-09-09T01:46:40Z", "1970-01-01"])
    assert table(path, time_format="iso") == [("1", "-1", 3.0, 10**9), ("2", "0", None, 0)]
    path = parquet(tmp_path, u=[1], i=[1], r=[3], t=[20010909])
    assert table(path, time_format="%Y%m%d") == [("1", "1", 3.0, 10**9 - 6400)]
    path = parquet(tmp_path, u=[1], i=[1], r=[3], t=[1.7e12])
    assert table(path, time_format="milliseconds") == [("1", "1", 3.0, 1_700_000_000)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"u": [1.0, 2.0]}, "column 'u': numbers (Float64) where user needs text or whole numbers (1.0 or 1?)"),
        ({"u": [True, False]}, "column 'u': values of another type (Boolean) where user needs text or whole numbers"),
        ({"u": [b"a", b"\xff"]}, "column 'u': values of another type (Binary)"),
        ({"u": ["a", None]}, "row 2, column 'u': empty id"),
        ({"u": pa.nulls(2)}, "row 1, column 'u': empty id (and 1 more rows)"),
        ({"u": ["a", "b\0"]}, "row 2, column 'u': NUL character in an id"),
        ({"r": [1.0, float("nan")]}, "row 2, column 'r': nan is not a finite number"),
        ({"r": [1.0, 1e39]}, "row 2, column 'r': 1e+39 is not a finite number"),
        ({"r": [[1.0], [2.0]]}, "column 'r': values of another type (List(Float64)) where rating needs"),
        ({"t": [1, None]}, "row 2, column 't': null is not a whole number of seconds"),
        ({"t": [1.0, 1.5]}, "row 2, column 't': 1.5 is not a whole number of seconds"),
        ({"t": [Decimal("1.0"), Decimal("1.5")]}, "row 2, column 't': Decimal('1.5') is not a whole number of seconds"),
        ({"t": pa.array([1, 2**64 - 1], pa.uint64())}, "is not a whole number of seconds"),
        ({"t": [datetime(2001, 1, 1), None]}, "row 2, column 't': null is not a time"),
        ({"t": [1, -1]}, "row 2, column 't': negative time -1"),
        ({"t": [1, 10**12]}, "then set reading: {time_format: milliseconds}"),
        ({"t": [timedelta(1), timedelta(2)]}, "column 't': values of another type (Duration"),
    ],
)
def test_bad_parquet_columns_are_one_clear_line(tmp_path, changed, said):
    columns = {"u": ["a", "b"], "i": [1, 2], "r": [1.0, 2.0], "t": [1, 2], **changed}
    assert said in complaint(parquet(tmp_path, **columns))


def test_parquet_names(tmp_path):
    good = {"i": [1], "r": [1.0], "t": [1]}
    assert "column 'u' is missing: did you mean 'uu'?" in complaint(parquet(tmp_path, uu=[1], **good))
    twice = pa.Table.from_arrays([pa.array(["a"])] * 4 + [pa.array([1])], names=["u", "u", "i", "r", "t"])
    pq.write_table(twice, tmp_path / "mine.parquet")
    assert "column 'u' stands twice" in complaint(tmp_path / "mine.parquet")
    assert table(parquet(tmp_path, **{"a.b": [1], **good}), {**NAMES, "user": "a.b"}) == [("1", "1", 1.0, 1)]


def test_damaged_and_packed_parquet_is_refused(tmp_path):
    path = parquet(tmp_path, u=["a"], i=["b"], r=[1.0], t=[1])
    raw = path.read_bytes()
    path.write_bytes(raw[:-5])
    assert "damaged or unreadable Parquet" in complaint(path)
    path.write_bytes(gzip.compress(raw))
    assert "Parquet inside an archive or a compressed file: unpack it first" in complaint(path)
    no_rows = parquet(tmp_path, u=pa.array([], pa.string()), i=pa.array([], pa.string()), r=pa.nulls(0), t=pa.nulls(0))
    assert "no row" in complaint(no_rows)


def test_parquet_texts_that_are_no_utf8_are_refused(tmp_path):
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    path = parquet(tmp_path, u=broken, i=["b"], r=[1.0], t=[1])
    assert "damaged or unreadable Parquet" in complaint(path)


def test_parquet_comes_in_batches(tmp_path):
    count = 150_000
    path = tmp_path / "mine.parquet"
    numbers = list(range(count))
    pq.write_table(pa.table({"u": numbers, "i": numbers, "r": numbers, "t": numbers}), path, row_group_size=100_000)
    batches, _ = read(path)
    assert len(batches) > 2
    assert pl.concat(batches)["time"].to_list() == numbers
    pq.write_table(pa.table({"u": numbers, "i": numbers, "r": numbers, "t": [*numbers[:-1], -5]}), path)
    assert f"row {count}, column 't'" in complaint(path)


# Items

ITEM_NAMES = {
    "item": "sku",
    "title": "name",
    "categories": "tags",
    "year": "y",
    "brand": "b",
    "price": "p",
    "description": "d",
}


def test_items_with_everything(tmp_path):
    text = (
        "sku,name,tags,y,b,p,d\n"
        ' x ,Salt &amp;  Pepper,"Food|Spices; hot|Food",1999,A &amp; B,2.5," a\n b "\n'
        "y,,Pizza &amp; Pasta;Bars,1999.0,,,\n"
        'z, ,"[""A;B"", ""C|D""]",,,0,\n'
        "w,W,,,,,\n"
    )
    [batch], _ = read(write(tmp_path, text), ITEM_NAMES, items=True)
    assert batch.schema == {
        "item_id": pl.String,
        "title": pl.String,
        "categories": pl.List(pl.String),
        "year": pl.String,
        "brand": pl.String,
        "price": pl.Float32,
        "description": pl.String,
    }
    assert batch.rows() == [
        (" x ", "Salt & Pepper", ["Food", "Spices; hot"], "1999", "A & B", 2.5, "a b"),
        ("y", None, ["Pizza & Pasta", "Bars"], "1999", None, None, None),
        ("z", None, ["A;B", "C|D"], None, None, 0.0, None),
        ("w", "W", None, None, None, None, None),
    ]


def test_items_of_our_own_names_and_of_parquet(tmp_path):
    assert table(write(tmp_path, "item,x\na,1\nb,2\n"), {}, items=True) == [("a", None, None), ("b", None, None)]
    path = parquet(
        tmp_path,
        item=[1, 2, 3],
        categories=[["A", None, "B"], [], None],
        year=[1999.0, None, 2000.0],
        price=[1, None, 2],
    )
    assert table(path, {}, items=True) == [
        ("1", None, ["A", "B"], "1999", 1.0),
        ("2", None, None, None, None),
        ("3", None, None, "2000", 2.0),
    ]
    path = parquet(tmp_path, item=[1], categories=["A|B"], title=["T"])
    assert table(path, {}, items=True) == [("1", "T", ["A", "B"])]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,,,,,", "row 3: item 'a' stands on row 2 already"),
        (" ,,,,,", "row 3, column 'item': empty id"),
        ("b,[1],,,,", "row 3, column 'categories': '[1]' is not a JSON list of names"),
        ("b,['x'],,,,", "is not a JSON list of names"),
        (r'b,"[""\ud83d""]",,,,', "is not a JSON list of names"),
        ("b,,99,,,", "row 3, column 'year': '99' is not a year of four digits"),
        ("b,,,,$5,", "row 3, column 'price': '$5' is not a finite number"),
        ("b,,,", "row 3: 4 fields where the header has 6"),
    ],
)
def test_bad_items_are_one_clear_line(tmp_path, row, said):
    path = write(tmp_path, f"item,categories,year,brand,price,title\na,,,,,\n{row}\nc,,,,,\n")
    assert said in complaint(path, {}, items=True)
    batches, rows = read(path, {}, items=True, drop=True)
    assert pl.concat(batches)["item_id"].to_list() == ["a", "c"]
    assert sum(rows.dropped.values()) == 1
