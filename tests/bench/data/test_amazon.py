"""Readers of Amazon's reviews and products: 2014, 2018, 2023."""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers import amazon_2014, amazon_2018, amazon_2023, json_lines
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError


def read(reader: Any, path: Path, *, drop: bool = False, **options: Any) -> tuple[pl.DataFrame, Rows]:
    rows = Rows(Content(path), drop)
    return pl.concat(reader(rows.content, Ask({}, Reading(**options)), rows)), rows


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


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
    def test_musical_instruments_2014(self, shared_data: Path) -> None:
        path = real(shared_data, "reviews_Musical_Instruments_part.json.gz")
        table, rows = read(amazon_2014.read_interactions, path, reviewer_names=True)
        assert table.rows() == independent(path)
        assert (table.height, table["user_id"].n_unique(), table["item_id"].n_unique()) == (5050, 1381, 392)
        assert table["text"].null_count() == 2
        assert (rows.read, rows.dropped.total()) == (5050, 0)
        assert (table["time"] % 86_400 == 0).all()

    def test_all_beauty_2018(self, shared_data: Path) -> None:
        path = real(shared_data, "All_Beauty_5.json.gz")
        table, rows = read(amazon_2018.read_interactions, path, reviewer_names=True)
        assert table.rows() == independent(path)
        assert (table.height, table["user_id"].n_unique(), table["item_id"].n_unique()) == (5269, 991, 85)
        assert table.select("user_id", "item_id").n_unique() == 4092
        assert (rows.read, rows.dropped.total()) == (5269, 0)

    def test_schema(self, shared_data: Path) -> None:
        table, _ = read(amazon_2014.read_interactions, real(shared_data, "reviews_Musical_Instruments_part.json.gz"))
        assert dict(table.schema) == {
            "user_id": pl.String,
            "item_id": pl.String,
            "rating": pl.Float32,
            "time": pl.Int64,
            "headline": pl.String,
            "text": pl.String,
        }


ITEM_SCHEMA = {
    "item_id": pl.String,
    "title": pl.String,
    "categories": pl.List(pl.String),
    "brand": pl.String,
    "price": pl.Float32,
    "description": pl.String,
}


class TestProducts2014:
    def test_python_literals_and_json(self, tmp_path: Path) -> None:
        products = [
            {
                "asin": "0001",
                "title": 'Nail  Polish &amp; "Remover"',
                "price": 9.99,
                "imUrl": "http://example.org/1.jpg",
                "brand": "L'Or&eacute;al",
                "categories": [["Beauty", "Makeup", "Nails"], ["Beauty", "Nails"], ["Sale"]],
                "description": "It's\ttwo\nlines\\ ",
                "related": {"also_bought": ["0002", "0003"]},
                "salesRank": {"Beauty": 7},
            },
            {"asin": "0002", "categories": [["Beauty"]], "brand": "", "title": " ", "description": ""},
            {"asin": "0003", "categories": [[]], "price": 1e39},
            {"asin": "0004", "title": None, "categories": None, "price": None},
        ]
        for write_one in (repr, json.dumps):
            table, rows = read(amazon_2014.read_items, write(tmp_path / "meta.json", list(map(write_one, products))))
            assert dict(table.schema) == ITEM_SCHEMA
            assert rows.read == 4
            assert table.rows() == [
                (
                    "0001",
                    'Nail Polish & "Remover"',
                    ["Makeup", "Nails", "Sale"],
                    "L'Oréal",
                    pytest.approx(9.99),
                    "It's two lines\\",
                ),
                ("0002", None, ["Beauty"], None, None, None),
                ("0003", None, None, None, None, None),
                ("0004", None, None, None, None, None),
            ]

    def test_reviews_as_python_literals(self, tmp_path: Path) -> None:
        review = {
            "reviewerID": "U'1",
            "asin": "0001",
            "reviewText": 'It\'s "so so"',
            "overall": 3.0,
            "summary": "café",
            "unixReviewTime": 86400,
        }
        path = write(tmp_path / "r.json", [repr(review), json.dumps(review)])
        table, _ = read(amazon_2014.read_interactions, path)
        assert table.rows() == [("U'1", "0001", 3.0, 86400, "café", 'It\'s "so so"')] * 2

    @pytest.mark.parametrize(
        ("change", "column", "reason"),
        [
            ({"asin": None}, "asin", "empty id"),
            ({"asin": 7}, "asin", "id is not a text"),
            ({"title": ["a"]}, "title", "title is not a text"),
            ({"brand": 3}, "brand", "brand is not a text"),
            ({"categories": 3}, "categories", "categories are not names"),
            ({"categories": [["a", 3]]}, "categories", "categories are not names"),
            ({"categories": [["a"], "b"]}, "categories", "categories are not names"),
            ({"price": [1]}, "price", "price is not a number or a text"),
            ({"price": True}, "price", "price is not a number or a text"),
            ({"description": {"a": 1}}, "description", "description is not a text"),
        ],
    )
    def test_unreadable_products(self, change: dict[str, Any], column: str, reason: str, tmp_path: Path) -> None:
        good = repr({"asin": "1"})
        path = write(tmp_path / "meta.json", [good, repr({"asin": "2", **change}), good])
        with pytest.raises(DataError, match=f"meta.json, row 2, column '{column}': "):
            read(amazon_2014.read_items, path)
        table, rows = read(amazon_2014.read_items, path, drop=True)
        assert table["item_id"].to_list() == ["1", "1"]
        assert rows.dropped == {reason: 1}


class TestProducts2018:
    @pytest.mark.parametrize(
        ("written", "price"),
        [
            ("$12.99", 12.99),
            ("12", 12.0),
            (" $1,299.00 ", 1299.0),
            (3.5, 3.5),
            (4, 4.0),
            ("$5.99 - $9.99", None),
            ("", None),
            (None, None),
            (".a-box-inner{background-color:#fff}#alohaBuyBoxWidget", None),
            ("from $7.50", None),
            ("$", None),
            ("$-5", None),
            ("$1,2,3", None),
            ("٣", None),
            ("9" * 60, None),
            (float("nan"), None),
            (float("inf"), None),
        ],
    )
    def test_price(self, written: object, price: float | None, tmp_path: Path) -> None:
        path = write(tmp_path / "meta.json", [json.dumps({"asin": "1", "price": written})])
        table, rows = read(amazon_2018.read_items, path)
        assert table["price"].to_list() == [pytest.approx(price) if price is not None else None]
        assert not rows.dropped

    def test_what_is_left_of_web_pages(self, tmp_path: Path) -> None:
        product = {
            "asin": "1",
            "title": "var aPageStart = (new Date()).getTime();",
            "category": ["Beauty", "Tools &amp; Brushes", "</span></span></span>", "Brushes", "Brushes"],
            "brand": "\n  Acme\n",
            "description": ["One.", "", "Two &gt; one."],
            "feature": [],
        }
        lines = [json.dumps(product), json.dumps({"asin": "2", "category": [], "description": [], "title": "A&amp;B"})]
        table, _ = read(amazon_2018.read_items, write(tmp_path / "meta.json", lines))
        assert dict(table.schema) == ITEM_SCHEMA
        assert table.rows() == [
            ("1", None, ["Tools & Brushes", "Brushes"], "Acme", None, "One. Two > one."),
            ("2", "A&B", None, None, None, None),
        ]


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
    def test_json_lines(self, tmp_path: Path) -> None:
        path = write(tmp_path / "All_Beauty.jsonl", [review_2023(), review_2023(timestamp=882921600999, title="")])
        table, rows = read(amazon_2023.read_interactions, path, reviewer_names=True)
        user, text = "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "It & I.<br />Fine."
        assert table.columns == ["user_id", "item_id", "rating", "time", "headline", "text"]
        assert table.rows() == [
            (user, "B00PARENT0", 5.0, 1588687728, "Such a lovely scent", text),
            (user, "B00PARENT0", 5.0, 882921600, None, text),
        ]
        assert rows.read == 2

    def test_either_item_id(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.jsonl", [review_2023()])
        assert read(amazon_2023.read_interactions, path, item="asin")[0]["item_id"].to_list() == ["B00YQ6X8EO"]
        without = write(tmp_path / "r.jsonl", [review_2023(), review_2023(asin=None)])
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
        self, timestamp: float, reason: str, said: str, as_table: bool, tmp_path: Path
    ) -> None:
        lines = [review_2023(), review_2023(timestamp=timestamp)]
        if as_table:
            lines = ["user_id,parent_asin,rating,timestamp", "u,i,5.0,1588687728923", f"u,i,5.0,{timestamp}"]
        path = write(tmp_path / "r.txt", lines)
        row = 3 if as_table else 2
        with pytest.raises(DataError, match=f"row {row}, column 'timestamp': '?{said}"):
            read(amazon_2023.read_interactions, path)
        table, rows = read(amazon_2023.read_interactions, path, drop=True)
        assert table["time"].to_list() == [1588687728]
        assert rows.dropped == {reason: 1}

    def test_years_before_2001_have_twelve_digits(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.jsonl", [review_2023(timestamp=10**11)])
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
    def test_published_splits(self, history: bool, zipped: bool, tmp_path: Path) -> None:
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

    def test_columns_in_another_order(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.csv", ["timestamp,asin,user_id,rating", "1588687728999,A1,U,2.5"])
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
    def test_unreadable_rows(self, bad: str, said: str, reason: str, tmp_path: Path) -> None:
        good = "AF1,B1,5.0,1588687728999"
        path = write(tmp_path / "r.csv", [self.HEADER, good, bad, good])
        with pytest.raises(DataError, match=said):
            read(amazon_2023.read_interactions, path)
        table, rows = read(amazon_2023.read_interactions, path, drop=True)
        assert table.height == 2
        assert (rows.read, rows.dropped) == (3, {reason: 1})

    def test_blocks_of_any_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(tmp_path / "r.csv", [self.HEADER, *(f"u{n},i{n % 7},{n % 5}.0,{10**12 + n}" for n in range(200))])
        whole, _ = read(amazon_2023.read_interactions, path)
        usual = Content.blocks
        for size in (1, 10, 40, 1000):

            def blocks(self: Content, *, size: int = size, encoding: str = "utf-8") -> Iterator[Any]:
                return usual(self, size=size, encoding=encoding)

            monkeypatch.setattr(Content, "blocks", blocks)
            parts, rows = read(amazon_2023.read_interactions, path)
            assert parts.equals(whole)
            assert rows.read == 200

    def test_a_header_alone(self, tmp_path: Path) -> None:
        table, rows = read(amazon_2023.read_interactions, write(tmp_path / "r.csv", [self.HEADER]))
        assert (table.height, rows.read) == (0, 0)

    def test_a_header_without_the_columns(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.csv", ["user,item,rating,timestamp", "u,i,5,1588687728999"])
        with pytest.raises(DataError, match="row 1: column 'user_id' is missing"):
            read(amazon_2023.read_interactions, path)


class TestProducts2023:
    def test_metadata(self, tmp_path: Path) -> None:
        lines = [
            {
                "main_category": "All Beauty",
                "title": "Howard LC0008 Leather Conditioner, 8-Ounce",
                "price": 12.5,
                "store": "Howard &amp; Co",
                "categories": ["Beauty & Personal Care", "Hair Care", "Shampoo"],
                "description": ["First.", " Second."],
                "details": {"Package Dimensions": "7 x 5"},
                "parent_asin": "B01CUPMQZE",
                "bought_together": None,
            },
            {
                "main_category": "All Beauty",
                "title": "Yes to Tomatoes",
                "price": None,
                "store": None,
                "categories": [],
                "description": [],
                "parent_asin": "B076WQZGPM",
            },
            {"parent_asin": "B3", "main_category": None, "categories": ["Beauty"], "price": "from 8.99", "title": ""},
        ]
        path = write(tmp_path / "meta.jsonl", list(map(json.dumps, lines)))
        for item in ("parent_asin", "asin"):
            table, _ = read(amazon_2023.read_items, path, item=item)
            assert dict(table.schema) == ITEM_SCHEMA
            assert table.rows() == [
                (
                    "B01CUPMQZE",
                    "Howard LC0008 Leather Conditioner, 8-Ounce",
                    ["Hair Care", "Shampoo"],
                    "Howard & Co",
                    12.5,
                    "First. Second.",
                ),
                ("B076WQZGPM", "Yes to Tomatoes", ["All Beauty"], None, None, None),
                ("B3", None, ["Beauty"], None, None, None),
            ]
