"""Python literals in the place of JSON, as the files of 2014 have them: all their forms, and nothing executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.readers import amazon_2014, amazon_2018, amazon_2023, json_lines, yelp
from bench.data.readers.base import Rows
from bench.errors import DataError

Read = Callable[..., tuple[pl.DataFrame, Rows]]
Write = Callable[[Path, list[str]], Path]

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", *" '\"\\&\x00\x7f\u2028\x1e", "'asin': 'x'", '"asin": "x"', '\\"asin": 1', "&amp;", "\\ud83d"]
)
python_values = st.recursive(
    words
    | st.integers(-(10**20), 10**20)
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=12,
)


class TestPythonLiterals:
    @settings(max_examples=300, deadline=None)
    @given(st.dictionaries(words, python_values, max_size=4))
    def test_read_as_python_reads_them(self, value: dict[str, object]) -> None:
        written = repr(value)
        assert json_lines.literal_record(written) == ast.literal_eval(written) == value

    @pytest.mark.parametrize(
        "written",
        [
            "{'a': 'b' 'c'}",
            "{'a': u'b', \"c\": r'\\d'}",
            "{'a': '''it's'''}",
            "{'a': u'\\d'}",
            "{'a': 'x\\'y', 'b': \"it's\", 'c': 'say \"hi\"'}",
            "{'a': '\\x41\\u00e9\\N{BULLET}\\d'}",
            "{'a': (1, 2,), 'b': [1,], 'c': 1_000, 'd': 0x10, 'e': .5}",
            " {'a': True} # none",
            "{'a': {'b': ['c', {'d': None}]}}",
            "{'a': '\t'}",
        ],
    )
    def test_all_their_forms(self, written: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = ast.literal_eval(written)
        assert json_lines.literal_record(written) == expected

    @pytest.mark.parametrize(
        "written",
        [
            "{'a': open('/etc/passwd')}",
            "{'a': __import__('os')}",
            "{'a': b}",
            "{'a': [x for x in (1,)]}",
            "{'a': '\\x'}",
            "{'a'",
            "{[]: 1}",
            "{'a': " + "(" * 3000 + ")" * 3000 + "}",
            "{'a': " + "-" * 100_000 + "1}",
            "x = {'a': 1}",
        ],
    )
    def test_nothing_is_executed(self, written: str, read: Read, write_lines: Write, tmp_path: Path) -> None:
        content = write_lines(tmp_path / "meta.json", ["{'asin': '1'}", written])
        with pytest.raises(DataError, match=r"row 2: not JSON .*, nor a Python literal"):
            read(amazon_2014.read_items, content)

    @pytest.mark.parametrize("written", ["{'asin': '1', 'asin': '2'}", "{'asin': '1', 'asin': '2', 'b': (1,)}"])
    def test_a_key_twice(self, written: str, read: Read, write_lines: Write, tmp_path: Path) -> None:
        content = write_lines(tmp_path / "meta.json", [written])
        with pytest.raises(DataError, match="row 1, column 'asin': stands twice in the object"):
            read(amazon_2014.read_items, content)

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("0x" + "f" * 5000, "a value too large to show (int) is not a whole number of seconds"),
            ("(" * 3 + "1," * 90_000 + ")" * 3, "1, 1, 1, 1, 1, 1, 1"),
            ("[" * 150 + "]" * 150, "[[[[[[[["),
        ],
    )
    def test_monstrous_values_are_shown_in_part(
        self, value: str, said: str, read: Read, write_lines: Write, tmp_path: Path
    ) -> None:
        written = f"{{'reviewerID': 'U', 'asin': '1', 'overall': 5, 'unixReviewTime': {value}}}"
        with pytest.raises(DataError, match="row 1, column 'unixReviewTime': ") as caught:
            read(amazon_2014.read_interactions, write_lines(tmp_path / "r.json", [written]))
        assert said in str(caught.value)
        assert len(str(caught.value)) < 400

    def test_only_2014_has_them(self, read: Read, write_lines: Write, tmp_path: Path) -> None:
        for reader in (amazon_2018, amazon_2023, yelp):
            content = write_lines(tmp_path / "meta.json", ["{'asin': '1'}"])
            with pytest.raises(DataError, match="row 1: not JSON"):
                read(reader.read_items, content)
