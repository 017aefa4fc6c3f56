"""Ratings and times in tables of text, in every form that is read and in those that are refused."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("cell", "value"),
    [("5", 5), (" 5 ", 5), ("+5", 5), ("-.5", -0.5), ("1e3", 1000), ("5.", 5), ("", None), ("  ", None), ("-0", 0)],
)
def test_ratings_are_read(tables, cell, value):
    assert tables.rows(tables.write(f"u,i,r,t\na,b,{cell},10\n")) == [("a", "b", value, 10)]


@pytest.mark.parametrize(
    "cell",
    ["NaN", "nan", "inf", "-Infinity", "1_000", "1e39", "1e400", "٣", "\uff15", "3 4", "five", "0x1", "--1", "\u22121"],
)
def test_ratings_are_refused(tables, cell):
    assert f"row 2, column 'r': {cell!r} is not a finite number" in tables.complaint(
        tables.write(f"u,i,r,t\na,b,{cell},10\n")
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
def test_times_are_read(tables, time_format, cell, seconds):
    path = tables.write(f"u,i,r,t\na,b,,{cell}\n")
    assert tables.rows(path, time_format=time_format) == [("a", "b", None, seconds)]


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
def test_times_are_refused(tables, time_format, cell, said):
    path = tables.write(f"u,i,r,t\na,b,,{cell}\n")
    if said is None:
        assert len(tables.rows(path, time_format=time_format)) == 1
    else:
        message = tables.complaint(path, time_format=time_format)
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
def test_bad_time_formats_are_refused(tables, time_format, said):
    assert said in tables.complaint(tables.write("u,i,r,t\na,b,,1\n"), time_format=time_format)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.datetimes(
        datetime(1900, 1, 2), datetime(2262, 1, 1), timezones=st.none() | st.just(timezone(timedelta(hours=5)))
    )
)
def test_iso_times_agree_with_pandas(tables, moment):
    expected = pd.Timestamp(moment)
    expected = expected if expected.tzinfo else expected.tz_localize("UTC")
    path = tables.write(f"u,i,r,t\na,b,,{moment.isoformat()}\n")
    assert tables.rows(path, time_format="iso")[0][3] == (expected - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1s")
