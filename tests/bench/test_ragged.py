from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import Ragged

ROWS = st.lists(st.lists(st.integers(0, 99), max_size=6), max_size=8)


@given(ROWS, st.data())
def test_behaves_like_a_list_of_lists(rows: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.from_lists(rows)
    assert [row.tolist() for row in ragged] == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    k = data.draw(st.integers(0, 4))
    assert [row.tolist() for row in ragged.last(k)] == [row[len(row) - min(k, len(row)) :] for row in rows]
    if rows:
        picks = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
        assert [row.tolist() for row in ragged.take(picks)] == [rows[pick] for pick in picks]
        assert ragged[-1].tolist() == rows[-1]
    even = ragged.keep(ragged.values % 2 == 0)
    assert [row.tolist() for row in ragged.distinct()] == [sorted(set(row)) for row in rows]
    assert [row.tolist() for row in even] == [[value for value in row if value % 2 == 0] for row in rows]


def test_lengths_must_fit() -> None:
    with pytest.raises(ValueError, match="add up to 3"):
        Ragged.from_lengths([1, 2], np.arange(4))
    with pytest.raises(IndexError):
        Ragged.empty(2)[2]
