from __future__ import annotations

import calendar
import gzip
import sys
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import load_dataset, tie_statistics
from bench.data.dataset import Dataset
from bench.data.describe import describe
from bench.data.events import CodedEvents
from bench.data.histogram import bars, length_histogram, time_histogram
from bench.data.reviews import Reviews
from bench.data.ties import DAY_S

DAY = 86_400


def at(date: str) -> int:
    """Unix seconds of a date, by the standard library."""
    return calendar.timegm(datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timetuple())


def dataset(events, *, order="time", items=None, **fields) -> Dataset:
    """A data set of (user, item, time) rows; times are positions when only the order is known."""
    table = pl.DataFrame(events, schema={"user_id": pl.String, "item_id": pl.String, "at": pl.Int64}, orient="row")
    table = table.sort("user_id", "at", "item_id").with_columns(
        pl.lit(None, pl.Float32).alias("rating"),
        (pl.col("at") if order == "time" else pl.lit(None, pl.Int64)).alias("time"),
        (pl.col("at") if order == "sequence" else pl.lit(None, pl.Int64)).alias("position"),
    )
    if items is None:
        items = pl.DataFrame({"item_id": sorted(set(table["item_id"]))}).with_columns(
            pl.lit(None, pl.String).alias("title"), pl.lit(None, pl.List(pl.String)).alias("categories")
        )
    known = {"dropped": {}, "card": None, "identity": "", "warnings": (), "missing": (), "sources": {}}
    return Dataset(name="small", events=CodedEvents.of(table.drop("at")), items=items, order=order, **known | fields)


def figures(data: Dataset) -> dict[str, str]:
    table = describe(data)
    assert list(table.columns) == ["figure", "value"]
    assert table["figure"].is_unique
    assert all(isinstance(text, str) and text.isascii() for text in table.to_numpy().ravel())
    return dict(table.itertuples(index=False))


# --- histograms ---


def test_lengths_fall_into_bins_that_grow():
    lengths = [1, 2, 4, 5, 9, 9, 10, 250]
    assert length_histogram(lengths) == [
        "1        ############# 1 (12.5%)",
        "2-4      ########################### 2 (25.0%)",
        "5-9      ######################################## 3 (37.5%)",
        "10-19    ############# 1 (12.5%)",
        "20-49    0 (0.0%)",
        "50-99    0 (0.0%)",
        "100-199  0 (0.0%)",
        "200-499  ############# 1 (12.5%)",
    ]


def test_a_small_bin_keeps_a_bar_and_thousands_are_set_apart():
    assert bars(["a", "bb"], np.array([12_345, 1])) == ["a   " + "#" * 40 + " 12,345 (100.0%)", "bb  # 1 (0.0%)"]


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**7), min_size=1))
def test_every_length_is_counted_in_its_bin(lengths):
    lines = [line.split() for line in length_histogram(lengths)]
    total = 0
    for line in lines:
        low, _, high = line[0].partition("-")
        inside = sum(int(low) <= length <= int(high or low) for length in lengths)
        assert line[-2] == f"{inside:,}"
        total += inside
    assert total == len(lengths)
    assert lines[0][-2] != "0"
    assert lines[-1][-2] != "0"


def test_months_of_a_short_time():
    times = [at("2014-11-30"), at("2015-01-01") - 1, at("2015-01-01"), at("2015-01-31")]
    assert [line.split()[0::2] for line in time_histogram(times)] == [
        ["2014-11", "1"],
        ["2014-12", "1"],
        ["2015-01", "2"],
    ]


def test_years_of_a_long_time_with_the_empty_ones():
    lines = time_histogram([at("2003-12-31"), at("2006-01-01"), at("2006-12-31")])
    assert [line.split()[0] for line in lines] == ["2003", "2004", "2005", "2006"]
    assert lines[1] == "2004  0 (0.0%)"
    assert lines[3].endswith("2 (66.7%)")


@settings(deadline=None)
@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=50))
def test_any_times_can_be_drawn_in_a_few_lines(times):
    lines = time_histogram(times)
    assert len(lines) <= 40
    assert sum(int(line.split(" (")[0].split()[-1].replace(",", "")) for line in lines) == len(times)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4 * 10**9), min_size=1, max_size=50))
def test_years_are_those_of_the_calendar(times):
    counted = Counter(datetime.fromtimestamp(time, UTC).year for time in times)
    if (max(counted) - min(counted) + 1) > 40 or max(counted) - min(counted) < 3:
        return
    drawn = {line.split()[0]: int(line.split(" (")[0].split()[-1]) for line in time_histogram(times)}
    assert {int(year): count for year, count in drawn.items() if count} == counted


def test_nothing_to_draw():
    assert length_histogram([]) == time_histogram([]) == bars([], np.array([], int)) == []
    with pytest.raises(ValueError, match="at least 1, not 0"):
        length_histogram([3, 0])


# --- ties ---


def test_ties_within_a_day():
    noon = at("2020-02-03") + DAY // 2
    events = [
        *[("u", "a", noon - DAY), ("u", "b", noon), ("u", "c", noon + 1)],  # the last two: one day, two seconds
        *[("v", "a", at("2020-02-04") - 1), ("v", "b", at("2020-02-04"))],  # a second apart, and a day
        *[("w", "a", 5), ("w", "b", 5)],
        ("x", "a", 5),
    ]
    table = dataset(events).interactions
    seconds, days = (tie_statistics(CodedEvents.of(table), within_s=stretch) for stretch in (1, DAY_S))
    assert (seconds.users_last_two, seconds.events) == pytest.approx((1 / 3, 2 / 8))
    assert (days.users_last_two, days.events) == pytest.approx((2 / 3, 4 / 8))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("uvw"), st.integers(-5, 5)), min_size=1), st.integers(1, 4), st.randoms())
def test_ties_are_those_of_a_plain_count_whatever_the_order_of_rows(events, within, draw):
    draw.shuffle(events)
    table = pl.DataFrame(events, schema={"user_id": pl.String, "time": pl.Int64}, orient="row")
    ties = tie_statistics(CodedEvents.of(table.with_columns(item_id=pl.lit("i"))), within_s=within)
    times = {user: sorted(time // within for other, time in events if other == user) for user, _ in events}
    tied = sum(Counter(own)[time] > 1 for own in times.values() for time in own)
    several = [own for own in times.values() if len(own) > 1]
    last_two = sum(own[-1] == own[-2] for own in several) / len(several) if several else 0
    assert (ties.users_last_two, ties.events) == pytest.approx((last_two, tied / len(events)))


# --- the table ---


def test_cold_shares_of_leave_one_out():
    # The last items of u and v; training holds a, b (u), a (v) and all of w, who has two events only.
    events = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "d", 4), ("v", "a", 1), ("v", "c", 2), ("v", "e", 3)]
    events += [("w", "d", 1), ("w", "f", 2)]
    shown = figures(dataset(events, order="sequence"))
    assert shown["leave-one-out test events of an unseen item"] == "50.00% (1 of 2)"  # e; d is known from w
    assert shown["times"].startswith("none")
    assert "global cut in time" not in shown


def test_cold_shares_after_a_global_cut():
    events = [("u", f"i{time}", DAY * time) for time in range(8)]
    events += [("v", "i0", DAY * 8), ("v", "new", DAY * 8)]
    shown = figures(dataset(events))
    assert shown["global cut in time"] == "1970-01-09 00:00 UTC, 20.0% of the events are later"
    assert shown["later events of an unseen user"] == "100.0%"
    assert shown["later events of an unseen item"] == "50.0%"
    assert shown["later events of either"] == "100.0%"


def test_events_of_one_second_are_never_parted_by_the_cut():
    events = [("u", "a", 1), ("u", "b", 2)] + [("v", f"i{number}", 3) for number in range(8)]
    assert figures(dataset(events))["global cut in time"].endswith("80.0% of the events are later")
    at_once = [("u", f"i{number}", 3) for number in range(5)]
    assert "global cut in time" not in figures(dataset(at_once))


def test_filters_drops_and_repeats_are_counted():
    step = SimpleNamespace(
        name="5-core", reason="rare", dropped=1_000, counts=SimpleNamespace(users=3, items=2, interactions=1_234)
    )
    events = [("u", "a", 1), ("u", "a", 2), ("u", "b", 3)]
    shown = figures(dataset(events, dropped={"rare": 1_000, "no user": 2}, steps=(step,)))
    assert shown["dropped: rare"] == "1,000"
    assert shown["dropped: no user"] == "2"
    assert shown["after 5-core"] == "3 users, 2 items, 1,234 interactions (1,000 dropped)"
    assert shown["events that repeat a user-item pair"] == "1 (kept)"
    assert shown["density"] == "150.000%"
    assert shown["users by history length"] == "2-4  " + "#" * 40 + " 1 (100.0%)"


def test_texts_of_items():
    items = pl.DataFrame(
        {
            "item_id": ["a", "b"],
            "title": ["T", None],
            "categories": [["x", "y"], ["x"]],
            "brand": [None, "B"],
            "price": [1.0, 2.0],
        }
    )
    shown = figures(dataset([("u", "a", 1), ("u", "b", 2)], items=items))
    shares = [shown[f"items with {what}"] for what in ("a title", "categories", "a brand", "a price", "a description")]
    assert shares == ["50.0%", "100.0%", "50.0%", "100.0%", "0.0%"]
    assert shown["distinct categories"] == "2"
    assert shown["reviews"] == "none"


def with_reviews(folder, texts, **columns) -> Dataset:
    table = pl.DataFrame({"headline": pl.Series([None] * len(texts), dtype=pl.String), "text": texts, **columns})
    path = folder / "reviews.parquet"
    table.write_parquet(path)
    events = [("u", f"i{number:06}", number) for number in range(len(texts))]
    return dataset(events, reviews=Reviews(path, np.arange(len(texts), dtype=np.uint32), tuple(table.columns)))


def test_texts_of_reviews(tmp_path):
    texts = ["one two three", " ", None, "one"]
    shown = figures(with_reviews(tmp_path, texts, reviewer=["x", None, None, None]))
    assert shown["reviews read for what follows"] == "all"
    assert shown["events with a review text"] == "50.0%"
    assert shown["words in a review text"] == "2.0 on average"
    assert shown["events with a headline"] == "0.0%"
    assert "words in a headline" not in shown
    assert shown["events with a reviewer's name"] == "25.0%"


def test_triples_are_measured_on_reviews_they_were_not_learned_from(tmp_path):
    pytest.importorskip("yake")
    pytest.importorskip("vaderSentiment")
    texts = [f"The case {n} is great. My strap was good. The strap of the case is for my guitar." for n in range(60)]
    shown = figures(with_reviews(tmp_path, texts))
    assert shown["reviews with a triple"] == "100.0%"
    measured, learned = shown["triples: measured on"].removesuffix(" others").split(" reviews, learned on ")
    assert int(measured) + int(learned) == 60
    assert 15 < int(measured) < 45
    assert "strap" in shown["most frequent features"]


def test_more_reviews_than_are_read(tmp_path):
    shown = figures(with_reviews(tmp_path, ["good"] * 10_000 + [None] * 15_000))
    assert shown["reviews read for what follows"] == "20,000 drawn of 25,000"
    assert abs(float(shown["events with a review text"].removesuffix("%")) - 40) < 1.5


def test_without_the_tools_the_rest_is_still_shown(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yake", None)
    shown = figures(with_reviews(tmp_path, ["The case is great and good."] * 4))
    assert shown["triples"].startswith("none: ")
    assert shown["events with a review text"] == "100.0%"


def test_the_prepared_beauty_data_has_the_known_cold_targets(shared_data, tmp_path, card_of):
    content = gzip.decompress((shared_data / "s3rec" / "Beauty.txt.gz").read_bytes())
    shown = figures(load_dataset(card_of(tmp_path, "s3rec", {"interactions": content})))
    assert shown["leave-one-out test events of an unseen item"] == "0.62% (138 of 22,363)"
    assert shown["interactions"] == "198,502"


def test_figures_do_not_depend_on_the_names_of_users_and_items():
    draw = np.random.default_rng(5)
    events = sorted({(int(u), int(i), int(t)) for u, i, t in draw.integers(0, 30, (200, 3))})
    tables = [
        figures(dataset([(name(user), name(item), time * DAY) for user, item, time in events]))
        for name in (lambda code: f"{code:02}", lambda code: f"{code * 37 % 41:02}")
    ]
    # Which of two tied events is last may differ: the table orders them by name.
    for table in tables:
        table.pop("leave-one-out test events of an unseen item")
    assert tables[0] == tables[1]
