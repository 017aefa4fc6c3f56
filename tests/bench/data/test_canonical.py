"""The canonical order, and the sorting and coding below it, against polars' and NumPy's own."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.card import Repeats
from bench.data.coding import encode
from bench.data.events import EVENT_COLUMNS, CodedEvents
from bench.data.filters import apply_filters
from bench.data.sorting import sort_keys, sort_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
IDS = [*"abcdefghijklmnopqrstuvwxyzäöü", "a b", " a", "", "日本"]
SCHEMA = {"user_id": pl.String, "item_id": pl.String, **EVENT_COLUMNS, "review_hash": pl.UInt64}
EVENT = st.tuples(
    st.sampled_from(["b", "a", "ü", "日", "A "]),
    TEXT,
    st.none() | st.sampled_from([1.0, 5.0, -1.5]),
    st.none() | st.integers(-3, 3),
    st.none() | st.integers(0, 9),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
)
EVENTS = st.lists(EVENT, min_size=1, max_size=40).map(lambda rows: pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def canonical(events: pl.DataFrame) -> pl.DataFrame:
    """Filter nothing away."""
    left, _ = apply_filters(CodedEvents.of(events), [Repeats(filter="repeats", keep="all")], what="data")
    return left.frame()


@settings(deadline=None)
@given(EVENTS)
def test_order_is_that_of_a_plain_sort(events):
    by = ["user_id", "time", "position", "item_id", "rating", "review_hash"]
    expected = events.sort(by, nulls_last=True, maintain_order=True)
    known = pl.col("position").is_not_null()
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("user_id")
    assert canonical(events).equals(expected.with_columns(position=pl.when(known).then(place)))


@settings(deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(events, order):
    shuffled = events[order.sample(range(events.height), events.height)]
    assert canonical(shuffled).drop("row").equals(canonical(events).drop("row"))


@settings(deadline=None)
@given(EVENTS)
def test_what_is_left_is_in_canonical_order_with_its_ids_numbered(events):
    numbered, _ = apply_filters(CodedEvents.of(events), [], what="data")
    left = numbered.frame()
    assert canonical(left).equals(left)
    again = CodedEvents.of(left)
    for name in ("users", "items"):
        assert getattr(again, name).to_list() == getattr(numbered, name).to_list()
    for name in ("user", "item"):
        assert getattr(again, name).tolist() == getattr(numbered, name).tolist()


def test_unknown_columns_come_as_nulls():
    table = canonical(pl.DataFrame({"item_id": ["b", "a"], "user_id": ["u", "u"]}))
    assert table.schema == {name: dtype for name, dtype in SCHEMA.items() if name != "review_hash"}
    assert table["item_id"].to_list() == ["a", "b"]
    assert table.select("rating", "time", "position", "row").null_count().row(0) == (2, 2, 2, 2)


WIDTHS = st.sampled_from([1, 3, 40, 2**31 - 1, 2**62])


@settings(deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(1, 5))
def test_sorting_by_many_keys_is_a_stable_lexicographic_sort(data, rows, number):
    keys = []
    for _ in range(number):
        width = data.draw(WIDTHS)
        few = data.draw(st.lists(st.integers(-width, width), min_size=1, max_size=3))
        keys.append(np.array(data.draw(st.lists(st.sampled_from(few), min_size=rows, max_size=rows)), np.int64))
    keys.append(np.array(data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=rows, max_size=rows)), np.uint64))
    keys = keys[data.draw(st.integers(0, 1)) :]
    order, new = sort_rows(*keys)
    np.testing.assert_array_equal(order, np.lexsort(keys[::-1]))
    rowwise = list(zip(*(key[order].tolist() for key in keys), strict=True))
    assert new.tolist() == [n == 0 or rowwise[n] != rowwise[n - 1] for n in range(rows)]


def test_sorting_goes_beyond_one_block_and_one_word():
    rng = np.random.default_rng(0)
    keys = [rng.integers(0, size, 300_000) for size in (50, 2**40, 3)]
    keys[1] -= keys[1] % 2**38
    order, new = sort_rows(*keys, *keys)
    np.testing.assert_array_equal(order, np.lexsort(keys[::-1]))
    assert new.sum() == len(np.unique(np.stack(keys), axis=1).T)
    again, _ = sort_rows(*(key[order] for key in keys))
    np.testing.assert_array_equal(again, np.arange(len(order)))


def test_nothing_is_sorted_to_nothing():
    order, new = sort_rows(np.empty(0, np.int64))
    assert (len(order), len(new)) == (0, 0)


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(width=32), min_size=1), st.booleans())
def test_keys_of_floats_sort_as_polars_does(values, descending):
    column = pl.Series(values, dtype=pl.Float32)
    keys = sort_keys(column, descending=descending)
    order = sort_rows(*keys)[0] if keys else range(len(values))
    assert column[list(order)].equals(column.sort(descending=descending, nulls_last=True))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(IDS)))
def test_codes_are_equal_where_the_ids_are(ids):
    codes, count = encode(pl.Series(ids, dtype=pl.String))
    assert len(set(zip(ids, codes.tolist(), strict=True))) == count == len(set(ids))
    assert set(codes.tolist()) == set(range(count))


def test_codes_of_many_ids():
    ids = pl.Series(np.random.default_rng(0).integers(0, 100_000, 300_000)).cast(pl.String)
    codes, count = encode(ids)
    assert count == ids.n_unique() == pl.DataFrame({"id": ids, "code": codes}).n_unique()
    assert codes.max() == count - 1
