"""The reader of the Yelp Open Dataset."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers import json_lines, yelp
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError


def read(reader: Any, path: Path, *, drop: bool = False, **options: Any) -> tuple[pl.DataFrame, Rows]:
    rows = Rows(Content(path), drop)
    return pl.concat(reader(rows.content, Ask({}, Reading(**options)), rows)), rows


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def review(**changes: object) -> dict[str, Any]:
    return {
        "review_id": "KU_O5udG6zpxOg-VcAEodg",
        "user_id": "mh_-eMZ6K5RLWhZyISBhwA",
        "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
        "stars": 3.0,
        "useful": 0,
        "funny": 0,
        "cool": 0,
        "text": "If you decide to eat here, just be aware it is going to take about 2 hours.",
        "date": "2018-07-07 22:09:11",
        **changes,
    }


class TestReviews:
    def test_known_values(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(json_lines, "row_by_row")  # ordinary files do without
        path = write(
            tmp_path / "review.json", [review(), review(stars=5, text="A &amp; B\n\nC", date="1970-01-01 00:00:00")]
        )
        table, rows = read(yelp.read_interactions, path, reviewer_names=True)
        ids = ("mh_-eMZ6K5RLWhZyISBhwA", "XQfwVwDr-v0ZS3_CbbE5Xw")
        assert table.rows() == [
            (*ids, 3.0, 1531001351, review()["text"]),
            (*ids, 5.0, 0, "A & B\n\nC"),
        ]
        assert dict(table.schema) == {
            "user_id": pl.String,
            "item_id": pl.String,
            "rating": pl.Float32,
            "time": pl.Int64,
            "text": pl.String,
        }
        assert rows.read == 2

    def test_a_day_alone_is_its_first_second(self, tmp_path: Path) -> None:
        path = write(tmp_path / "review.json", [review(date="2012-02-29"), review(date="2019-12-31 00:00:00")])
        assert read(yelp.read_interactions, path)[0]["time"].to_list() == [1330473600, 1577750400]

    @settings(max_examples=60, deadline=None)
    @given(
        moments=st.lists(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59)), min_size=1, max_size=5)
    )
    def test_any_moment(self, moments: list[datetime], tmp_path_factory: Any) -> None:
        dates = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments]
        path = write(tmp_path_factory.mktemp("any") / "review.json", [review(date=date) for date in dates])
        expected = [int(moment.replace(microsecond=0, tzinfo=UTC).timestamp()) for moment in moments]
        assert read(yelp.read_interactions, path)[0]["time"].to_list() == expected

    @pytest.mark.parametrize(
        ("change", "column", "reason"),
        [
            ({"date": None}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "2018-02-30 10:00:00"}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "2018-07-07T22:09:11"}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "2018-7-7 22:09:11"}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "2018-07-07 22:09:60"}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "2018-07-07 24:00:00"}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "0000-00-00 00:00:00"}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": 1531001351}, "date", "time is not YYYY-MM-DD HH:MM:SS"),
            ({"date": "1969-12-31 23:59:59"}, "date", "negative time"),
            ({"stars": None}, "stars", "rating is not a finite number"),
            ({"user_id": ""}, "user_id", "empty id"),
            ({"business_id": 3}, "business_id", "id is not a text"),
            ({"text": ["a"]}, "text", "text is not a text"),
        ],
    )
    def test_unreadable_reviews(self, change: dict[str, Any], column: str, reason: str, tmp_path: Path) -> None:
        path = write(tmp_path / "review.json", [review(), review(**change), review()])
        with pytest.raises(DataError, match=f"review.json, row 2, column '{column}': "):
            read(yelp.read_interactions, path)
        table, rows = read(yelp.read_interactions, path, drop=True)
        assert table.height == 2
        assert (rows.read, rows.dropped) == (3, {reason: 1})


def test_businesses(tmp_path: Path) -> None:
    businesses = [
        {
            "business_id": "Pns2l4eNsfO8kk83dixA6A",
            "name": "Abby Rappoport, LAC &amp; CMQ",
            "city": "Santa Barbara",
            "attributes": {"ByAppointmentOnly": "True"},
            "categories": "Doctors, Traditional Chinese Medicine,  Doctors, Health &amp; Medical",
            "hours": None,
        },
        {"business_id": "2", "name": "", "categories": None},
        {"business_id": "3", "name": "Old edition", "categories": ["Food", "Bars", "Food"]},
        {"business_id": "4", "name": "One", "categories": "Food"},
    ]
    table, rows = read(yelp.read_items, write(tmp_path / "business.json", businesses))
    assert table.rows() == [
        (
            "Pns2l4eNsfO8kk83dixA6A",
            "Abby Rappoport, LAC & CMQ",
            ["Doctors", "Traditional Chinese Medicine", "Health & Medical"],
        ),
        ("2", None, None),
        ("3", "Old edition", ["Food", "Bars"]),
        ("4", "One", ["Food"]),
    ]
    assert dict(table.schema) == {"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)}
    assert rows.read == 4
    bad = write(tmp_path / "business.json", [businesses[0], {"business_id": "5", "categories": 5}])
    with pytest.raises(DataError, match="row 2, column 'categories': 5 is neither"):
        read(yelp.read_items, bad)


def test_users(tmp_path: Path) -> None:
    users = [
        {"user_id": "qVc8ODYU5SZjKXVBgXdI7w", "name": "Walker", "friends": "a, b", "elite": "2007"},
        {"user_id": "2", "name": ""},
        {"user_id": "3"},
    ]
    table, _ = read(yelp.read_users, write(tmp_path / "user.json", users))
    assert table.rows() == [("qVc8ODYU5SZjKXVBgXdI7w", "Walker"), ("2", None), ("3", None)]
    assert dict(table.schema) == {"user_id": pl.String, "reviewer": pl.String}
    with pytest.raises(DataError, match="row 4, column 'user_id': missing"):
        read(yelp.read_users, write(tmp_path / "user.json", [*users, {"name": "No one"}]))
