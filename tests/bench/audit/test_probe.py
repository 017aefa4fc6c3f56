from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.audit import NUMBERINGS, first_appearance, next_number, number_items, pair_overlap, walks
from bench.data import load_dataset
from bench.data.ragged import Ragged
from bench.errors import DataError
from bench.metrics import parse
from bench.splits import LeaveOneOut, RandomReviews, Split, make_split
from bench.tasks import Answers, Catalogue, Requests, RequestSet, request_sets


def asked_of(histories: list[list[int]], answers: list[int], items: int, masked: list[list[int]]) -> RequestSet:
    codes = np.arange(items, dtype=np.int32)
    text = pl.DataFrame({"item": codes, "item_id": [str(code) for code in codes]})
    requests = Requests(
        task="sequential",
        user=np.arange(len(histories), dtype=np.int32),
        history=Ragged.from_lists(histories),
        catalogue=Catalogue(codes, text),
        text=text,
    )
    answer = Answers(np.array(answers, np.int32), Ragged.from_lists(masked))
    return RequestSet("test", "sequential", "warm-warm", None, "all", "user", requests, answer, "made by the test")


def by_the_rule(number: list[int], history: list[int], masked: set[int], depth: int) -> list[int]:
    """The rule as it is written down, one number after the other."""
    item_of = {n: item for item, n in enumerate(number) if n >= 0}
    shown = [number[item] for item in history if number[item] >= 0]
    if not shown:
        return []
    proposals = [max(shown) + 1, *(n + 1 for n in reversed(shown)), *range(max(shown) + 2, max(number) + 1)]
    listed: list[int] = []
    for proposal in proposals:
        item = item_of.get(proposal)
        if item is not None and item not in masked and item not in listed:
            listed.append(item)
    return listed[:depth]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[int], list[list[int]], list[int], list[list[int]]]:
    items = draw(st.integers(3, 12))
    number = list(draw(st.permutations(range(1, items + 1))))
    for item in draw(st.sets(st.integers(0, items - 1), max_size=2)):
        number[item] = -1
    histories, answers, masked = [], [], []
    for _ in range(draw(st.integers(1, 5))):
        answer = draw(st.integers(0, items - 1))
        others = [item for item in range(items) if item != answer]
        history = draw(st.lists(st.sampled_from(others), max_size=6))
        histories.append(history)
        answers.append(answer)
        masked.append(sorted({*history, *draw(st.sets(st.sampled_from(others), max_size=2))}))
    return number, histories, answers, masked


@settings(deadline=None)
@given(worlds(), st.integers(1, 12))
def test_lists_are_those_of_the_rule(
    world: tuple[list[int], list[list[int]], list[int], list[list[int]]], depth: int
) -> None:
    number, histories, answers, masked = world
    counts = next_number(np.array(number), asked_of(histories, answers, len(number), masked), depth=depth)
    for row, (history, answer) in enumerate(zip(histories, answers, strict=True)):
        expected = by_the_rule(number, history, set(masked[row]), depth)
        assert counts.top[row].tolist() == expected
        assert counts.served[row] == any(number[item] >= 0 for item in history)
        if answer in expected:
            assert counts.above[row] == expected.index(answer)
        elif counts.served[row]:
            assert counts.above[row] == len(number) - len(masked[row]) - 1


def test_what_it_cannot_probe_is_refused() -> None:
    asked = asked_of([[0]], [1], 3, [[0]])
    with pytest.raises(ValueError, match="share a number"):
        next_number(np.array([1, 1, 2]), asked)
    direct = asked_of([[0]], [1], 3, [[0]])
    object.__setattr__(direct.requests, "history", None)
    with pytest.raises(ValueError, match="shows none"):
        next_number(np.array([1, 2, 3]), direct)


def test_first_appearance_walks_users_one_after_the_other() -> None:
    rows = [[5, 1, 2], [2, 7], [9], [1, 5, 8]]
    found = {tuple(first_appearance(Ragged.from_lists(rows), seed=seed).tolist()) for seed in range(40)}
    possible = set()
    for order in itertools.permutations(range(4)):
        possible.add(tuple(dict.fromkeys(item for user in order for item in rows[user])))
    assert found <= possible
    assert len(found) > 5


@pytest.fixture(scope="module")
def movies() -> Split:
    return make_split(load_dataset("ml-100k"), LeaveOneOut())


def test_a_walk_is_the_whole_sequence_of_leave_one_out(movies: Split) -> None:
    user, items = walks(movies)
    test = next(held for held in movies.held_out if held.part == "test")
    whole = {int(one): row.tolist() for one, row in zip(user, items, strict=True)}
    for row in range(0, len(test.user), 97):
        found = list(dict.fromkeys(whole[int(test.user[row])]))
        assert found == [*test.history[row].tolist(), int(test.item[row])]


@pytest.mark.parametrize("numbering", NUMBERINGS)
def test_every_item_gets_a_number_of_its_own(movies: Split, numbering: str) -> None:
    number = number_items(movies, numbering, seed=1)
    assert sorted(number.tolist()) == list(range(1, len(movies.items) + 1))
    assert (number != number_items(movies, numbering, seed=2)).any()
    trained = np.isin(np.arange(len(number)), movies.training.item)
    if numbering == "training-only":
        assert number[trained].max() == trained.sum()


def test_pairs_are_found_in_training_where_a_protocol_leaves_them_there(movies: Split) -> None:
    assert all(one.found == 0 and one.pairs > 0 for one in pair_overlap(movies))
    found = {one.name: one for one in pair_overlap(make_split(load_dataset("ml-100k"), RandomReviews()))}
    leaking = found["test, warm-warm"]
    # P5's random 80/10/10 beside leave-one-out: a test pair is a training review in eight of ten cases.
    assert leaking.found / leaking.pairs == pytest.approx(0.8, abs=0.05)


def test_the_original_numbers_of_beauty_give_away_what_comes_next() -> None:
    """PROTOCOLS C1: mean HR@5 .0686 (sd .0015) of five shuffles, .0130 from training rows, .0004 at random."""
    try:
        dataset = load_dataset("amazon-beauty", download=False)
    except DataError:
        pytest.skip("needs S3-Rec's Beauty sequences in BENCH_DATA_DIR/s3rec")
    split = make_split(dataset, LeaveOneOut())
    asked = next(one for one in request_sets(split, ["sequential"]) if one.part == "test")
    metrics = [parse(name) for name in ("HR@1", "HR@5", "NDCG@5")]

    def reached(numbering: str) -> np.ndarray:
        drawn = [next_number(number_items(split, numbering, seed=seed), asked, depth=5) for seed in range(5)]
        return np.array([[m.per_request(c.above, c.tied, c.served).mean() for m in metrics] for c in drawn])

    original = reached("original")
    # Two means of five shuffles each, of a standard deviation s, differ by s sqrt(2/5) as a rule: three of that.
    for column, (mean, spread) in enumerate([(0.0560, 0.0011), (0.0686, 0.0015), (0.0630, 0.0015)]):
        assert original[:, column].mean() == pytest.approx(mean, abs=3 * spread * np.sqrt(2 / 5))
    assert 0.0005 < original[:, 1].std(ddof=1) < 0.0035
    assert reached("training-only")[:, 1].mean() == pytest.approx(0.0130, abs=0.0025)
    assert reached("random")[:, 1].mean() == pytest.approx(0.0004, abs=0.0002)
