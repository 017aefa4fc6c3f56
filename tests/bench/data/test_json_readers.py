"""The machinery of the JSON-lines readers: the quick road, the careful one, and what either refuses."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bench.data.content import Block, Content
from bench.data.readers import amazon_2014, amazon_2018, yelp
from bench.data.readers.base import Rows
from bench.errors import DataError

Read = Callable[..., tuple[pl.DataFrame, Rows]]


class Blocks(Content):
    """A file read in blocks of another size."""

    size = 8 << 20

    def blocks(self, *, size: int = 0, encoding: str = "utf-8") -> Iterator[Block]:
        return super().blocks(size=size or self.size, encoding=encoding)


def content_of(path: Path, lines: list[str] | bytes, size: int = 8 << 20) -> Content:
    path.write_bytes(lines if isinstance(lines, bytes) else "".join(line + "\n" for line in lines).encode())
    content = Blocks(path)
    object.__setattr__(content, "size", size)
    return content


REVIEW = {
    "reviewerID": "U1",
    "asin": "0001",
    "reviewerName": "Ann",
    "helpful": [0, 0],
    "reviewText": "Fine.",
    "overall": 5.0,
    "summary": "Good",
    "unixReviewTime": 1393545600,
    "reviewTime": "02 28, 2014",
}


def line(**changes: object) -> str:
    """A review as JSON, with other values; ``...`` leaves the key out."""
    return json.dumps({key: value for key, value in {**REVIEW, **changes}.items() if value is not ...})


GOOD = line()

BAD_LINES = {
    "nothing": ("", None, "empty line", "empty line"),
    "blanks": ("  \t", None, "empty line", "empty line"),
    "cut off": (GOOD[:55], None, "not JSON", "not JSON (Unterminated string starting at, character"),
    "trailing comma": (GOOD[:-1] + ",}", None, "not JSON", "not JSON ("),
    "two objects": (GOOD + GOOD, None, "not JSON", "not JSON (Extra data, character"),
    "comma after the object": (GOOD + ",", None, "not JSON", "not JSON (Extra data, character"),
    "a tab in a text": (GOOD.replace("Fine.", "a\tb"), None, "not JSON", "not JSON (Invalid control character"),
    "a bad escape": (GOOD.replace("Fine.", r"a\qb"), None, "not JSON", "not JSON (Invalid \\escape"),
    "a number of 5,000 digits": (
        GOOD.replace("[0, 0]", "9" * 5000),
        None,
        "not JSON",
        "not JSON (a number of thousands of digits)",
    ),
    "a list": (f"[{GOOD}]", None, "not an object", "is not an object of keys and values"),
    "null": ("null", None, "not an object", "null is not an object of keys and values"),
    "a key twice": (
        GOOD.replace('"asin"', '"reviewerID": "U9", "asin"'),
        "reviewerID",
        "column twice",
        "stands twice in the object",
    ),
    "no user": (line(reviewerID=...), "reviewerID", "empty id", "missing"),
    "null user": (line(reviewerID=None), "reviewerID", "empty id", "missing"),
    "empty item": (line(asin=""), "asin", "empty id", "empty id"),
    "blank item": (line(asin="\x1c \u3000"), "asin", "empty id", "empty id"),
    "a number as item": (line(asin=1), "asin", "id is not a text", "1 is not a text, as an id must be"),
    "true as user": (line(reviewerID=True), "reviewerID", "id is not a text", "True is not a text"),
    "a list as user": (line(reviewerID=["U1"]), "reviewerID", "id is not a text", "['U1'] is not a text"),
    "no rating": (line(overall=...), "overall", "rating is not a finite number", "missing"),
    "a word as rating": (line(overall="five"), "overall", "rating is not a finite number", "'five' is not a finite"),
    "true as rating": (line(overall=True), "overall", "rating is not a finite number", "True is not a finite"),
    "NaN": (line(overall=float("nan")), "overall", "rating is not a finite number", "nan is not a finite number"),
    "an infinite rating": (line(overall=1e39), "overall", "rating is not a finite number", "1e+39 is not a finite"),
    "no time": (line(unixReviewTime=...), "unixReviewTime", "time is not a whole number of seconds", "missing"),
    "half a second": (
        line(unixReviewTime=7.5),
        "unixReviewTime",
        "time is not a whole number of seconds",
        "7.5 is not a whole number of seconds",
    ),
    "2^63 seconds": (
        line(unixReviewTime=2**63),
        "unixReviewTime",
        "time is not a whole number of seconds",
        "9223372036854775808 is not a whole number of seconds",
    ),
    "a date as time": (
        line(unixReviewTime="02 28, 2014"),
        "unixReviewTime",
        "time is not a whole number of seconds",
        "'02 28, 2014' is not a whole number",
    ),
    "a negative time": (line(unixReviewTime=-1), "unixReviewTime", "negative time", "negative time -1"),
    "a number as text": (line(reviewText=5), "reviewText", "text is not a text", "5 is not a text"),
    "a list as headline": (line(summary=["a"]), "summary", "headline is not a text", "['a'] is not a text"),
    "half a surrogate pair": (
        GOOD.replace("Fine.", r"Fi\ud83dne"),
        "reviewText",
        "half a surrogate pair",
        r"'Fi\ud83dne' holds half a surrogate pair",
    ),
    "the other half": (
        GOOD.replace("Fine.", r"\ude00"),
        "reviewText",
        "half a surrogate pair",
        r"'\ude00' holds half a surrogate pair",
    ),
    "nested deeply": (
        GOOD.replace("[0, 0]", "[" * 100_000 + "]" * 100_000),
        None,
        "not JSON",
        "not JSON that can be read (nested too deeply)",
    ),
}


class TestBadLines:
    @pytest.mark.parametrize("size", [64, 8 << 20])
    @pytest.mark.parametrize("kind", BAD_LINES)
    def test_refused_with_file_row_and_column(self, kind: str, size: int, read: Read, tmp_path: Path) -> None:
        bad, column, _, problem = BAD_LINES[kind]
        content = content_of(tmp_path / "reviews.json", [GOOD, GOOD, bad, GOOD, bad], size)
        with pytest.raises(DataError) as caught:
            read(amazon_2018.read_interactions, content)
        where = f"{content.path}, row 3" + (f", column {column!r}" if column else "")
        assert str(caught.value).startswith(f"{where}: ")
        assert problem in str(caught.value)

    @pytest.mark.parametrize("size", [64, 8 << 20])
    @pytest.mark.parametrize("kind", BAD_LINES)
    def test_dropped_and_counted_by_reason(self, kind: str, size: int, read: Read, tmp_path: Path) -> None:
        bad, _, reason, _ = BAD_LINES[kind]
        content = content_of(tmp_path / "reviews.json", [GOOD, bad, GOOD, bad, GOOD], size)
        table, rows = read(amazon_2018.read_interactions, content, drop=True)
        assert table.rows() == [("U1", "0001", 5.0, 1393545600, "Good", "Fine.")] * 3
        assert rows.dropped == {reason: 2}
        assert rows.read == 5

    def test_the_first_bad_row_is_named(self, read: Read, tmp_path: Path) -> None:
        content = content_of(tmp_path / "r.json", [GOOD, line(asin=""), "no JSON", line(overall=None)])
        with pytest.raises(DataError, match="row 2, column 'asin': empty id"):
            read(amazon_2018.read_interactions, content)

    def test_what_is_not_asked_for_is_not_judged(self, read: Read, tmp_path: Path) -> None:
        odd = line(reviewText=5, summary=["a"], reviewerName={"a": 1}).replace("[0, 0]", r'"\ud83d"')
        twice = GOOD.replace('"helpful"', '"helpful": 1, "helpful"')
        content = content_of(tmp_path / "r.json", [odd, twice])
        table, _ = read(amazon_2018.read_interactions, content, reviews=False)
        assert table.columns == ["user_id", "item_id", "rating", "time"]
        assert table.height == 2

    def test_a_card_that_maps_an_unknown_column(self, read: Read, tmp_path: Path) -> None:
        content = content_of(tmp_path / "r.json", [GOOD])
        with pytest.raises(DataError, match="knows no column 'headline'"):
            read(yelp.read_interactions, content, columns={"headline": "summary"})


class TestValues:
    @pytest.mark.parametrize(
        ("written", "rating"), [(5, 5.0), (4.5, 4.5), ("5.0", 5.0), (" 4 ", 4.0), ("1e0", 1.0), (-0.5, -0.5)]
    )
    def test_ratings(self, written: object, rating: float, read: Read, tmp_path: Path) -> None:
        table, _ = read(amazon_2018.read_interactions, content_of(tmp_path / "r.json", [line(overall=written), GOOD]))
        assert table["rating"].to_list() == [rating, 5.0]
        assert table.schema["rating"] == pl.Float32

    @pytest.mark.parametrize(
        ("written", "time"),
        [(0, 0), (7.0, 7), ("7", 7), (2**53 + 1, 2**53 + 1), (2**63 - 1, 2**63 - 1), (10**13, 10**13)],
    )
    def test_times(self, written: object, time: int, read: Read, tmp_path: Path) -> None:
        content = content_of(tmp_path / "r.json", [line(unixReviewTime=written), GOOD])
        table, _ = read(amazon_2018.read_interactions, content)
        assert table["time"].to_list() == [time, 1393545600]
        assert table.schema["time"] == pl.Int64

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            (..., None),
            (None, None),
            ("", None),
            (" \n\u00a0\x1f", None),
            ("&#1;", None),
            (" as  it\nis ", " as  it\nis "),
            ("AT&amp;T &lt;3 &quot;x&quot; &#39;y&#39; &eacute;", "AT&T <3 \"x\" 'y' é"),
            ("R&D", "R&D"),
            ('"overall": 1.0, "asin": "X"', '"overall": 1.0, "asin": "X"'),
            ("\x00 a \u2028 b \x85 c", "\x00 a \u2028 b \x85 c"),
            ("😀 \U0010ffff", "😀 \U0010ffff"),
        ],
    )
    def test_texts(self, written: object, kept: str | None, read: Read, tmp_path: Path) -> None:
        for ascii_only in (True, False):
            record = {key: value for key, value in {**REVIEW, "reviewText": written}.items() if value is not ...}
            content = content_of(tmp_path / "r.json", [json.dumps(record, ensure_ascii=ascii_only), GOOD])
            table, _ = read(amazon_2018.read_interactions, content)
            assert table["text"].to_list() == [kept, "Fine."]

    def test_ids_stay_as_written(self, read: Read, tmp_path: Path) -> None:
        ids = ["0001", " a b ", "a&amp;b", "NA", "null", "1e5", 'a"b', "é😀", "a\tb"]
        content = content_of(tmp_path / "r.json", [line(asin=name, reviewerID=name) for name in ids])
        table, _ = read(amazon_2018.read_interactions, content)
        assert table["item_id"].to_list() == table["user_id"].to_list() == ids

    def test_reviewers_only_on_request(self, read: Read, tmp_path: Path) -> None:
        content = content_of(tmp_path / "r.json", [GOOD, line(reviewerName=...)])
        assert "reviewer" not in read(amazon_2018.read_interactions, content)[0].columns
        table, _ = read(amazon_2018.read_interactions, content, reviewer_names=True)
        assert table["reviewer"].to_list() == ["Ann", None]

    def test_latin_1(self, read: Read, tmp_path: Path) -> None:
        record = json.dumps({**REVIEW, "reviewText": "café"}, ensure_ascii=False)
        content = content_of(tmp_path / "r.json", record.encode("latin-1") + b"\r\n")
        assert read(amazon_2018.read_interactions, content, encoding="latin-1")[0]["text"].to_list() == ["café"]


def plainly(lines: list[str]) -> list[tuple[object, ...]]:
    """The same reviews by Python's json alone."""

    def prose(value: str | None) -> str | None:
        return None if value is None or not value.strip() else html.unescape(value) or None

    found = []
    for record in map(json.loads, lines):
        texts = (prose(record.get("summary")), prose(record.get("reviewText")))
        found.append((record["reviewerID"], record["asin"], record["overall"], record["unixReviewTime"], *texts))
    return found


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", " ", "&amp;", "&", "\\", '"asin": "x"', '\\"asin": 1', "\\ud83d", "'", "\x00", "\x7f", "\u2028", "\x1e"]
)
ids = words.filter(str.strip)
records = st.fixed_dictionaries(
    {
        "reviewerID": ids,
        "asin": ids,
        "overall": st.integers(-10, 10) | st.floats(width=32, allow_nan=False, allow_infinity=False),
        "unixReviewTime": st.integers(0, 2**63 - 1) | st.integers(0, 2**31),
    },
    optional={
        "summary": words | st.none(),
        "reviewText": words,
        "style": st.dictionaries(words | st.sampled_from(["asin", "summary"]), words | st.lists(words), max_size=2),
    },
)


SNIPPETS = [
    *('"', "\\", "\\u0061", "\\ud83d", "{", "}", ",", ":", " ", "\t", "1", "e", "é", "null", ""),
    *('"asin": 5, ', '"asin": "b", ', '"asin":null,', '"\\u0061sin": 5, ', '"x\\"asin": "v", '),
]


class TestAnyText:
    @settings(max_examples=150, deadline=None)
    @given(
        made=st.lists(records, min_size=1, max_size=8),
        ascii_only=st.booleans(),
        narrow=st.booleans(),
        size=st.integers(1, 400),
    )
    def test_survives_in_blocks_of_any_size(
        self, made: list[dict[str, Any]], ascii_only: bool, narrow: bool, size: int, read: Read, tmp_path_factory: Any
    ) -> None:
        separators = (",", ":") if narrow else None
        lines = [json.dumps(record, ensure_ascii=ascii_only, separators=separators) for record in made]
        path = tmp_path_factory.mktemp("any") / "r.json"
        for reader in (amazon_2018, amazon_2014):
            whole, rows = read(reader.read_interactions, content_of(path, lines))
            assert whole.rows() == plainly(lines)
            assert rows.read == len(lines)
            parts, _ = read(reader.read_interactions, content_of(path, lines, size))
            assert_frame_equal(whole, parts)

    @settings(max_examples=100, deadline=None)
    @given(made=st.lists(records, min_size=1, max_size=3), garbage=words, at=st.integers(0, 3))
    def test_a_line_of_anything_is_read_or_counted(
        self, made: list[dict[str, Any]], garbage: str, at: int, read: Read, tmp_path_factory: Any
    ) -> None:
        lines = [json.dumps(record) for record in made]
        odd = "x" + garbage.replace("\n", " ").replace("\r", " ").replace("\x00", " ")
        path = tmp_path_factory.mktemp("odd") / "r.json"
        content = content_of(path, [*lines[:at], odd, *lines[at:]])
        table, rows = read(amazon_2014.read_interactions, content, drop=True)
        assert table.rows() == plainly(lines)
        assert rows.dropped == {"not JSON": 1}

    @settings(max_examples=150, deadline=None)
    @given(
        value=st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | words
        | st.sampled_from(["5", "5.0", "-1", "٣", "1_0", "inf", "0x1"])
        | st.lists(words, max_size=2)
        | st.dictionaries(words, words, max_size=2),
        key=st.sampled_from(["reviewerID", "asin", "overall", "unixReviewTime", "summary", "reviewText"]),
    )
    def test_a_value_of_any_type_is_the_same_among_others(
        self, value: object, key: str, read: Read, tmp_path_factory: Any
    ) -> None:
        """The quick road and the careful one agree: a block with a defect elsewhere is read row by row."""
        path = tmp_path_factory.mktemp("type") / "r.json"
        odd = line(**{key: value})
        quick, rows = read(amazon_2018.read_interactions, content_of(path, [GOOD, odd, GOOD]), drop=True)
        careful, others = read(amazon_2018.read_interactions, content_of(path, [GOOD, odd, GOOD, "-"]), drop=True)
        assert_frame_equal(quick, careful)
        assert others.dropped - rows.dropped == {"not JSON": 1}
        assert quick.height + rows.dropped.total() == 3

    @settings(max_examples=200, deadline=None)
    @given(
        edits=st.lists(
            st.tuples(
                st.integers(0, len(GOOD)),
                st.sampled_from(SNIPPETS),
                st.integers(0, 2),
            ),
            min_size=1,
            max_size=3,
        )
    )
    @example(edits=[(1, '"asin": 5, ', 0), (GOOD.index('"overall"') + 20, "\t", 0)])
    def test_a_damaged_line_is_the_same_among_others(
        self, edits: list[tuple[int, str, int]], read: Read, tmp_path_factory: Any
    ) -> None:
        odd = GOOD
        for at, put, over in edits:
            odd = odd[:at] + put + odd[at + over :]
        path = tmp_path_factory.mktemp("damaged") / "r.json"
        quick, rows = read(amazon_2018.read_interactions, content_of(path, [GOOD, odd]), drop=True)
        careful, others = read(amazon_2018.read_interactions, content_of(path, [GOOD, odd, "-"]), drop=True)
        assert_frame_equal(quick, careful)
        assert others.dropped - rows.dropped == {"not JSON": 1}
        assert quick.height + rows.dropped.total() == 2
