from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.errors import UsageError
from bench.models import Training
from llm_models.indexing import IdIndex, make_index, make_user_index

MakeTraining = Callable[..., Training]
Rows = Callable[..., pl.DataFrame]


def walked(sequences: list[list[int]], users: list[int]) -> list[int]:
    """The definition, word for word: users in order, each item when it is met first."""
    order: list[int] = []
    for user in users:
        for item in sequences[user]:
            if item not in order:
                order.append(item)
    return order


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.choice(200, 6, replace=False).tolist() for _ in range(60)]


@pytest.fixture(scope="module")
def training(sequences: list[list[int]], make_training: MakeTraining) -> Training:
    """The last two events of everybody are held out."""
    return make_training([row[:-2] for row in sequences], leak=sequences)


@pytest.mark.parametrize(("digits", "first"), [(2, 1), (None, 1001)])
def test_numbers_follow_first_appearance_over_some_order_of_users(
    training: Training, sequences: list[list[int]], digits: int | None, first: int
) -> None:
    index = make_index("sequential", training, seed=3, digits=digits)
    users = make_user_index("sequential", training, seed=3, digits=digits)
    shuffled = np.argsort([int(word.removeprefix("user_")) for word in users.word]).tolist()
    assert shuffled != sorted(shuffled)
    order = walked([row[:-2] for row in sequences], shuffled)
    assert [int(word) - first for word in index.word] == [order.index(code) for code in index.code.tolist()]
    widths = {len(word) for word in index.word}
    assert widths == {4}


def test_the_original_walks_held_out_events_too(training: Training, sequences: list[list[int]]) -> None:
    index = make_index("sequential-original", training, seed=3, digits=None)
    users = make_user_index("sequential", training, seed=3)
    shuffled = np.argsort([int(word.removeprefix("user_")) for word in users.word]).tolist()
    order = walked(sequences, shuffled)
    assert [int(word) for word in index.word] == [1 + order.index(code) for code in index.code.tolist()]
    # Whoever is walked first has their whole sequence in a row, the held-out items last.
    first = sequences[shuffled[0]]
    assert [index.word[row] for row in index.rows(np.array(first))] == ["1", "2", "3", "4", "5", "6"]


def test_the_original_is_refused_unless_it_is_allowed(make_training: MakeTraining) -> None:
    with pytest.raises(UsageError, match="allow_leaky_index: true"):
        make_index("sequential-original", make_training([[1, 2, 3]]), seed=0)


def test_newcomers_get_random_free_places(training: Training, rows_of: Rows, tmp_path: Path) -> None:
    index = make_index("sequential", training, seed=0)
    assert index.can_extend
    new = list(range(1000, 1400))
    grown = index.extend(rows_of({**dict.fromkeys(new, None), int(index.code[0]): None}))
    assert grown.code.tolist() == sorted([*index.code.tolist(), *new])
    assert len(set(grown.word)) == len(grown.word)
    assert {len(word) for word in grown.word} == {4}
    for code, word in zip(index.code.tolist(), index.word, strict=True):
        assert grown.code_of[word] == code
    places = np.array([int(grown.word[row]) for row in grown.rows(np.array(new))])
    # Uniform over 1..9999 and no trace of the codes: mean and correlation are within four standard errors.
    assert abs(places.mean() - 5000) < 4 * 9999 / np.sqrt(12 * 400)
    assert abs(np.corrcoef(places, new)[0, 1]) < 4 / np.sqrt(400)
    index.save(tmp_path / "items.json")
    again = IdIndex.load(tmp_path / "items.json")
    assert again.digest == index.digest
    assert again.kind == "sequential"
    assert again.extend(rows_of(dict.fromkeys(reversed(new), None))).code_of == grown.code_of


def test_a_newcomer_has_the_same_word_whoever_comes_along(training: Training, rows_of: Rows) -> None:
    index = make_index("sequential", training, seed=0)
    alone = index.extend(rows_of({777: None}))
    crowd = index.extend(rows_of(dict.fromkeys(range(775, 780), None)))
    assert alone.word[alone.rows(np.array([777]))[0]] == crowd.word[crowd.rows(np.array([777]))[0]]


def test_more_newcomers_than_free_numbers_get_wider_ones(make_training: MakeTraining, rows_of: Rows) -> None:
    index = make_index("sequential", make_training([list(range(50))]), seed=0, digits=1)
    grown = index.extend(rows_of(dict.fromkeys(range(100, 200), None)))
    assert len(set(grown.word)) == 150
    assert {len(word) for word in grown.word} == {2, 4}
    assert {len(word) for word in index.word} == {2}


def test_items_of_pairs_alone_stand_behind(make_training: MakeTraining) -> None:
    index = make_index("sequential", make_training([[3, 4]], titles={1: "seen in a pair", 2: "too"}), seed=0)
    assert {index.word[row] for row in index.rows(np.array([1, 2]))} == {"0003", "0004"}
