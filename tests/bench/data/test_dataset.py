from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter, defaultdict

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data import card_names, load_card, load_dataset, tie_statistics

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROW = st.tuples(st.sampled_from("abc"), st.sampled_from("pqrs"), st.integers(1, 5), st.integers(0, 3))
SEQUENCE_NAMES = ["amazon-beauty", "amazon-sports", "amazon-toys", "yelp-2019"]
INTERACTIONS = {
    "user_id": pl.String,
    "item_id": pl.String,
    "rating": pl.Float32,
    "time": pl.Int64,
    "position": pl.Int64,
}

needs_recbole = pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="recbole is not installed")


def timed(rows):
    return HEADER + "".join(f"{user}\t{item}\t{rating}\t{time}\n" for user, item, rating, time in rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=12), data=st.data())
def test_the_order_of_timed_rows_does_not_matter(tmp_path, card_of, rows, data):
    shuffled = data.draw(st.permutations(rows))
    first = load_dataset(card_of(tmp_path, "recbole-atomic", {"interactions": timed(rows)}))
    second = load_dataset(card_of(tmp_path, "recbole-atomic", {"interactions": timed(shuffled)}))
    assert first.identity == second.identity
    assert first.interactions.equals(second.interactions)
    assert first.warnings == second.warnings


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_the_first_event_of_every_pair_is_kept_and_the_rest_counted(tmp_path, card_of, rows):
    dataset = load_dataset(card_of(tmp_path, "recbole-atomic", {"interactions": timed(rows)}))
    first: dict[tuple[str, str], tuple[int, int]] = {}
    for user, item, rating, time in rows:
        first[user, item] = min(first.get((user, item), (time, rating)), (time, rating))
    expected = sorted((user, time, item, rating) for (user, item), (time, rating) in first.items())
    assert dataset.interactions.select("user_id", "time", "item_id", "rating").rows() == expected
    assert sum(dataset.dropped.values()) == len(rows) - len(expected)
    assert any("dropped" in warning for warning in dataset.warnings) == (len(rows) > len(expected))


@pytest.mark.parametrize(
    "changed",
    [
        [("a", "p", 3, 1), ("a", "q", 4, 3)],
        [("a", "p", 3, 1), ("a", "q", 5, 2)],
        [("a", "p", 3, 1), ("b", "q", 4, 2)],
        [("a", "p", 3, 1), ("a", "r", 4, 2)],
        [("a", "p", 3, 1)],
    ],
)
def test_a_changed_row_is_another_identity(tmp_path, card_of, changed):
    rows = [("a", "p", 3, 1), ("a", "q", 4, 2)]
    before = load_dataset(card_of(tmp_path / "1", "recbole-atomic", {"interactions": timed(rows)}))
    after = load_dataset(card_of(tmp_path / "2", "recbole-atomic", {"interactions": timed(changed)}))
    assert before.identity != after.identity


def test_a_changed_text_is_another_identity(tmp_path, card_of):
    identities = set()
    for title in ("A", "B", None):
        items = f'{{"id": 1, "title": "{title}"}}\n' if title else "{}"
        files = {"interactions": "1 1 2\n", "items": items} if title else {"interactions": "1 1 2\n"}
        identities.add(load_dataset(card_of(tmp_path, "s3rec", files)).identity)
    assert len(identities) == 3


def test_the_order_within_a_sequence_matters_and_that_of_the_lines_does_not(tmp_path, card_of):
    texts = ["1 1 2 3\n2 3 1\n", "2 3 1\n1 1 2 3\n", "1 2 1 3\n2 3 1\n"]
    one, swapped_lines, swapped_items = (
        load_dataset(card_of(tmp_path, "s3rec", {"interactions": text})).identity for text in texts
    )
    assert one == swapped_lines
    assert one != swapped_items


def test_repeats_in_a_sequence_leave_no_gaps(tmp_path, card_of):
    dataset = load_dataset(card_of(tmp_path, "s3rec", {"interactions": "u a b a c b d\n"}))
    assert dataset.interactions.select("item_id", "position").rows() == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]
    assert dataset.dropped == {"repeated user-item pairs": 2}


def test_tie_statistics_by_hand(tmp_path, card_of):
    rows = [
        *[("tied last", item, 3, time) for item, time in (("p", 1), ("q", 2), ("r", 2))],
        *[("tied first", item, 3, time) for item, time in (("p", 1), ("q", 1), ("r", 2))],
        *[("free", item, 3, time) for item, time in (("p", 1), ("q", 2))],
        ("single", "p", 3, 2),
    ]
    dataset = load_dataset(card_of(tmp_path, "recbole-atomic", {"interactions": timed(rows)}))
    ties = tie_statistics(dataset.events)
    assert ties is not None
    assert ties.users_last_two == pytest.approx(1 / 3)
    assert ties.events == pytest.approx(4 / 9)
    assert dataset.warnings[0].startswith("33% of users have their last two events in the same second")


def test_no_ties_no_warning(tmp_path, card_of):
    rows = [("a", "p", 3, 1), ("a", "q", 4, 2)]
    assert load_dataset(card_of(tmp_path, "recbole-atomic", {"interactions": timed(rows)})).warnings == ()


def test_data_without_times_says_that_the_order_of_ties_is_unknown(tmp_path, card_of):
    dataset = load_dataset(card_of(tmp_path, "s3rec", {"interactions": "u a b\n"}))
    assert tie_statistics(dataset.events) is None
    assert any("tie order unknown" in warning for warning in dataset.warnings)


@needs_recbole
def test_movielens_is_read_from_the_installed_package():
    dataset = load_dataset("ml-100k")
    assert dict(dataset.interactions.schema) == INTERACTIONS
    assert dataset.interactions.height == 100_000
    assert dataset.interactions["user_id"].n_unique() == 943
    assert dataset.items.height == 1682
    # The distribution of stars and the time span as GroupLens and many textbooks give them.
    assert Counter(dataset.interactions["rating"].to_list()) == {1: 6110, 2: 11370, 3: 27145, 4: 34174, 5: 21201}
    toy_story = dataset.items.row(by_predicate=pl.col("item_id") == "1", named=True)
    assert toy_story == {
        "item_id": "1",
        "title": "Toy Story",
        "categories": ["Animation", "Children's", "Comedy"],
        "year": "1995",
    }
    assert dataset.items["title"].null_count() == 0
    assert dataset.warnings == (
        "44% of users have their last two events in the same second: "
        "which of the two comes last is drawn by the split's seed",
    )
    assert dataset.dropped == {}
    assert dataset.missing == ()


@needs_recbole
def test_the_identity_of_movielens_is_the_same_everywhere():
    # Everything stored hangs on it: when it changes, every stored result is made again.
    assert load_dataset("ml-100k").identity == "b2be652becdfea8e8301d752de32c942edfff17380f4ab4783ec8ae8a26323e7"


@needs_recbole
def test_the_ties_of_movielens_are_those_of_a_plain_count():
    dataset = load_dataset("ml-100k")
    times = defaultdict(list)
    for user, time in dataset.interactions.select("user_id", "time").iter_rows():
        times[user].append(time)
    last_two = sum(sorted(of_user)[-1] == sorted(of_user)[-2] for of_user in times.values()) / len(times)
    tied = sum(count for of_user in times.values() for count in Counter(of_user).values() if count > 1) / 100_000
    ties = tie_statistics(dataset.events)
    assert ties is not None
    assert (ties.users_last_two, ties.events) == pytest.approx((last_two, tied))


@needs_recbole
def test_movielens_is_read_without_importing_recbole():
    code = (
        "import sys; from bench.data import load_dataset; load_dataset('ml-100k'); "
        "sys.exit(any(name.split('.')[0] in ('recbole', 'torch') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", SEQUENCE_NAMES)
def test_the_prepared_sequences_are_what_their_cards_say(shared_data, name):
    dataset = load_dataset(name)
    counts = load_card(name).counts
    assert counts is not None
    assert dict(dataset.interactions.schema) == INTERACTIONS
    assert dataset.interactions["user_id"].n_unique() == counts.users
    assert dataset.items.height == counts.items
    assert dataset.interactions.height + sum(dataset.dropped.values()) == counts.interactions
    assert dataset.interactions.select(pl.struct("user_id", "item_id").is_duplicated().any()).item() is False
    assert all(source.path.is_relative_to(shared_data) for source in dataset.sources.values())
    assert dataset.has_titles == (name != "amazon-sports")
    if dataset.has_titles:
        assert dataset.items["title"].null_count() == 0
        assert not dataset.items["title"].str.contains("&amp;", literal=True).any()


def test_every_card_over_prepared_data_is_tested_here():
    at_hand = {name for name in card_names() if load_card(name).reader in ("s3rec", "recbole-atomic")}
    assert at_hand == {"ml-100k", *SEQUENCE_NAMES}
