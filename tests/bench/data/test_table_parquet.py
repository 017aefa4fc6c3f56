"""Tables as Parquet: types of columns and values, names, damage, batches."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MOMENTS = [
    datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    datetime(2001, 9, 9, 1, 46, 40, 999_000, tzinfo=UTC),
]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_parquet_times_of_any_unit_and_zone(tables, unit, zone):
    whole = [moment.replace(microsecond=0) if unit == "s" else moment for moment in MOMENTS]
    stored = pa.array(
        [moment.replace(tzinfo=None) if zone is None else moment for moment in whole], pa.timestamp(unit, zone)
    )
    path = tables.parquet(u=["a", "b"], i=["c", "d"], r=[1.0, None], t=stored)
    assert tables.rows(path) == [("a", "c", 1.0, -1), ("b", "d", None, 10**9)]


def test_parquet_ids_and_other_types(tables):
    path = tables.parquet(
        u=pa.array([2**64 - 1, 7], pa.uint64()),
        i=pa.array(["x", " "], pa.large_string()).take(pa.array([0, 0])).dictionary_encode(),
        r=pa.array([Decimal("2.5"), None], pa.decimal128(4, 1)),
        t=pa.array([date(2001, 9, 9), date(1970, 1, 1)], pa.date32()),
    )
    assert tables.rows(path) == [("18446744073709551615", "x", 2.5, 10**9 - 6400), ("7", "x", None, 0)]
    path = tables.parquet(u=[1, 2], i=[-1, 0], r=["3", None], t=["2001-09-09T01:46:40Z", "1970-01-01"])
    assert tables.rows(path, time_format="iso") == [("1", "-1", 3.0, 10**9), ("2", "0", None, 0)]
    path = tables.parquet(u=[1], i=[1], r=[3], t=[20010909])
    assert tables.rows(path, time_format="%Y%m%d") == [("1", "1", 3.0, 10**9 - 6400)]
    path = tables.parquet(u=[1], i=[1], r=[3], t=[1.7e12])
    assert tables.rows(path, time_format="milliseconds") == [("1", "1", 3.0, 1_700_000_000)]


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
def test_bad_parquet_columns_are_one_clear_line(tables, changed, said):
    columns = {"u": ["a", "b"], "i": [1, 2], "r": [1.0, 2.0], "t": [1, 2], **changed}
    assert said in tables.complaint(tables.parquet(**columns))


def test_parquet_names(tmp_path, tables):
    good = {"i": [1], "r": [1.0], "t": [1]}
    assert "column 'u' is missing: did you mean 'uu'?" in tables.complaint(tables.parquet(uu=[1], **good))
    twice = pa.Table.from_arrays([pa.array(["a"])] * 4 + [pa.array([1])], names=["u", "u", "i", "r", "t"])
    pq.write_table(twice, tmp_path / "mine.parquet")
    assert "column 'u' stands twice" in tables.complaint(tmp_path / "mine.parquet")
    assert tables.rows(tables.parquet(**{"a.b": [1], **good}), {**tables.names, "user": "a.b"}) == [("1", "1", 1.0, 1)]


def test_damaged_and_packed_parquet_is_refused(tables):
    path = tables.parquet(u=["a"], i=["b"], r=[1.0], t=[1])
    raw = path.read_bytes()
    path.write_bytes(raw[:-5])
    assert "damaged or unreadable Parquet" in tables.complaint(path)
    path.write_bytes(gzip.compress(raw))
    assert "Parquet inside an archive or a compressed file: unpack it first" in tables.complaint(path)
    no_rows = tables.parquet(u=pa.array([], pa.string()), i=pa.array([], pa.string()), r=pa.nulls(0), t=pa.nulls(0))
    assert "no row" in tables.complaint(no_rows)


def test_parquet_texts_that_are_no_utf8_are_refused(tables):
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    path = tables.parquet(u=broken, i=["b"], r=[1.0], t=[1])
    assert "damaged or unreadable Parquet" in tables.complaint(path)


def test_parquet_comes_in_batches(tmp_path, tables):
    count = 150_000
    path = tmp_path / "mine.parquet"
    numbers = list(range(count))
    pq.write_table(pa.table({"u": numbers, "i": numbers, "r": numbers, "t": numbers}), path, row_group_size=100_000)
    batches, _ = tables.batches(path)
    assert len(batches) > 2
    assert pl.concat(batches)["time"].to_list() == numbers
    pq.write_table(pa.table({"u": numbers, "i": numbers, "r": numbers, "t": [*numbers[:-1], -5]}), path)
    assert f"row {count}, column 't'" in tables.complaint(path)
