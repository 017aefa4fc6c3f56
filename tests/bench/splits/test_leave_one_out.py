from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import load_dataset
from bench.errors import DataError
from bench.splits import HeldOut, LeaveOneOut, Split, make_split

ROWS = [
    ("u1", "a", 5.0, 10), ("u1", "b", 4.0, 20), ("u1", "c", 3.0, 30), ("u1", "d", 3.0, 40),
    ("u2", "b", 5.0, 10), ("u2", "a", 4.0, 20), ("u2", "e", 3.0, 30),
    ("u3", "c", 1.0, 10), ("u3", "a", 1.0, 20),
]  # fmt: skip


def ids(split: Split, codes: np.ndarray) -> list[str]:
    return split.items["item_id"][codes].to_list()


def by_part(split: Split) -> dict[str, HeldOut]:
    return {held.part: held for held in split.held_out}


def test_known_split(make_card: Callable[..., Path]) -> None:
    split = make_split(load_dataset(make_card(ROWS)), LeaveOneOut())
    users = split.users["user_id"]
    sequences = {
        users[int(user)]: ids(split, row)
        for user, row in zip(split.training.user, split.training.sequences, strict=True)
    }
    # u3 has two events only: too few to hold anything out, so both are learned from.
    assert sequences == {"u1": ["a", "b"], "u2": ["b"], "u3": ["c", "a"]}
    for part, wanted in (
        ("valid", {"u1": ("c", ["a", "b"]), "u2": ("a", ["b"])}),
        ("test", {"u1": ("d", ["a", "b", "c"]), "u2": ("e", ["b", "a"])}),
    ):
        held = by_part(split)[part]
        found = {
            users[int(user)]: (ids(split, held.item[[row]])[0], ids(split, held.history[row]))
            for row, user in enumerate(held.user)
        }
        assert found == wanted
        assert [sorted(row) for row in held.exclude] == [sorted(row) for row in held.history]
        assert held.candidates.tolist() == list(range(5))
        assert held.unit == "user"
    assert split.training.rating is not None
    assert sorted(split.training.rating.tolist()) == [1, 1, 4, 5, 5]
    assert split.training.time is not None
    assert sorted(split.training.time.tolist()) == [10, 10, 10, 20, 20]


def test_the_order_of_rows_does_not_matter_and_ties_follow_the_seed(make_card: Callable[..., Path]) -> None:
    # Every event of a user carries the same time: only the tie-break orders them.
    rows = [(f"u{u}", f"i{i}", 3.0, 7) for u in range(12) for i in range(6)]
    first = make_split(load_dataset(make_card(rows)), LeaveOneOut())
    shuffled = random.Random(1).sample(rows, len(rows))
    second = make_split(load_dataset(make_card(shuffled, name="again")), LeaveOneOut())
    other = make_split(load_dataset(make_card(rows)), LeaveOneOut(), seed=1)
    tests = [by_part(split)["test"].item.tolist() for split in (first, second, other)]
    assert tests[0] == tests[1]
    assert tests[0] != tests[2]
    np.testing.assert_array_equal(first.training.sequences.values, second.training.sequences.values)
    assert first.identity != other.identity


def test_identity_follows_the_data_not_its_row_order(make_card: Callable[..., Path]) -> None:
    first = make_split(load_dataset(make_card(ROWS)), LeaveOneOut())
    reordered = make_split(load_dataset(make_card(ROWS[::-1])), LeaveOneOut())
    changed = make_split(load_dataset(make_card([*ROWS[:-1], ("u3", "a", 1.0, 21)])), LeaveOneOut())
    assert first.identity == reordered.identity
    assert first.identity != changed.identity


def test_nothing_to_hold_out_is_an_error(make_card: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="at least three"):
        make_split(load_dataset(make_card(ROWS[-2:])), LeaveOneOut())


def test_no_held_out_pair_is_learned_from(make_card: Callable[..., Path]) -> None:
    rng = random.Random(0)
    rows = [
        (f"u{u}", f"i{i}", 3.0, rng.randrange(9))
        for u, i in itertools.product(range(20), range(9))
        if rng.random() < 0.6
    ]
    split = make_split(load_dataset(make_card(rows)), LeaveOneOut())
    learned = set(
        zip(
            np.repeat(split.training.user, split.training.sequences.lengths).tolist(),
            split.training.sequences.values.tolist(),
            strict=True,
        )
    )
    held_pairs = [
        (int(user), int(item)) for held in split.held_out for user, item in zip(held.user, held.item, strict=True)
    ]
    assert held_pairs
    assert not learned & set(held_pairs)
    assert len(learned) + len(held_pairs) == len(rows)
    for held in split.held_out:
        for row, item in enumerate(held.item):
            assert item not in held.exclude[row]
