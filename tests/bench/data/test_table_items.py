"""Tables of items: what is tidied in their columns, and rows that are refused."""

from __future__ import annotations

import polars as pl
import pytest

ITEM_NAMES = {
    "item": "sku",
    "title": "name",
    "categories": "tags",
    "year": "y",
    "brand": "b",
    "price": "p",
    "description": "d",
}


def test_items_with_everything(tables):
    text = (
        "sku,name,tags,y,b,p,d\n"
        ' x ,Salt &amp;  Pepper,"Food|Spices; hot|Food",1999,A &amp; B,2.5," a\n b "\n'
        "y,,Pizza &amp; Pasta;Bars,1999.0,,,\n"
        'z, ,"[""A;B"", ""C|D""]",,,0,\n'
        "w,W,,,,,\n"
    )
    [batch], _ = tables.batches(tables.write(text), ITEM_NAMES, items=True)
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


def test_items_of_our_own_names_and_of_parquet(tables):
    assert tables.rows(tables.write("item,x\na,1\nb,2\n"), {}, items=True) == [("a", None, None), ("b", None, None)]
    path = tables.parquet(
        item=[1, 2, 3],
        categories=[["A", None, "B"], [], None],
        year=[1999.0, None, 2000.0],
        price=[1, None, 2],
    )
    assert tables.rows(path, {}, items=True) == [
        ("1", None, ["A", "B"], "1999", 1.0),
        ("2", None, None, None, None),
        ("3", None, None, "2000", 2.0),
    ]
    path = tables.parquet(item=[1], categories=["A|B"], title=["T"])
    assert tables.rows(path, {}, items=True) == [("1", "T", ["A", "B"])]


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
def test_bad_items_are_one_clear_line(tables, row, said):
    path = tables.write(f"item,categories,year,brand,price,title\na,,,,,\n{row}\nc,,,,,\n")
    assert said in tables.complaint(path, {}, items=True)
    batches, rows = tables.batches(path, {}, items=True, drop=True)
    assert pl.concat(batches)["item_id"].to_list() == ["a", "c"]
    assert sum(rows.dropped.values()) == 1
