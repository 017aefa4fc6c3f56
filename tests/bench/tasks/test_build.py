from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import Ragged, load_dataset
from bench.errors import DataError, UsageError
from bench.splits import Clicks, ColdStart, CrossDomain, LeaveOneOut, Temporal, make_split
from bench.tasks import Answers, Labels, NothingToAsk, Requests, possible_sets, request_sets

ROWS = [(f"u{u}", f"i{(u * 3 + i) % 20}", 3.0, i) for u in range(30) for i in range(8)]
ITEMS = [(f"i{i}", f"Title {i}", "red blue") for i in range(20)]


def test_sequential_shows_the_history_and_direct_the_user_alone(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS, ITEMS)), LeaveOneOut())
    sets = {asked.name: asked for asked in request_sets(split, ["sequential", "direct"])}
    assert sorted(sets) == [
        f"{part}/{task}/warm-warm/all" for part in ("test", "valid") for task in ("direct", "sequential")
    ]
    sequential, direct = sets["test/sequential/warm-warm/all"], sets["test/direct/warm-warm/all"]
    assert direct.requests.history is None
    assert sequential.requests.history is not None
    assert sequential.requests.history.lengths.tolist() == [7] * 30
    np.testing.assert_array_equal(direct.answers.item, sequential.answers.item)
    assert len({asked.identity for asked in sets.values()}) == 4


def test_requests_carry_nothing_of_the_answers(make_card: Callable[..., Path]) -> None:
    for secret in (Answers, Labels):
        assert not issubclass(secret, Requests)
        assert not issubclass(Requests, secret)
    split = make_split(load_dataset(make_card(ROWS, ITEMS)), LeaveOneOut())
    for asked in request_sets(split, ["sequential"]):
        assert asked.requests.history is not None
        for row, item in enumerate(asked.answers.item):
            assert item not in asked.requests.history[row]


def test_direct_asks_about_training_users_only(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS, ITEMS)), ColdStart(test_users=0.3, test_items=0.3))
    assert {asked.quadrant for asked in request_sets(split, ["direct"])} == {"warm-warm", "warm-cold"}


def test_text_covers_histories_and_candidates(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS, ITEMS)), ColdStart(test_users=0.3, test_items=0.3))
    for asked in request_sets(split, ["sequential"]):
        requests = asked.requests
        assert requests.history is not None
        assert requests.catalogue.text["item"].to_list() == requests.catalogue.items.tolist()
        assert set(requests.text["item"]) == {*requests.catalogue.items.tolist(), *requests.history.values.tolist()}
        assert requests.text["title"].null_count() == 0


def test_taking_requests_keeps_rows_together(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS, ITEMS)), LeaveOneOut())
    asked = request_sets(split, ["sequential"])[0]
    rows = np.array([5, 0, 5])
    some = asked.take(rows)
    assert some.requests.user.tolist() == asked.requests.user[rows].tolist()
    assert some.answers.item.tolist() == asked.answers.item[rows].tolist()
    assert [row.tolist() for row in some.answers.exclude] == [asked.answers.exclude[int(r)].tolist() for r in rows]


def test_ratings_and_clicks_ask_about_one_item(make_card: Callable[..., Path]) -> None:
    dataset = load_dataset(make_card(ROWS, ITEMS))
    clicks = Temporal(validation=0.2, test=0.2, clicks=Clicks(negatives=2))
    for task, protocol in (("rating", LeaveOneOut()), ("click", clicks)):
        split = make_split(dataset, protocol)
        sets = request_sets(split, [task])
        assert len(sets) == len(split.pairs)
        assert len({asked.identity for asked in sets}) == len(sets)
        for asked, held in zip(sets, split.pairs, strict=True):
            requests = asked.requests
            assert asked.name == f"{held.part}/{task}/{held.quadrant}/pairs"
            assert isinstance(asked.answers, Labels)
            assert requests.item is not None
            assert requests.history is not None
            np.testing.assert_array_equal(asked.answers.label, held.pairs.label)
            np.testing.assert_array_equal(requests.item, held.pairs.item)
            assert set(requests.catalogue.items) == set(requests.item)
            assert set(requests.text["item"]) == {*requests.item, *requests.history.values}
            some = asked.take(np.array([1, 0]))
            assert some.requests.item is not None
            assert some.requests.item.tolist() == requests.item[[1, 0]].tolist()
            assert some.answers.label.tolist() == asked.answers.label[[1, 0]].tolist()


def test_sampled_candidates_are_for_the_direct_task_alone(make_card: Callable[..., Path]) -> None:
    dataset = load_dataset(make_card(ROWS, ITEMS))
    sampled = request_sets(make_split(dataset, LeaveOneOut(sampled=5)), ["sequential", "direct"])
    assert {asked.name for asked in sampled if asked.requests.candidates is not None} == {
        "valid/direct/warm-warm/sampled",
        "test/direct/warm-warm/sampled",
    }
    assert len(sampled) == 6
    (test,) = [asked for asked in sampled if asked.pool == "sampled" and asked.part == "test"]
    assert test.requests.candidates is not None
    assert len(test.requests.catalogue.items) == 20
    rows = np.array([4, 2])
    some = test.take(rows).requests.candidates
    assert some is not None
    assert [row.tolist() for row in some] == [test.requests.candidates[int(row)].tolist() for row in rows]


def test_direct_asks_once_where_only_the_history_differs(make_card: Callable[..., Path]) -> None:
    songs = make_card([(f"u{u}", f"s{i}", 3.0, i) for u in range(20) for i in range(3)], name="songs")
    split = make_split(load_dataset(make_card(ROWS, ITEMS)), CrossDomain(source=str(songs)))
    names = [asked.name for asked in request_sets(split, ["sequential", "direct"])]
    assert [name for name in names if name.startswith("test/sequential")] == [
        f"test/sequential/warm-cold/k={k}/all" for k in (0, 1, 3, 5)
    ]
    assert [name for name in names if name.startswith("test/direct")] == ["test/direct/warm-cold/k=0/all"]


@pytest.mark.parametrize(("task", "remedy"), [("rating", "every event has stars"), ("click", r"at_least: 4")])
def test_a_task_that_the_split_cannot_serve_says_what_could(
    make_card: Callable[..., Path], task: str, remedy: str
) -> None:
    split = make_split(load_dataset(make_card(ROWS)), ColdStart(test_users=0.3, test_items=0.3))
    with pytest.raises(UsageError, match=remedy):
        request_sets(split, [task])


@pytest.mark.parametrize("task", ["sequential", "direct"])
def test_a_split_without_rankings_says_so(make_card: Callable[..., Path], task: str) -> None:
    split = make_split(load_dataset(make_card(ROWS)), LeaveOneOut())
    bare = dataclasses.replace(split, held_out=())
    with pytest.raises(NothingToAsk, match=f"{task}: no event .* is held out; leave-one-out holds out two"):
        request_sets(bare, [task])
    sets, left_out = possible_sets(bare, [task, "rating"])
    assert {asked.task for asked in sets} == {"rating"}
    assert list(left_out) == [task]


def test_a_split_that_breaks_its_own_rules_is_refused(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS)), LeaveOneOut(sampled=5))
    full, drawn = split.held_out[:2]
    masked = dataclasses.replace(full, exclude=Ragged.from_lengths(np.ones(len(full.item), int), full.item))
    with pytest.raises(DataError, match="masks an answer"):
        request_sets(dataclasses.replace(split, held_out=(masked,)), ["sequential"])
    assert drawn.sampled is not None
    without = drawn.sampled.keep(drawn.sampled.values != drawn.item[drawn.sampled.row_of])
    with pytest.raises(DataError, match="exactly once"):
        request_sets(dataclasses.replace(split, held_out=(dataclasses.replace(drawn, sampled=without),)), ["direct"])


def test_an_unknown_task_is_refused(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS)), LeaveOneOut())
    with pytest.raises(UsageError, match="did you mean 'sequential'"):
        request_sets(split, ["sequentail"])
