from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.models import Ragged, Training
from bench.splits import Pairs
from llm_models.m6.statistics import BANDS, Statistics

GENRES = ["Comedy", "Drama", "War"]


def items_of(count, categories=None):
    return pl.DataFrame(
        {
            "item": np.arange(count, dtype=np.int32),
            "item_id": [f"id{item}" for item in range(count)],
            "title": [f"Film {chr(97 + item % 26)}" for item in range(count)],
            "categories": categories or [[GENRES[item % 3], "Film"] for item in range(count)],
        }
    )


def training_of(user, item, label, time, items, kind="click"):
    """Pairs whose history holds the clicks strictly before."""
    user, item, time = np.asarray(user, np.int32), np.asarray(item, np.int32), np.asarray(time, np.int64)
    label = np.asarray(label, np.float32)
    history = [item[np.flatnonzero((user == u) & (time < t) & (label > 0))] for u, t in zip(user, time, strict=True)]
    pairs = Pairs(user, item, label, Ragged.from_lists(history), time, kind)
    return Training(np.unique(user), Ragged.empty(len(np.unique(user))), None, None, items, pairs=pairs)


@pytest.fixture(scope="module")
def many():
    """3,000 timed pairs; low item codes are liked, and chosen often."""
    rng = np.random.default_rng(0)
    item = (40 * rng.random(3000) ** 1.5).astype(np.int32)
    return training_of(
        rng.integers(0, 50, 3000),
        item,
        rng.random(3000) < 0.9 - item / 50,
        np.sort(rng.integers(0, 9000, 3000)),
        items_of(40),
    )


def same(first, second, row):
    return all(getattr(first, name)[row] == getattr(second, name)[row] for name in (*BANDS, "category"))


def figures(training, rows=None, items=None):
    pairs = training.pairs
    rows = np.arange(len(pairs)) if rows is None else rows
    asked = pairs.take(rows)
    text = training.items if items is None else items
    return Statistics.of(training).figures(asked.user, asked.item, asked.history, text, rows)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), row=st.integers(0, 299), seconds=st.sampled_from([3, 20, 200]))
def test_no_pair_is_told_its_own_label_or_what_came_later(seed, row, seconds):
    rng = np.random.default_rng(seed)
    user, item, label = rng.integers(0, 6, 300), rng.integers(0, 9, 300), rng.integers(0, 2, 300)
    time = np.sort(rng.integers(0, seconds, 300))
    before = figures(training_of(user, item, label, time, items_of(9)))
    not_earlier = time >= time[row]
    changed = np.where(not_earlier, rng.integers(0, 2, 300), label)
    changed[row] = 1 - label[row]
    others = not_earlier & (np.arange(300) != row)
    after = figures(
        training_of(
            np.where(others, rng.permutation(user), user),
            np.where(others, rng.permutation(item), item),
            changed,
            time,
            items_of(9),
        )
    )
    assert same(before, after, row)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), row=st.integers(0, 199))
def test_without_times_no_pair_is_told_its_own_label_or_later_ones_of_its_user(seed, row):
    rng = np.random.default_rng(seed)
    user, item, label = rng.integers(0, 20, 200), rng.integers(0, 9, 200), rng.integers(0, 2, 200)
    order = np.arange(200)
    training = training_of(user, item, label, order, items_of(9))
    untimed = replace(training, pairs=replace(training.pairs, time=None))
    changed = label.copy()
    changed[row] = 1 - changed[row]
    later = (user == user[row]) & (order > row)
    changed[later] = rng.integers(0, 2, later.sum())
    after = training_of(user, item, changed, order, items_of(9))
    after = replace(after, pairs=replace(after.pairs, time=None))
    assert same(figures(untimed), figures(after), row)


def test_the_order_of_rows_tells_nothing(many):
    order = np.random.default_rng(1).permutation(len(many.pairs))
    shuffled = replace(many, pairs=many.pairs.take(order))
    plain, mixed = figures(many), figures(shuffled)
    for name in BANDS:
        np.testing.assert_array_equal(getattr(plain, name)[order], getattr(mixed, name))


def test_popularity_and_reception_of_requests_follow_all_training_pairs(many):
    pairs = many.pairs
    clicks = np.bincount(pairs.item[pairs.label > 0], minlength=40)
    asked = np.arange(40)
    found = Statistics.of(many).figures(np.zeros(40), asked, Ragged.empty(40), many.items)
    share = np.array([(clicks[clicks > 0] < count).mean() for count in clicks])
    # Bands rise with the share of clicked items that the item is above.
    ranked = np.argsort(clicks, kind="stable")
    assert (np.diff(found.popularity[ranked]) >= 0).all()
    assert (found.popularity[clicks == 0] == 0).all()
    assert (found.popularity[share > 0.95] >= 4).all()
    assert (found.popularity[(clicks > 0) & (share < 0.45)] == 1).all()
    count = np.bincount(pairs.item, minlength=40)
    mean = (np.bincount(pairs.item, pairs.label, 40) + 5 * pairs.label.mean()) / (count + 5)
    rated = count > 0
    assert (np.diff(found.reception[rated][np.argsort(mean[rated], kind="stable")]) >= 0).all()
    # Fifths of the pairs.
    np.testing.assert_allclose(np.bincount(found.reception[pairs.item], minlength=5) / len(pairs), 0.2, atol=0.12)


def test_figures_of_the_history_are_counted_there(many):
    history = Ragged.from_lists([[], [0, 3, 1], [1, 4, 7, 10, 13, 16], [0] * 10])
    found = Statistics.of(many).figures(np.arange(4), np.array([0, 0, 1, 2]), history, many.items)
    assert [found.names[place] for place in found.category] == ["Comedy", "Comedy", "Drama", "War"]
    assert found.activity.tolist() == [0, 2, 2, 3]
    assert found.habit.tolist() == [-1, 2, 3, 0]


def test_users_are_told_apart_by_their_labels():
    user = np.repeat(np.arange(5), 60)
    label = np.random.default_rng(0).random(300) < (user + 0.5) / 5
    training = training_of(user, np.tile(np.arange(30), 10), label, np.arange(300), items_of(30))
    found = Statistics.of(training).figures(np.arange(6), np.zeros(6, int), Ragged.empty(6), training.items)
    assert (np.diff(found.leaning[:5]) >= 0).all()
    assert found.leaning[0] < 2 < found.leaning[4]
    assert found.leaning[5] == -1


def test_liking_compares_a_category_with_the_rest():
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(20), 60), np.tile(np.arange(30), 40)
    likes_war = user < 10
    label = rng.random(1200) < np.where((item % 3 == 2) == likes_war, 0.9, 0.3)
    training = training_of(user, item, label, np.arange(1200), items_of(30))
    found = Statistics.of(training).figures(np.array([0, 15]), np.array([2, 2]), Ragged.empty(2), training.items)
    assert found.liking.tolist() == [2, 0]


def test_unknown_users_and_items_have_figures(many):
    text = items_of(42, [["War"]] * 41 + [None])
    found = Statistics.of(many).figures(np.array([999, 999]), np.array([40, 41]), Ragged.from_lists([[2], [2]]), text)
    assert found.popularity.tolist() == [0, 0]
    assert found.reception.tolist() == found.leaning.tolist() == [-1, -1]
    assert found.habit.tolist() == [1, -1]


def test_training_and_requests_are_told_of_alike(many):
    """Nearly the same share of pairs in every band, though training pairs see only what came before."""
    cut = 2400
    early, late = many.pairs.take(np.arange(cut)), many.pairs.take(np.arange(cut, 3000))
    training = replace(many, pairs=early)
    learned = figures(training)
    asked = Statistics.of(training).figures(late.user, late.item, late.history, many.items)
    for name in ("popularity", "reception"):
        shares = [np.bincount(getattr(told, name) + 1, minlength=7) / len(told.popularity) for told in (learned, asked)]
        np.testing.assert_allclose(*shares, atol=0.12, err_msg=name)


def test_sequences_serve_where_there_are_no_pairs():
    sequences = Ragged.from_lists([[0, 1, 2], [0, 1], [0]])
    training = Training(np.array([3, 5, 9], np.int32), sequences, None, None, items_of(4))
    found = Statistics.of(training).figures(np.full(4, 3), np.arange(4), Ragged.empty(4), training.items)
    assert found.popularity.tolist() == sorted(found.popularity.tolist(), reverse=True)
    assert found.popularity[3] == 0
    assert (found.reception == -1).all()


def test_saved_statistics_answer_the_same(many, tmp_path):
    held = Statistics.of(many)
    held.save(tmp_path)
    back = Statistics.load(tmp_path)
    pairs, rows = many.pairs, np.arange(len(many.pairs))
    for asked in (None, rows):
        first, second = (s.figures(pairs.user, pairs.item, pairs.history, many.items, asked) for s in (held, back))
        for name in BANDS:
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not [path for path in tmp_path.iterdir() if path.suffix not in {".npz", ".parquet"}]


def test_rows_that_are_no_training_pairs_are_refused(many):
    with pytest.raises(UsageError, match="row by row"):
        Statistics.of(many).figures(np.array([999]), np.array([0]), Ragged.empty(1), many.items, np.array([0]))
