"""Numbers as text, and text made safe."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import latex, markdown
from bench.report.grid import interval, number, p_value, percent, signed
from bench.report.layout import shown_metrics


@given(st.text())
def test_markdown_can_be_read_back(text):
    assert markdown.unescape(markdown.escape(text)) == text.replace("\n", " ")


@given(st.text())
def test_no_pipe_ends_a_markdown_cell_early(text):
    assert not re.search(r"(?<!\\)(\\\\)*\|", markdown.escape(text))


@given(st.text(alphabet=r"ab\{}$&#%_^~<>[]"))
def test_latex_has_no_bare_special_character(text):
    escaped = latex.escape(text)
    assert not re.search(r"(?<!\\)[$&#%_^~]", escaped)
    groups = re.sub(r"\\[{}]", "", escaped)
    assert groups.count("{") == groups.count("}")


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (0.001, "<1%"), (0.43, "43%"), (0.999, ">99%"), (1.0, "100%")]
)
def test_only_all_and_nothing_are_printed_as_such(share, text):
    assert percent(share) == text


def test_numbers_that_do_not_apply_are_dashes():
    nan = float("nan")
    assert {number(nan), signed(nan), interval(nan, 1.0), p_value(nan)} == {"-"}


def test_p_is_never_zero():
    assert p_value(0.0001) == "<0.001"
    assert p_value(0.0449) == "0.045"
    assert interval(-0.1, 0.25, sign=True) == "[-0.1000, +0.2500]"


def test_many_metrics_are_thinned_without_losing_a_kind():
    every = [f"{name}@{k}" for name in ("HR", "NDCG", "MRR") for k in (1, 5, 10, 20)]
    assert shown_metrics(every) == ["HR@1", "HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR@20"]
    assert shown_metrics(["MRR@1", "MRR@5"]) == ["MRR@1", "MRR@5"]
