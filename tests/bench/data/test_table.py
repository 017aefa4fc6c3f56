"""Tables as delimited text: delimiters, headers, quoting, rows that do not fit, long lines and big files."""

from __future__ import annotations

import csv
import gzip
import io
import tracemalloc

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers.base import Ask, Rows
from bench.data.readers.table import read_interactions

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_delimiter_is_recognised_in_the_header(tables, delimiter, ending):
    rows = [["i", "u", "t", "r"], ["b", "a", "10", "3.5"], ["d", "c", "20", ""]]
    path = tables.write(ending.join(delimiter.join(row) for row in rows))
    assert tables.rows(path) == [("a", "b", 3.5, 10), ("c", "d", None, 20)]


def test_the_wanted_columns_decide_between_two_delimiters(tables):
    path = tables.write("u;i;r;t;note, or none\na;b;3;10;x, y\n")
    assert tables.rows(path) == [("a", "b", 3.0, 10)]
    path = tables.write('u;"i;i";t\na;b;10\n')
    assert tables.rows(path, {"user": "u", "item": "i;i", "time": "t"}) == [("a", "b", None, 10)]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a;b,c;d", "may be separated by comma and semicolon"),
        ("u i r t", "is a single column, or has an unusual delimiter"),
        ("u:i:r:t", "is a single column, or has an unusual delimiter"),
    ],
)
def test_an_unclear_delimiter_is_asked_for(tables, header, said):
    message = tables.complaint(tables.write(header + "\n1 1 1 1\n"))
    assert f"row 1: the header {said}" in message
    assert "set reading: {delimiter: ...}" in message


def test_any_other_delimiter_is_set_on_the_card(tables):
    assert tables.rows(tables.write("u:i:r:t\na:b:1:10\n"), delimiter=":") == [("a", "b", 1.0, 10)]
    assert "cannot stand between columns" in tables.complaint(tables.write("u\n"), delimiter='"')


def test_columns_of_our_own_names_need_no_mapping(tables):
    path = tables.write("time,x,item,user,text\n10,0,b,a,Fine &amp; good \n")
    [batch], _ = tables.batches(path, {})
    assert batch.columns == ["user_id", "item_id", "rating", "time", "text"]
    assert batch.rows() == [("a", "b", None, 10, "Fine & good ")]


def test_texts_of_reviews_are_kept_as_wanted(tables):
    path = tables.write('u,i,r,t,head,body,who\na,b,1,10,So so,"Two\n lines &lt;3",Ann\nc,d,1,10,, ,\n')
    columns = {**tables.names, "headline": "head", "text": "body", "reviewer": "who"}
    [batch], _ = tables.batches(path, columns)
    assert batch.select("headline", "text").rows() == [("So so", "Two\n lines <3"), (None, None)]
    assert "reviewer" not in batch.columns
    assert tables.batches(path, columns, reviewer_names=True)[0][0]["reviewer"].to_list() == ["Ann", None]
    assert tables.batches(path, columns, reviews=False)[0][0].columns == ["user_id", "item_id", "rating", "time"]


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
def test_bad_tables_are_one_clear_line(tables, text, said):
    assert said in tables.complaint(tables.write(text))


def test_unmapped_times_and_equal_columns_are_refused(tables):
    path = tables.write("u,i,t\na,b,1\n")
    said = "the card maps no column to 'time'; events need an order: name the column of their times"
    assert said in tables.complaint(path, {"user": "u", "item": "i"})
    assert "users and items from the same column 'u'" in tables.complaint(path, {"user": "u", "item": "u", "time": "t"})


def test_broken_quoting_is_never_dropped(tables):
    path = tables.write('u,i,r,t\n"a"x,b,1,10\n')
    assert "row 2: broken quoting" in tables.complaint(path, drop=True)


def test_dropped_rows_are_counted_by_reason(tables):
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
    path = tables.write("\n".join(["u,i,r,t", *bad, "a,b,1,10"]))
    batches, rows = tables.batches(path, drop=True)
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


def test_a_file_of_bad_rows_alone_gives_an_empty_table(tables):
    batches, rows = tables.batches(tables.write("u,i,r,t\na\nb\n"), drop=True)
    assert [batch.height for batch in batches] == [0]
    assert batches[0].schema == {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "time": pl.Int64}
    assert rows.dropped == {"wrong number of fields": 2}


ids = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
any_table = st.lists(st.tuples(ids, ids, st.none() | st.integers(-5, 5), st.integers(0, 2**33)), min_size=1, max_size=8)


@FUZZ
@given(any_table, st.sampled_from(",\t;|"), st.booleans())
@example([("a\r", "b\r\n", 1, 0)], ",", False)
@example([('"', '"",\n', None, 0)], ",", True)
def test_what_the_csv_module_writes_is_read_exactly(tmp_path, tables, rows, delimiter, zipped):
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["u", "i", "r", "t"], *rows])
    raw = sink.getvalue().encode()
    path = tmp_path / "mine.csv"
    path.write_bytes(gzip.compress(raw) if zipped else raw)

    def line_feeds(text: str) -> str:
        return text.replace("\r\n", "\n")

    assert tables.rows(path) == [(line_feeds(user), line_feeds(item), *rest) for user, item, *rest in rows]


@FUZZ
@given(any_table)
def test_csv_and_parquet_of_polars_are_read_alike(tmp_path, tables, rows):
    written = pl.DataFrame(rows, schema={"u": pl.String, "i": pl.String, "r": pl.Int64, "t": pl.Int64}, orient="row")
    written.write_parquet(tmp_path / "mine.parquet")
    assert tables.rows(tmp_path / "mine.parquet") == rows
    if not any("\r" in user + item for user, item, *_ in rows):
        written.write_csv(tmp_path / "mine.csv")
        assert tables.rows(tmp_path / "mine.csv") == rows


def test_a_long_line_is_read(tables):
    body = "ab" * 5_000_000
    path = tables.write(f"u,i,r,t,body\na,b,1,10,{body}\n{body},b,1,10,\n")
    batches, _ = tables.batches(path, {**tables.names, "text": "body"})
    rows = pl.concat(batches)
    assert rows["text"].to_list() == [body, None]
    assert rows["user_id"].to_list() == ["a", body]


def test_messages_stay_short(tables):
    path = tables.write(f"u,i,r,t\na,b,{'9x' * 500_000},10\n")
    message = tables.complaint(path)
    assert "(1,000,000 characters) is not a finite number" in message
    assert len(message) < 400 + len(str(path))


def test_rows_keep_their_numbers_across_blocks(tables):
    # About 20 MiB, so that the file comes in several blocks, and a row of three lines at every hundredth place.
    pad = "x" * 180
    lines = [f'"u\n\n{row}",i,1,10,{pad}' if row % 100 == 0 else f"u{row},i,1,10,{pad}" for row in range(100_000)]
    path = tables.write("\n".join(["u,i,r,t,pad", *lines, "u,i,1,ten,", "u,i,1,10,"]))
    batches, rows = tables.batches(path, drop=True)
    assert len(batches) > 1
    assert rows.read == 100_002
    assert pl.concat(batches)["user_id"].n_unique() == 100_001
    assert f"row {1 + 100_000 + 2 * 1000 + 1}, column 't': 'ten'" in tables.complaint(path)


def test_memory_does_not_grow_with_the_file(tables):
    line = f"user,item,1,10,{'x' * 1000}\n"
    path = tables.write("u,i,r,t,pad\n" + line * 60_000)
    content = Content(path)
    tracemalloc.start()
    try:
        height = sum(batch.height for batch in read_interactions(content, Ask(tables.names, Reading()), Rows(content)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert height == 60_000
    assert peak < path.stat().st_size
