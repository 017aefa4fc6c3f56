from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.data import load_dataset, tie_statistics
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
    """The sets that rank the whole catalogue."""
    return {held.part: held for held in split.held_out if held.pool == "all"}


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


def test_ratings_are_held_out_with_the_same_events(event: Any, make_dataset: Callable[..., Any]) -> None:
    rows = [event(u, i, rating, time, f"{u} on {i}") for u, i, rating, time in ROWS]
    split = make_split(make_dataset(rows), LeaveOneOut())
    stars = {(u, i): rating for u, i, rating, _ in ROWS}
    ranked = by_part(split)
    assert [held.part for held in split.pairs] == ["valid", "test"]
    for held in split.pairs:
        pairs, same = held.pairs, ranked[held.part]
        assert (held.unit, held.quadrant, pairs.kind) == ("user", "warm-warm", "rating")
        np.testing.assert_array_equal(pairs.user, same.user)
        np.testing.assert_array_equal(pairs.item, same.item)
        assert [row.tolist() for row in pairs.history] == [row.tolist() for row in same.history]
        names = list(zip(split.users["user_id"][pairs.user], ids(split, pairs.item), strict=True))
        assert pairs.label.tolist() == [stars[name] for name in names]
        assert pairs.reviews is not None
        assert pairs.reviews.frame()["text"].to_list() == [f"{user} on {item}" for user, item in names]
    assert split.training.pairs is None
    unrated = [event(u, i, None, time) for u, i, _, time in ROWS]
    assert make_split(make_dataset(unrated), LeaveOneOut()).pairs == ()


def test_ties_at_the_end_are_reported_and_broken_by_the_seed(make_card: Callable[..., Path]) -> None:
    # 43 of 100 users have their last two events in one second, as in Amazon's reviews by day.
    rows = [(f"u{u}", f"i{(u + 7 * n) % 50}", 3.0, n - (n == 5 and u < 43)) for u in range(100) for n in range(6)]
    dataset = load_dataset(make_card(rows))
    ties = tie_statistics(dataset.events)
    assert ties is not None
    assert ties.users_last_two == pytest.approx(0.43)

    def answers(split: Split) -> dict[str, str]:
        held = by_part(split)["test"]
        return dict(zip(split.users["user_id"][held.user], ids(split, held.item), strict=True))

    split = make_split(dataset, LeaveOneOut())
    assert any("43%" in note for note in split.notes)
    shuffled = load_dataset(make_card(random.Random(3).sample(rows, len(rows)), name="shuffled"))
    assert answers(make_split(shuffled, LeaveOneOut())) == answers(split)
    other = answers(make_split(dataset, LeaveOneOut(), seed=1))
    differ = {user for user, item in other.items() if item != answers(split)[user]}
    tied = {f"u{u}" for u in range(43)}
    assert differ <= tied
    assert 10 < len(differ) < 33


def test_sequences_without_times_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    (tmp_path / "s.txt").write_text("1 3 1 2 4\n2 4 2 1\n", encoding="utf-8")
    card = {"name": "lines", "title": "Lines", "description": "Made by a test.", "licence": "none", "citation": "none"}
    card |= {"reader": "s3rec", "order": "sequence", "files": {"interactions": {"path": "s.txt"}}}
    path = tmp_path / "lines.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    split = make_split(load_dataset(path), LeaveOneOut())
    assert any("tie order unknown" in note for note in split.notes)
    test = by_part(split)["test"]
    shown = {tuple(ids(split, row)): ids(split, test.item[[n]])[0] for n, row in enumerate(test.history)}
    assert shown == {("3", "1", "2"): "4", ("4", "2"): "1"}
