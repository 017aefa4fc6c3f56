from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.data import Dataset, load_dataset
from bench.data.card import READERS as CARD_READERS
from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers import READERS, reader_named
from bench.data.readers.base import Ask, Rows
from bench.errors import DataError

EVENTS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEMS = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
GOOD_EVENTS = EVENTS + "u\ti\t3\t10\n"
GOOD_SEQUENCES = "1 1 2\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "a.inter: the file is empty"),
        ("\n\n", "a.inter: the file is empty"),
        (EVENTS, "a.inter: there is a header, but no row"),
        ("user_id:token\titem_id:token\trating:float\nu\ti\t3\n", "row 1: column 'timestamp' is missing"),
        (EVENTS.replace("item_id", "user_id") + "u\ti\t3\t10\n", "row 1: column 'user_id' stands twice"),
        (GOOD_EVENTS + "u\tj\tfour\t10\n", "row 3, column 'rating': 'four' is not a finite number"),
        (GOOD_EVENTS + "u\tj\tnan\t10\n", "row 3, column 'rating': 'nan' is not a finite number"),
        (GOOD_EVENTS + "u\tj\tinf\t10\nu\tk\tx\t10\n", "'inf' is not a finite number (and 1 more rows)"),
        (GOOD_EVENTS + "u\tj\t4\tyesterday\n", "row 3, column 'timestamp': 'yesterday' is not a whole number"),
        (GOOD_EVENTS + "u\tj\t4\t\n", "row 3, column 'timestamp': '' is not a whole number"),
        (GOOD_EVENTS + "u\tj\t4\t10.5\n", "row 3, column 'timestamp': '10.5' is not a whole number"),
        (GOOD_EVENTS + "u\tj\t4\t1e300\n", "row 3, column 'timestamp': '1e300' is not a whole number"),
        (GOOD_EVENTS + "u\tj\t4\n", "row 3: 3 fields where the header has 4"),
        (GOOD_EVENTS + "u\tj\t4\t10\t9\n", "row 3: 5 fields where the header has 4"),
        (GOOD_EVENTS + "\nu\tj\t4\t10\n", "row 3: 1 fields where the header has 4"),
        (GOOD_EVENTS + "\tj\t4\t10\n", "row 3, column 'user_id': empty id"),
        (GOOD_EVENTS + "u\t\t4\t10\n", "row 3, column 'item_id': empty id"),
        (GOOD_EVENTS.encode() + b"u\t\xe9\t4\t10\n", "row 3: byte 0xe9 is not UTF-8"),
        (GOOD_EVENTS.encode("utf-16"), "row 1: byte 0xff is not UTF-8"),
        (gzip.compress(GOOD_EVENTS.encode(), mtime=0)[:-9], "damaged or truncated gzip"),
        (gzip.compress(GOOD_EVENTS.encode(), mtime=0)[:12], "damaged or truncated gzip"),
        (b"\x1f\x8b" + b"garbage" * 9, "damaged or truncated gzip"),
    ],
)
def test_bad_events_are_one_clear_line(tmp_path, card_of, content, complaint):
    refused(card_of(tmp_path, "recbole-atomic", {"interactions": content}), "a.inter", complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "a.item: the file is empty"),
        (ITEMS.replace("movie_title", "name") + "i\tT\t1999\tA\n", "row 1: column 'movie_title' is missing"),
        (ITEMS + "i\tT\t1999\tA\ni\tU\t1999\tA\n", "row 3: item 'i' stands on row 2 already"),
        (ITEMS + "i\tT\t1999\n", "row 2: 3 fields where the header has 4"),
    ],
)
def test_bad_item_tables_are_one_clear_line(tmp_path, card_of, content, complaint):
    refused(card_of(tmp_path, "recbole-atomic", {"interactions": GOOD_EVENTS, "items": content}), "a.item", complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "s.txt: the file is empty"),
        ("1 1 2\n2\n", "row 2: 1 fields where a user and at least one item are needed"),
        ("1 1 2\n\n2 1\n", "row 2: 0 fields where a user and at least one item are needed"),
        ("1 1 2\n2 1\n1 3\n", "row 3: user '1' stands on row 1 already"),
        (b"1 1\n2 \xff\n", "row 2: byte 0xff is not UTF-8"),
        (gzip.compress(b"1 1 2\n" * 99, mtime=0)[:-1], "damaged or truncated gzip"),
    ],
)
def test_bad_sequences_are_one_clear_line(tmp_path, card_of, content, complaint):
    refused(card_of(tmp_path, "s3rec", {"interactions": content}), "s.txt", complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"id": 1, "title": "T"\n', "row 1: not JSON"),
        ('{"id": 1}\n[1]\n', "row 2: not a JSON object"),
        ("[" * 100_000, "row 1: not JSON"),
        ('{"title": "T"}\n', "row 1, column 'id': missing, or not an id"),
        ('{"id": true}\n', "row 1, column 'id': missing, or not an id"),
        ('{"id": 1, "title": 7}\n', "row 1, column 'title': not a text"),
        ('{"id": 1, "categories": 7}\n', "row 1, column 'categories': not a list of names"),
        ('{"id": 1, "categories": [["a", 7]]}\n', "row 1, column 'categories': not a list of names"),
        ('{"id": 1}\n{"id": "1"}\n', "row 2: item '1' stands on row 1 already"),
    ],
)
def test_bad_item_lines_are_one_clear_line(tmp_path, card_of, content, complaint):
    refused(card_of(tmp_path, "s3rec", {"interactions": GOOD_SEQUENCES, "items": content}), "s.jsonl", complaint)


def test_counts_that_differ_from_the_card_are_named(tmp_path, card_of):
    counts = {"users": 1, "items": 3, "interactions": 1200}
    card = card_of(tmp_path, "s3rec", {"interactions": GOOD_SEQUENCES}, counts=counts)
    refused(card, "s.txt", "items: expected 3, found 2; interactions: expected 1,200, found 2")


def refused(card, file, complaint):
    with pytest.raises(DataError) as caught:
        load_dataset(card)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert complaint in message
    assert str(card.parent / file) in message
    assert "\n" not in message


def test_atomic_files_are_read_as_they_are(tmp_path, card_of):
    events = "\ufeffitem_id:token\tx:float\ttimestamp:float\trating:float\tuser_id:token\r\n"
    events += 'say "hi"\t0\t-5\t \tann lee\r\n🎬\t0\t881250949.0\t3.5\té\r\n'
    items = ITEMS + '🎬\tTom &amp; "Jerry"\t1999\tA  B A\r\nsay "hi"\t\tunknown\t\r\nunused\tT\t1999\tC\r\n'
    card = card_of(tmp_path, "recbole-atomic", {"interactions": events, "items": items})
    dataset = load_dataset(card)
    assert dataset.interactions.rows() == [
        ("ann lee", 'say "hi"', None, -5, None),
        ("é", "🎬", 3.5, 881250949, None),
    ]
    assert dataset.items.columns == ["item_id", "title", "categories", "year"]
    assert dataset.items.rows() == [('say "hi"', None, None, None), ("🎬", 'Tom & "Jerry"', ["A", "B"], "1999")]


def test_sequence_files_are_read_as_they_are(tmp_path, card_of):
    items = (
        '{"id": 1, "title": "Salt &amp; Pepper &#39;n&#39;  Co", '
        '"categories": [["Root", "A", "B"], ["Root", "A", "C"]]}\n'
        '{"id": "2", "title": null, "categories": [["Root"]]}\n'
        '{"id": 3, "title": " ", "categories": ["Pizza &amp; Pasta", "Bars"]}\n'
        '{"id": 4, "categories": "Bars"}\n'
        '{"id": 5, "categories": []}\n'
        '{"id": 99, "title": "never met"}\n'
    )
    card = card_of(tmp_path, "s3rec", {"interactions": "b 3 1 2\na 5 4", "items": items}, zipped=True)
    dataset = load_dataset(card)
    assert dataset.interactions.select("user_id", "item_id", "position").rows() == [
        ("a", "5", 0),
        ("a", "4", 1),
        ("b", "3", 0),
        ("b", "1", 1),
        ("b", "2", 2),
    ]
    assert dataset.interactions.select("rating", "time").null_count().row(0) == (5, 5)
    assert dataset.items.rows() == [
        ("1", "Salt & Pepper 'n' Co", ["A", "B", "C"]),
        ("2", None, ["Root"]),
        ("3", None, ["Pizza & Pasta", "Bars"]),
        ("4", None, ["Bars"]),
        ("5", None, None),
    ]


@pytest.mark.parametrize("name", CARD_READERS)
def test_every_reader_a_card_may_name_is_there(name):
    reader = reader_named(name)
    assert set(CARD_READERS) == set(READERS)
    assert reader.VERSION
    assert callable(reader.read_interactions)
    assert callable(reader.read_items)


@pytest.mark.parametrize(
    ("reader", "function", "text", "kept", "dropped"),
    [
        (
            "recbole-atomic",
            "read_interactions",
            EVENTS + "u\ti\t3\t10\nu\ti\n\ti\t3\t10\nu\ti\tx\t10\nu\ti\t3\tx\nv\ti\t\t-1\n",
            [("u", "i", 3.0, 10), ("v", "i", None, -1)],
            {
                "wrong number of fields": 1,
                "empty id": 1,
                "rating is not a finite number": 1,
                "time is not a whole number of seconds": 1,
            },
        ),
        (
            "recbole-atomic",
            "read_items",
            "item_id:token\ni\ni\nj\n",
            [("i", None, None), ("j", None, None)],
            {"repeated item": 1},
        ),
        (
            "s3rec",
            "read_interactions",
            "1 7 8\n2\n1 9 9 9\n3 7\n",
            [("1", "7", None, 0), ("1", "8", None, 1), ("3", "7", None, 0)],
            {"wrong number of fields": 1, "repeated user": 1},
        ),
        (
            "s3rec",
            "read_items",
            '{"id": 1}\n{"id": 1}\n{\n[]\n{"id": []}\n{"id": ""}\n{"id": 2, "title": 3}\n{"id": 2, "categories": 3}\n',
            [("1", None, None)],
            {
                "repeated item": 1,
                "not JSON": 1,
                "not a JSON object": 1,
                "not an id": 1,
                "empty id": 1,
                "title is not a text": 1,
                "categories are not names": 1,
            },
        ),
    ],
)
def test_dropped_rows_are_counted_by_reason(tmp_path, reader, function, text, kept, dropped):
    (tmp_path / "file").write_text(text)
    rows = Rows(Content(tmp_path / "file"), drop=True)
    [batch] = getattr(reader_named(reader), function)(rows.content, Ask({}, Reading()), rows)
    assert batch.rows() == kept
    assert rows.dropped == dropped
    assert rows.read == len(kept) + sum(dropped.values())


def test_rows_are_counted_across_blocks(tmp_path):
    # More than one block of 8 MiB, and a defect in the last.
    lines = [f"{row} {row + 1} {'9' * 200}" for row in range(60_000)]
    (tmp_path / "file").write_text("\n".join([*lines, "7 1"]))
    content = Content(tmp_path / "file")
    with pytest.raises(DataError, match="row 60001: user '7' stands on row 8 already"):
        list(reader_named("s3rec").read_interactions(content, Ask({}, Reading()), Rows(content)))
    events = EVENTS + "".join(f"{'u' * 150}\ti{row}\t3\t{row}\n" for row in range(60_000)) + "u\ti\t3\tx\n"
    (tmp_path / "file").write_text(events)
    rows = Rows(content)
    with pytest.raises(DataError, match="row 60002, column 'timestamp': 'x' is not a whole number"):
        list(reader_named("recbole-atomic").read_interactions(content, Ask({}, Reading()), rows))
    assert rows.read == 60_001


def attempt(card) -> tuple[Dataset | None, str]:
    """Load, or return the complaint; anything but a DataError is a failure of the test."""
    try:
        return load_dataset(card), ""
    except DataError as error:
        return None, str(error)


@pytest.mark.parametrize("reader", ["recbole-atomic", "s3rec"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path, card_of, reader, data):
    header = EVENTS.encode() if reader == "recbole-atomic" else b""
    words = st.sampled_from(
        [b"1", b"2", b"\t", b"\n", b"\r", b" ", b"\x00", b'"', b"-1", b"1e9", b"nan", b"\xc3", b"{}"]
    )
    body = data.draw(st.one_of(st.binary(max_size=60), st.lists(words, max_size=30).map(b"".join)))
    zipped = data.draw(st.booleans())
    card = card_of(tmp_path, reader, {"interactions": header + body}, zipped=zipped)
    dataset, complaint = attempt(card)
    if dataset is None:
        assert str(tmp_path) in complaint
        assert "\n" not in complaint
    else:
        assert dataset.interactions.height >= 1
        assert dataset.items.height == dataset.interactions["item_id"].n_unique()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.booleans() | st.integers(1, 3) | st.text(max_size=3), st.lists, max_leaves=6))
@example([[]])
@example([[], ["a"]])
def test_whatever_stands_in_categories_is_read_or_refused(tmp_path, card_of, value):
    items = json.dumps({"id": 1, "title": "T", "categories": value}) + "\n"
    dataset, complaint = attempt(card_of(tmp_path, "s3rec", {"interactions": GOOD_SEQUENCES, "items": items}))
    if dataset is None:
        assert "row 1, column 'categories'" in complaint
    else:
        assert dataset.items["title"].to_list() == ["T", None]
