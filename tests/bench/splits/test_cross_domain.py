"""Cross-domain against a slow restatement of its rules on the raw rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import load_dataset
from bench.errors import DataError
from bench.splits import CrossDomain, Split, make_split

Rows = list[tuple[str, str, float, int]]


@pytest.fixture
def domains() -> tuple[Rows, Rows]:
    rng = random.Random(8)
    source = [
        (f"u{u}", f"s{i}", 4.0, rng.randrange(100)) for u in range(30) for i in rng.sample(range(20), rng.randrange(9))
    ]
    target = [
        (f"u{u}", f"t{i}", 2.0, rng.randrange(100))
        for u in range(15, 50)
        for i in rng.sample(range(12), rng.randrange(7))
    ]
    # Two items belong to both domains.
    return source, [*target, ("u20", "s1", 1.0, 50), ("u21", "s2", 1.0, 99)]


@pytest.fixture
def split(domains: tuple[Rows, Rows], make_card: Callable[..., Path]) -> Split:
    source, target = domains
    card = make_card(source, [(f"s{i}", f"Song {i}", "song") for i in range(20)], name="songs")
    return make_split(load_dataset(make_card(target, name="films")), CrossDomain(source=str(card)))


def test_the_source_is_learned_from_and_nothing_of_the_target(domains: tuple[Rows, Rows], split: Split) -> None:
    users, items = split.users["user_id"], split.items["item_id"]
    learned = {
        (users[int(u)], items[int(i)])
        for u, row in zip(split.training.user, split.training.sequences, strict=True)
        for i in row
    }
    assert learned == {(user, item) for user, item, _, _ in domains[0]}
    assert all(item.startswith("s") for item in split.training.items["item_id"])
    assert set(items) == {item for rows in domains for _, item, _, _ in rows}
    assert set(users) == {user for rows in domains for user, _, _, _ in rows}
    assert split.items.filter(split.items["item_id"] == "s3")["title"].to_list() == ["Song 3"]


def test_shared_users_are_asked_for_their_last_target_event(domains: tuple[Rows, Rows], split: Split) -> None:
    source, target = domains
    target = [row for row in target if row[1].startswith("t")]
    shared = {row[0] for row in source} & {row[0] for row in target}
    users, items = split.users["user_id"], split.items["item_id"]
    assert [(held.part, held.shots) for held in split.held_out] == [
        (p, k) for p in ("valid", "test") for k in (0, 1, 3, 5)
    ]
    asked: dict[str, set[str]] = {}
    for held in split.held_out:
        assert (held.quadrant, held.pool, held.unit) == ("warm-cold", "all", "user x item")
        assert set(items[held.candidates]) == {row[1] for row in target}
        asked[held.part] = set(users[held.user])
        for u, i, shown, masked in zip(held.user, held.item, held.history, held.exclude, strict=True):
            user, item = users[int(u)], items[int(i)]
            mine = {name: time for who, name, _, time in target if who == user}
            when = mine[item]
            assert when == max(mine.values())
            earlier = {name: time for who, name, _, time in source if who == user and time < when}
            names = items[shown].to_list()
            assert set(earlier) == {name for name in names if name.startswith("s")}
            of_target = [name for name in names if name.startswith("t")]
            assert len(of_target) == min(held.shots, len(mine) - 1)
            assert item not in of_target
            assert all(mine[name] <= when for name in of_target)
            times = [{**mine, **earlier}[name] for name in names]
            assert times == sorted(times)
            assert set(mine) - {item} <= set(items[masked])
            assert i not in masked
    assert asked["valid"] | asked["test"] == shared
    assert not asked["valid"] & asked["test"]
    assert len(asked["valid"]) == round(0.3 * len(shared))


def test_the_notes_count_what_was_shared_and_left_out(split: Split) -> None:
    shared = len({int(user) for held in split.held_out for user in held.user})
    assert any(f"{shared} users occur in both domains" in note for note in split.notes)
    assert any("2 items of films occur in songs too" in note for note in split.notes)


def test_identity_follows_what_the_source_holds_not_where_it_lies(
    domains: tuple[Rows, Rows], make_card: Callable[..., Path], tmp_path: Path
) -> None:
    source, target = domains
    films = load_dataset(make_card(target, name="films"))
    songs = make_card(source, name="songs")
    first = make_split(films, CrossDomain(source=str(songs)))
    moved = songs.with_name("moved.yaml")
    moved.write_text(songs.read_text(encoding="utf-8"), encoding="utf-8")
    assert make_split(films, CrossDomain(source=str(moved))).identity == first.identity
    changed = make_card([*source[1:], (*source[0][:3], source[0][3] + 1)], name="songs")
    assert make_split(films, CrossDomain(source=str(changed))).identity != first.identity
    np.testing.assert_array_equal(first.users["user"], np.arange(len(first.users)))


def test_no_shared_user_is_an_error_with_counts(make_card: Callable[..., Path]) -> None:
    songs = make_card([("a", "s1", 1.0, 1), ("b", "s2", 1.0, 1)], name="songs")
    films = load_dataset(make_card([("c", "t1", 1.0, 1)], name="films"))
    with pytest.raises(DataError, match=r"no user occurs in both songs \(2 users\) and films \(1 users\)"):
        make_split(films, CrossDomain(source=str(songs)))
