"""Readers of Amazon's reviews: 2014, 2018, and 2023 as JSON lines and as tables."""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.data.content import Content
from bench.data.readers import amazon_2014, amazon_2018, amazon_2023, json_lines
from bench.data.readers.base import Rows
from bench.errors import DataError

Read = Callable[..., tuple[pl.DataFrame, Rows]]
Write = Callable[[Path, list[str]], Path]


@pytest.fixture
def careful_road_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordinary files are read block-wise; the road for unusual rows costs several times as much."""

    def closed(*_: object) -> None:
        raise AssertionError("an ordinary block was read row by row")

    monkeypatch.setattr(json_lines, "row_by_row", closed)


def real(folder: Path, name: str) -> Path:
    path = folder / "amazon" / name
    if not path.is_file():
        pytest.skip(f"needs the real reviews at BENCH_DATA_DIR/amazon/{name}")
    return path


def independent(path: Path) -> list[tuple[Any, ...]]:
    """Both formats by the json module, a line at a time."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            texts = (record.get(key) for key in ("summary", "reviewText", "reviewerName"))
            prose = [html.unescape(one) if one is not None and one.strip() else None for one in texts]
            ids = (record["reviewerID"], record["asin"])
            found.append((*ids, record["overall"], record["unixReviewTime"], *prose))
    return found


@pytest.mark.usefixtures("careful_road_closed")
class TestRealReviews:
    def test_musical_instruments_2014(self, read: Read, shared_data: Path) -> None:
        path = real(shared_data, "reviews_Musical_Instruments_part.json.gz")
        table, rows = read(amazon_2014.read_interactions, path, reviewer_names=True)
        assert table.rows() == independent(path)
        assert (table.height, table["user_id"].n_unique(), table["item_id"].n_unique()) == (5050, 1381, 392)
        assert table["text"].null_count() == 2
        assert (rows.read, rows.dropped.total()) == (5050, 0)
        assert (table["time"] % 86_400 == 0).all()

    def test_all_beauty_2018(self, read: Read, shared_data: Path) -> None:
        path = real(shared_data, "All_Beauty_5.json.gz")
        table, rows = read(amazon_2018.read_interactions, path, reviewer_names=True)
        assert table.rows() == independent(path)
        assert (table.height, table["user_id"].n_unique(), table["item_id"].n_unique()) == (5269, 991, 85)
        assert table.select("user_id", "item_id").n_unique() == 4092
        assert (rows.read, rows.dropped.total()) == (5269, 0)

    def test_schema(self, read: Read, shared_data: Path) -> None:
        table, _ = read(amazon_2014.read_interactions, real(shared_data, "reviews_Musical_Instruments_part.json.gz"))
        assert dict(table.schema) == {
            "user_id": pl.String,
            "item_id": pl.String,
            "rating": pl.Float32,
            "time": pl.Int64,
            "headline": pl.String,
            "text": pl.String,
        }


class TestReviews2014:
    def test_reviews_as_python_literals(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        review = {
            "reviewerID": "U'1",
            "asin": "0001",
            "reviewText": 'It\'s "so so"',
            "overall": 3.0,
            "summary": "café",
            "unixReviewTime": 86400,
        }
        path = write_lines(tmp_path / "r.json", [repr(review), json.dumps(review)])
        table, _ = read(amazon_2014.read_interactions, path)
        assert table.rows() == [("U'1", "0001", 3.0, 86400, "café", 'It\'s "so so"')] * 2


def review_2023(**changes: object) -> str:
    review = {
        "rating": 5.0,
        "title": "Such a lovely scent",
        "text": "It &amp; I.<br />Fine.",
        "images": [],
        "asin": "B00YQ6X8EO",
        "parent_asin": "B00PARENT0",
        "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    return json.dumps({**review, **changes})


class TestReviews2023:
    @pytest.mark.usefixtures("careful_road_closed")
    def test_json_lines(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        path = write_lines(
            tmp_path / "All_Beauty.jsonl", [review_2023(), review_2023(timestamp=882921600999, title="")]
        )
        table, rows = read(amazon_2023.read_interactions, path, reviewer_names=True)
        user, text = "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "It & I.<br />Fine."
        assert table.columns == ["user_id", "item_id", "rating", "time", "headline", "text"]
        assert table.rows() == [
            (user, "B00PARENT0", 5.0, 1588687728, "Such a lovely scent", text),
            (user, "B00PARENT0", 5.0, 882921600, None, text),
        ]
        assert rows.read == 2

    def test_either_item_id(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "r.jsonl", [review_2023()])
        assert read(amazon_2023.read_interactions, path, item="asin")[0]["item_id"].to_list() == ["B00YQ6X8EO"]
        without = write_lines(tmp_path / "r.jsonl", [review_2023(), review_2023(asin=None)])
        assert read(amazon_2023.read_interactions, without)[0].height == 2
        with pytest.raises(DataError, match="row 2, column 'asin': missing"):
            read(amazon_2023.read_interactions, without, item="asin")

    @pytest.mark.parametrize("as_table", [False, True])
    @pytest.mark.parametrize(
        ("timestamp", "reason", "said"),
        [
            (1588687728, "time is not in milliseconds", "1588687728 is not a time in milliseconds.*in seconds"),
            (99_999_999_999, "time is not in milliseconds", "99999999999 is not a time in milliseconds"),
            (10**13, "time is not in milliseconds", "10000000000000 is not a time in milliseconds"),
            (-1588687728923, "negative time", "negative time -1588687728923"),
            (1588687728923.5, "time is not a whole number of milliseconds", "1588687728923.5'? is not a whole number"),
        ],
    )
    def test_no_other_unit_is_guessed_at(
        self, timestamp: float, reason: str, said: str, as_table: bool, read: Read, write_lines: Write, tmp_path: Path
    ) -> None:
        lines = [review_2023(), review_2023(timestamp=timestamp)]
        if as_table:
            lines = ["user_id,parent_asin,rating,timestamp", "u,i,5.0,1588687728923", f"u,i,5.0,{timestamp}"]
        path = write_lines(tmp_path / "r.txt", lines)
        row = 3 if as_table else 2
        with pytest.raises(DataError, match=f"row {row}, column 'timestamp': '?{said}"):
            read(amazon_2023.read_interactions, path)
        table, rows = read(amazon_2023.read_interactions, path, drop=True)
        assert table["time"].to_list() == [1588687728]
        assert rows.dropped == {reason: 1}

    def test_years_before_2001_have_twelve_digits(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "r.jsonl", [review_2023(timestamp=10**11)])
        assert read(amazon_2023.read_interactions, path)[0]["time"].to_list() == [10**8]


class TestTables2023:
    HEADER = "user_id,parent_asin,rating,timestamp"

    def lines(self, history: bool) -> list[str]:
        rows = ["AF1,B1,5.0,1588687728999", "AF2,B2,4,882921600000", "AF1,B3,1.0,1588687729000"]
        histories = ["", "B9", "B1 B2"]
        if history:
            return [self.HEADER + ",history", *(f"{row},{past}" for row, past in zip(rows, histories, strict=True))]
        return [self.HEADER, *rows]

    @pytest.mark.usefixtures("careful_road_closed")
    @pytest.mark.parametrize("history", [False, True])
    @pytest.mark.parametrize("zipped", [False, True])
    def test_published_splits(self, history: bool, zipped: bool, read: Read, tmp_path: Path) -> None:
        content = "\n".join(self.lines(history)).encode()
        path = tmp_path / "Video_Games.train.csv.gz"
        path.write_bytes(gzip.compress(content) if zipped else content)
        table, rows = read(amazon_2023.read_interactions, path)
        assert table.rows() == [
            ("AF1", "B1", 5.0, 1588687728),
            ("AF2", "B2", 4.0, 882921600),
            ("AF1", "B3", 1.0, 1588687729),
        ]
        assert dict(table.schema) == {
            "user_id": pl.String,
            "item_id": pl.String,
            "rating": pl.Float32,
            "time": pl.Int64,
        }
        assert rows.read == 3

    def test_columns_in_another_order(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "r.csv", ["timestamp,asin,user_id,rating", "1588687728999,A1,U,2.5"])
        assert read(amazon_2023.read_interactions, path, item="asin")[0].rows() == [("U", "A1", 2.5, 1588687728)]

    @pytest.mark.parametrize(
        ("bad", "said", "reason"),
        [
            ("AF1,B1,5.0", "row 3: 3 fields where the header has 4", "wrong number of fields"),
            ("AF1,B1,5.0,1588687728999,x", "row 3: 5 fields where the header has 4", "wrong number of fields"),
            ("", "row 3: 1 fields where the header has 4", "wrong number of fields"),
            ('"AF1",B1,5.0,1588687728999', "row 3: a quotation mark stands in a table without", "quotation mark"),
            (",B1,5.0,1588687728999", "row 3, column 'user_id': empty id", "empty id"),
            ("AF1, ,5.0,1588687728999", "row 3, column 'parent_asin': empty id", "empty id"),
            ("AF1,B1,,1588687728999", "row 3, column 'rating': '' is not a finite", "rating is not a finite number"),
            ("AF1,B1,nan,1588687728999", "row 3, column 'rating': 'nan' is not", "rating is not a finite number"),
            (
                "AF1,B1,5.0,yesterday",
                "row 3, column 'timestamp': 'yesterday' is not a whole number of milliseconds",
                "time is not a whole number of milliseconds",
            ),
        ],
    )
    def test_unreadable_rows(
        self, bad: str, said: str, reason: str, read: Read, write_lines: Write, tmp_path: Path
    ) -> None:
        good = "AF1,B1,5.0,1588687728999"
        path = write_lines(tmp_path / "r.csv", [self.HEADER, good, bad, good])
        with pytest.raises(DataError, match=said):
            read(amazon_2023.read_interactions, path)
        table, rows = read(amazon_2023.read_interactions, path, drop=True)
        assert table.height == 2
        assert (rows.read, rows.dropped) == (3, {reason: 1})

    def test_blocks_of_any_size(
        self, read: Read, write_lines: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_lines(
            tmp_path / "r.csv", [self.HEADER, *(f"u{n},i{n % 7},{n % 5}.0,{10**12 + n}" for n in range(200))]
        )
        whole, _ = read(amazon_2023.read_interactions, path)
        usual = Content.blocks
        for size in (1, 10, 40, 1000):

            def blocks(self: Content, *, size: int = size, encoding: str = "utf-8") -> Iterator[Any]:
                return usual(self, size=size, encoding=encoding)

            monkeypatch.setattr(Content, "blocks", blocks)
            parts, rows = read(amazon_2023.read_interactions, path)
            assert parts.equals(whole)
            assert rows.read == 200

    def test_a_header_alone(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        table, rows = read(amazon_2023.read_interactions, write_lines(tmp_path / "r.csv", [self.HEADER]))
        assert (table.height, rows.read) == (0, 0)

    def test_a_header_without_the_columns(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "r.csv", ["user,item,rating,timestamp", "u,i,5,1588687728999"])
        with pytest.raises(DataError, match="row 1: column 'user_id' is missing"):
            read(amazon_2023.read_interactions, path)
