from __future__ import annotations

import gzip
import hashlib

import polars as pl
import pytest

from bench.data import load_card, load_dataset
from bench.data.add import write_card
from bench.errors import DataError, UsageError

SALES = "customer,sku,stars,when,said\na,x,5,2001-09-09,Good\nb,x,4,2001-09-10,\na,y,,2001-09-11,Fine\n"


@pytest.fixture
def add(tmp_path):
    """Write files and a card over them."""

    def write(content=SALES, *, items=None, file="data/sales.csv", **changes):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if items is not None:
            (tmp_path / "data" / "items.csv").write_text(items)
        asked = {
            "name": "shop",
            "user": "customer",
            "item": "sku",
            "time": "when",
            "time_format": "iso",
            "licence": "internal",
            "citation": "none",
            "folder": tmp_path / "cards",
            "items": None if items is None else tmp_path / "data" / "items.csv",
        }
        return write_card(path, **{**asked, **changes})

    return write


def test_a_card_is_written_that_loads(add, tmp_path):
    path = add(rating="stars", headline="said")
    assert path == tmp_path / "cards" / "shop.yaml"
    card = load_card(path)
    [events] = card.files.interactions
    assert (card.name, card.reader, card.order, card.licence, card.citation) == (
        "shop",
        "table",
        "time",
        "internal",
        "none",
    )
    assert card.counts.model_dump() == {"users": 2, "items": 2, "interactions": 3}
    assert card.reading.time_format == "iso"
    assert events.path == ("../data/sales.csv",)
    assert events.sha256 == hashlib.sha256(SALES.encode()).hexdigest()
    assert events.columns == {"user": "customer", "item": "sku", "time": "when", "rating": "stars", "headline": "said"}
    dataset = load_dataset(path)
    assert dataset.interactions.select("user_id", "item_id", "rating", "time").rows() == [
        ("a", "x", 5.0, 999993600),
        ("a", "y", None, 1000166400),
        ("b", "x", 4.0, 1000080000),
    ]


def test_the_folder_can_be_moved(add, tmp_path):
    add()
    (tmp_path / "cards").rename(tmp_path / "moved-cards")
    assert load_dataset(tmp_path / "moved-cards" / "shop.yaml").interactions.height == 3
    (tmp_path / "away").mkdir()
    (tmp_path / "data").rename(tmp_path / "away" / "data")
    (tmp_path / "moved-cards").rename(tmp_path / "away" / "cards")
    assert load_dataset(tmp_path / "away" / "cards" / "shop.yaml").interactions.height == 3


def test_items_come_along(add):
    items = "sku,name,tags\nx,Ex &amp; co,A|B\ny,,\nz,never bought,\n"
    path = add(items=items, item_columns={"item": "sku", "title": "name", "categories": "tags"})
    dataset = load_dataset(path)
    assert dataset.items.select("item_id", "title", "categories").rows() == [
        ("x", "Ex & co", ["A", "B"]),
        ("y", None, None),
    ]
    path = add(items="item,title\nx,Ex\n", name="own-names")
    assert load_dataset(path).items["title"].to_list() == ["Ex", None]


def test_compressed_and_parquet_files(add, tmp_path):
    path = add(gzip.compress(SALES.encode()), file="data/sales.csv.gz")
    assert load_card(path).files.interactions[0].sha256 == hashlib.sha256(SALES.encode()).hexdigest()
    assert load_dataset(path).interactions.height == 3
    pl.read_csv(SALES.encode(), try_parse_dates=True).write_parquet(tmp_path / "sales.parquet")
    path = add((tmp_path / "sales.parquet").read_bytes(), file="data/sales.parquet", name="shop-2", rating="stars")
    assert load_dataset(path).interactions["time"].to_list() == [999993600, 1000166400, 1000080000]


def test_settings_are_kept(add):
    content = "customer:sku:when:said\né:x:01.02.2001:ja\n".encode("latin-1")
    path = add(content, delimiter=":", time_format="%d.%m.%Y", encoding="latin-1", text="said")
    assert load_card(path).reading.model_dump(exclude_defaults=True) == {
        "encoding": "latin-1",
        "delimiter": ":",
        "time_format": "%d.%m.%Y",
    }
    assert load_dataset(path).interactions["user_id"].to_list() == ["é"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "My Shop"}, "not 'My Shop'"),
        ({"name": "../shop"}, "not '../shop'"),
        ({"delimiter": ",,"}, "delimiter ',,'"),
        ({"item_columns": {"item": "sku"}}, "no file of items"),
        ({"item_columns": {"titel": "name"}}, "did you mean 'title'?"),
    ],
)
def test_what_no_card_can_say_is_refused(add, tmp_path, changes, said):
    with pytest.raises(UsageError) as caught:
        add(**changes)
    assert said in str(caught.value)
    assert not (tmp_path / "cards").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user": "custmer"}, "row 1: column 'custmer' is missing: did you mean 'customer'?"),
        ({"time": None}, "the card maps no column to 'time'; events need an order"),
        ({"time_format": "seconds"}, "row 2, column 'when': '2001-09-09' is not a whole number of seconds"),
        ({"time_format": "minutes"}, "'minutes' (reading.time_format) is none of seconds"),
        ({"rating": "said"}, "row 2, column 'said': 'Good' is not a finite number"),
        ({"delimiter": ";"}, "column 'customer' is missing"),
    ],
)
def test_a_file_that_does_not_fit_leaves_no_card(add, tmp_path, changes, said):
    with pytest.raises(DataError) as caught:
        add(**changes)
    assert said in str(caught.value)
    assert str(tmp_path / "data" / "sales.csv") in str(caught.value)
    assert not (tmp_path / "cards").exists()


def test_bad_items_leave_no_card(add, tmp_path):
    with pytest.raises(DataError, match=r"items\.csv, row 3: item 'x' stands on row 2 already"):
        add(items="item,title\nx,Ex\nx,Ex\n")
    assert not (tmp_path / "cards").exists()


def test_a_folder_that_is_none_is_told(add, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"shop\.yaml: cannot be written"):
        add(folder=tmp_path / "file")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        write_card(
            tmp_path / "none.csv", name="x", user="u", item="i", time="t", licence="", citation="", folder=tmp_path
        )


def test_no_card_is_overwritten(add, tmp_path):
    path = add()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"shop\.yaml exists already"):
        add(SALES + "c,z,1,2001-09-12,\n")
    assert path.read_bytes() == before


def test_a_file_that_changed_is_noticed(add, tmp_path):
    path = add()
    (tmp_path / "data" / "sales.csv").write_text(SALES + "c,z,1,2001-09-12,\n")
    with pytest.raises(DataError, match="wrong checksum"):
        load_dataset(path)
