"""Readers of Amazon's products: 2014, 2018, 2023."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.data.readers import amazon_2014, amazon_2018, amazon_2023
from bench.data.readers.base import Rows
from bench.errors import DataError

Read = Callable[..., tuple[pl.DataFrame, Rows]]
Write = Callable[[Path, list[str]], Path]

ITEM_SCHEMA = {
    "item_id": pl.String,
    "title": pl.String,
    "categories": pl.List(pl.String),
    "brand": pl.String,
    "price": pl.Float32,
    "description": pl.String,
}


class TestProducts2014:
    def test_python_literals_and_json(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
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
            table, rows = read(
                amazon_2014.read_items, write_lines(tmp_path / "meta.json", list(map(write_one, products)))
            )
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
    def test_unreadable_products(
        self, change: dict[str, Any], column: str, reason: str, read: Read, write_lines: Write, tmp_path: Path
    ) -> None:
        good = repr({"asin": "1"})
        path = write_lines(tmp_path / "meta.json", [good, repr({"asin": "2", **change}), good])
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
    def test_price(self, written: object, price: float | None, read: Read, write_lines: Write, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "meta.json", [json.dumps({"asin": "1", "price": written})])
        table, rows = read(amazon_2018.read_items, path)
        assert table["price"].to_list() == [pytest.approx(price) if price is not None else None]
        assert not rows.dropped

    def test_what_is_left_of_web_pages(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        product = {
            "asin": "1",
            "title": "var aPageStart = (new Date()).getTime();",
            "category": ["Beauty", "Tools &amp; Brushes", "</span></span></span>", "Brushes", "Brushes"],
            "brand": "\n  Acme\n",
            "description": ["One.", "", "Two &gt; one."],
            "feature": [],
        }
        lines = [json.dumps(product), json.dumps({"asin": "2", "category": [], "description": [], "title": "A&amp;B"})]
        table, _ = read(amazon_2018.read_items, write_lines(tmp_path / "meta.json", lines))
        assert dict(table.schema) == ITEM_SCHEMA
        assert table.rows() == [
            ("1", None, ["Tools & Brushes", "Brushes"], "Acme", None, "One. Two > one."),
            ("2", "A&B", None, None, None, None),
        ]


class TestProducts2023:
    def test_metadata(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
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
        path = write_lines(tmp_path / "meta.jsonl", list(map(json.dumps, lines)))
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
