"""Filters against brute force, whatever the order of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import filters
from bench.data.card import Counts, Filter, KCore, RatingThreshold, Repeats, TimeWindow
from bench.data.events import EVENT_COLUMNS, CodedEvents
from bench.data.filters import REPEATED, Step, k_core
from bench.errors import DataError

SCHEMA = {"user_id": pl.String, "item_id": pl.String, **EVENT_COLUMNS, "review_hash": pl.UInt64}
# Few users, items, times and ratings, so that repeats and ties are the rule.
ROW = st.tuples(
    st.sampled_from(["ann", "bob", "Eve", "u 1", "ü"]),
    st.sampled_from(["a", "b", "c", "d e", "é", "f"]),
    st.sampled_from([1.0, 3.5, 4.0, -2.0, 0.0, -0.0]),
    st.integers(-2, 3).map(lambda day: day * 86_400),
    st.integers(0, 3),
)
ROWS = st.lists(ROW, min_size=1, max_size=60)
ORDER = st.randoms(use_true_random=False)
Row = tuple[str, str, float, int, int]


def apply_filters(events: pl.DataFrame, specs: list, *, what: str) -> tuple[pl.DataFrame, tuple[Step, ...]]:
    """What is left as one table."""
    left, steps = filters.apply_filters(CodedEvents.of(events), specs, what=what)
    return left.frame(), steps


def table(rows: Sequence[Row], *, timed: bool = True) -> pl.DataFrame:
    """Events as readers give them; ``timed``: the fourth number is the time, else the position."""
    return pl.DataFrame(
        [
            (user, item, rating, time if timed else None, None if timed else time, number, review)
            for number, (user, item, rating, time, review) in enumerate(rows)
        ],
        schema=SCHEMA,
        orient="row",
    )


def content(events: pl.DataFrame) -> list[tuple[object, ...]]:
    """What is left, in its order, without the rows of the source."""
    return events.drop("row").rows()


def brute_force_core(pairs: list[tuple[str, str]], users: int, items: int) -> list[tuple[str, str]]:
    while True:
        of_user, of_item = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        left = [(user, item) for user, item in pairs if of_user[user] >= users and of_item[item] >= items]
        if left == pairs:
            return left
        pairs = left


@settings(deadline=None)
@given(ROWS, st.integers(1, 5), st.integers(1, 5), ORDER)
def test_the_core_is_that_of_brute_force_in_any_row_order(rows, users, items, order):
    keep_all = Repeats(filter="repeats", keep="all")
    core = KCore(filter="k-core", users=users, items=items)
    expected = Counter(brute_force_core([(user, item) for user, item, *_ in rows], users, items))
    shuffled = order.sample(rows, len(rows))
    if not expected:
        with pytest.raises(
            DataError, match=f"{users}-core on users, {items} on items left nothing of {len(rows)} events"
        ):
            apply_filters(table(shuffled), [core, keep_all], what="data")
        return
    left, steps = apply_filters(table(shuffled), [core, keep_all], what="data")
    assert Counter(left.select("user_id", "item_id").rows()) == expected
    assert content(left) == content(apply_filters(table(rows), [core, keep_all], what="data")[0])
    assert steps[0].dropped == len(rows) - left.height
    found = steps[0].counts
    assert (found.users, found.items) == (len({user for user, _ in expected}), len({item for _, item in expected}))
    assert found.interactions == left.height


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20)), max_size=150), st.integers(1, 4), st.integers(1, 4))
def test_the_core_of_codes_is_that_of_brute_force(pairs, users, items):
    user, item = (np.array([pair[n] for pair in pairs], np.int32) for n in (0, 1))
    core = k_core(user, item, 31, 21, least_of_user=users, least_of_item=items)
    kept = [pair for pair, stays in zip(pairs, core, strict=True) if stays]
    assert kept == brute_force_core(pairs, users, items)


def test_a_core_may_take_many_rounds():
    # A chain: each user has two items, each item two users but the first, which falls and takes all with it.
    user = np.repeat(np.arange(200, dtype=np.int32), 2)
    item = user + np.tile([0, 1], 200).astype(np.int32)
    assert not k_core(user, item, 200, 201, least_of_user=2, least_of_item=2).any()
    item[-1] = 0
    assert k_core(user, item, 200, 201, least_of_user=2, least_of_item=2).all()


@settings(deadline=None)
@given(ROWS, st.sampled_from(["first", "last"]), st.booleans(), ORDER)
def test_one_event_of_each_pair_is_kept_by_a_rule_without_row_order(rows, keep, timed, order):
    def rank(row: Row) -> tuple[float, float, int]:
        _, _, rating, when, review = row
        return (when if keep == "first" else -when, rating, review)

    expected = {pair: min((row for row in rows if row[:2] == pair), key=rank) for pair in {row[:2] for row in rows}}
    spec = Repeats(filter="repeats", keep=keep)
    shuffled = order.sample(rows, len(rows))
    left, (step,) = apply_filters(table(shuffled, timed=timed), [spec], what="data")
    # Positions are numbered anew; the row of the source says which event was kept.
    assert sorted(shuffled[row] for row in left["row"]) == sorted(expected.values())
    assert step.reason == REPEATED
    assert step.dropped == len(rows) - len(expected)


def test_events_without_a_time_come_after_those_with_one():
    rows = [("ann", "a", 1.0, 5, 0), ("ann", "a", 2.0, 7, 0), ("ann", "a", 3.0, 9, 0)]
    events = table(rows).with_columns(time=pl.Series([5, 7, None]))
    for keep, rating in (("first", 1.0), ("last", 2.0)):
        left, _ = apply_filters(events, [Repeats(filter="repeats", keep=keep)], what="data")
        assert left["rating"].to_list() == [rating]


@pytest.mark.parametrize("filters", [(), (RatingThreshold(filter="rating", at_least=2),)])
def test_repeats_are_never_silent(filters):
    left, steps = apply_filters(table([("ann", "a", 5.0, 1, 0), ("ann", "b", 5.0, 1, 0)]), filters, what="data")
    assert left.height == 2
    assert (steps[-1].reason, steps[-1].dropped) == (REPEATED, 0)
    assert len(steps) == len(filters) + 1


def test_a_policy_for_repeats_stands_where_the_card_puts_it():
    rows = [("ann", "a", 1.0, 1, 0), ("ann", "a", 5.0, 2, 0)]
    threshold, first = RatingThreshold(filter="rating", at_least=4), Repeats(filter="repeats", keep="first")
    left, steps = apply_filters(table(rows), [threshold, first], what="data")
    assert (left["time"].to_list(), [step.dropped for step in steps]) == ([2], [1, 0])
    with pytest.raises(DataError, match="ratings of at least 4 left nothing of 1 event"):
        apply_filters(table(rows), [first, threshold], what="data")
    left, steps = apply_filters(table(rows), [Repeats(filter="repeats", keep="all")], what="data")
    assert (left.height, [step.dropped for step in steps]) == (2, [0])


@settings(deadline=None)
@given(ROWS, ORDER)
def test_numbers_follow_the_order_of_the_ids(rows, order):
    events, _ = filters.apply_filters(CodedEvents.of(table(order.sample(rows, len(rows)))), [], what="data")
    left = events.frame()
    for name, ids, numbers in (("user_id", events.users, events.user), ("item_id", events.items, events.item)):
        assert ids.to_list() == sorted(set(left[name]), key=str.encode)
        assert [ids[int(number)] for number in numbers] == left[name].to_list()


def test_a_time_window_has_both_its_ends():
    days = [datetime(2019, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in (-1, 0, 30, 31)]
    events = table([("ann", f"i{day}", 1.0, int(day.timestamp()), 0) for day in days])

    def left(**bounds: datetime) -> int:
        return apply_filters(events, [TimeWindow(filter="time-window", **bounds)], what="data")[0].height

    start, stop = datetime(2019, 1, 1), datetime(2019, 1, 31)
    assert left(start=start, stop=stop) == 2
    assert left(start=start) == 3
    assert left(stop=stop) == 3
    # Nine in the morning in Tokyo is midnight in Greenwich.
    assert left(start=datetime(2019, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))) == 3
    assert left(start=start + timedelta(microseconds=1)) == 2
    _, (step, _) = apply_filters(events, [TimeWindow(filter="time-window", start=start, stop=stop)], what="data")
    assert (step.name, step.dropped) == ("times from 2019-01-01 00:00:00 to 2019-01-31 00:00:00", 2)


def test_a_threshold_is_met_by_ratings_that_equal_it():
    events = table([("ann", "a", 4.1, 1, 0), ("ann", "b", 4.0, 1, 0), ("ann", "c", 5.0, 1, 0)])
    left, (step, _) = apply_filters(events, [RatingThreshold(filter="rating", at_least=4.1)], what="data")
    assert left["item_id"].to_list() == ["a", "c"]
    assert (step.name, step.reason, step.dropped) == ("ratings of at least 4.1", "rated below 4.1", 1)


@pytest.mark.parametrize(
    ("spec", "column"),
    [
        (RatingThreshold(filter="rating", at_least=4), "rating"),
        (TimeWindow(filter="time-window", stop=datetime(2019, 1, 1)), "time"),
    ],
)
def test_a_filter_needs_what_it_filters_by(spec: Filter, column: str):
    events = table([("ann", "a", 4.0, 1, 0), ("bob", "b", 4.0, 1, 0)])
    some = events.with_columns(pl.when(pl.col("row") > 0).then(column).alias(column))
    with pytest.raises(DataError, match=f"shop: .* 1 of 2 events have no {column}"):
        apply_filters(some, [spec], what="shop")
    with pytest.raises(DataError, match=f"2 of 2 events have no {column}"):
        apply_filters(events.drop(column), [spec], what="shop")


def test_promised_counts_are_checked_after_their_filter():
    events = table([("ann", "a", 1.0, 1, 0), ("ann", "b", 5.0, 1, 0), ("bob", "b", 5.0, 1, 0)])
    true = Counts(users=2, items=1, interactions=2)
    apply_filters(events, [RatingThreshold(filter="rating", at_least=4, counts=true)], what="shop")
    false = Counts(users=2, items=3, interactions=1_000)
    message = "shop: after ratings of at least 4: items: expected 3, found 1; interactions: expected 1,000, found 2$"
    with pytest.raises(DataError, match=message):
        apply_filters(events, [RatingThreshold(filter="rating", at_least=4, counts=false)], what="shop")


def test_nothing_to_filter_is_an_error():
    with pytest.raises(DataError, match="shop: there are no events"):
        apply_filters(table([]), [], what="shop")
