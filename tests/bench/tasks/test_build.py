from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import load_dataset
from bench.errors import UsageError
from bench.splits import ColdStart, LeaveOneOut, make_split
from bench.tasks import Answers, Requests, request_sets

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
    answer_fields = {field.name for field in dataclasses.fields(Answers)}
    assert not answer_fields & {field.name for field in dataclasses.fields(Requests)}
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


def test_an_unknown_task_is_refused(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS)), LeaveOneOut())
    with pytest.raises(UsageError, match="did you mean 'sequential'"):
        request_sets(split, ["sequentail"])
