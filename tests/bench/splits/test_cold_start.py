"""The cold-start protocol against a slow restatement of its rules on the raw rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bench.data import load_dataset
from bench.splits import ColdStart, HeldOut, Split, make_split

SPEC = ColdStart(test_users=0.25, test_items=0.2, validation_users=0.15, validation_items=0.1)


@pytest.fixture
def rows() -> list[tuple[str, str, float, int]]:
    rng = random.Random(3)
    return [
        (f"u{u}", f"i{i}", float(rng.randrange(1, 6)), rng.randrange(40))
        for u in range(60)
        for i in rng.sample(range(40), rng.randrange(6, 25))
    ]


@pytest.fixture
def split(rows: list[tuple[str, str, float, int]], make_card: Callable[..., Path]) -> Split:
    return make_split(load_dataset(make_card(rows)), SPEC)


def groups(split: Split) -> dict[str, set[int]]:
    """Cold users and items by part, read off the request sets."""
    found: dict[str, set[int]] = {}
    for held in split.held_out:
        if held.pool == "cold":
            found[f"{held.part} items"] = set(held.candidates.tolist())
        if held.quadrant == "cold-warm":
            found[f"{held.part} users"] = set(held.user.tolist())
    return found


def times(split: Split, rows: list[tuple[str, str, float, int]]) -> dict[tuple[int, int], int]:
    user = {name: code for code, name in split.users.iter_rows()}
    item = dict(zip(split.items["item_id"], split.items["item"], strict=True))
    return {(user[u], item[i]): time for u, i, _, time in rows}


def sets(split: Split, part: str, quadrant: str) -> list[HeldOut]:
    return [held for held in split.held_out if held.part == part and held.quadrant == quadrant]


def test_training_sees_warm_users_on_warm_items_only(split: Split) -> None:
    cold = groups(split)
    users, items = set(split.training.user.tolist()), set(split.training.sequences.values.tolist())
    assert not users & (cold["test users"] | cold["valid users"])
    assert not items & (cold["test items"] | cold["valid items"])
    assert set(split.training.items["item"]) == items
    assert not cold["test users"] & cold["valid users"]
    assert not cold["test items"] & cold["valid items"]
    assert len(cold["test users"]) == 15
    assert len(cold["test items"]) == 8
    assert len(cold["valid items"]) == 4


def test_every_quadrant_is_there_in_both_parts(split: Split) -> None:
    for part in ("valid", "test"):
        assert [len(sets(split, part, q)) for q in ("warm-warm", "cold-warm", "warm-cold", "cold-cold")] == [1, 4, 2, 8]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_cold_users_get_one_target_for_every_k(
    split: Split, rows: list[tuple[str, str, float, int]], part: str
) -> None:
    time = times(split, rows)
    cold = groups(split)
    warm_items = set(split.items["item"]) - cold["test items"] - cold["valid items"]
    by_shots = {held.shots: held for held in sets(split, part, "cold-warm")}
    assert sorted(by_shots) == [0, 1, 3, 5]
    reference = by_shots[0]
    for shots, held in by_shots.items():
        assert held.user.tolist() == reference.user.tolist()
        assert held.item.tolist() == reference.item.tolist()
        assert len(set(held.user.tolist())) == len(held.user)
        assert set(held.candidates.tolist()) == warm_items
        assert held.unit == "user"
        for row, (user, target) in enumerate(zip(held.user.tolist(), held.item.tolist(), strict=True)):
            mine = {item: when for (other, item), when in time.items() if other == user}
            earlier = {item for item, when in mine.items() if when < mine[target]}
            tied = {item for item, when in mine.items() if when == mine[target]} - {target}
            shown, masked = held.history[row].tolist(), set(held.exclude[row].tolist())
            # The last warm item: no warm item of this user is later.
            assert max(mine[item] for item in set(mine) & warm_items) == mine[target]
            assert earlier <= masked <= earlier | tied
            assert set(shown) <= masked & warm_items
            assert len(shown) == min(shots, len(masked & warm_items))
            assert [mine[item] for item in shown] == sorted(mine[item] for item in shown)
            unseen = (masked & warm_items) - set(shown)
            if shown and unseen:
                assert min(mine[item] for item in shown) >= max(mine[item] for item in unseen)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_cold_items_are_asked_for_at_every_event_with_a_past(
    split: Split, rows: list[tuple[str, str, float, int]], part: str
) -> None:
    time = times(split, rows)
    cold = groups(split)
    warm_items = set(split.items["item"]) - cold["test items"] - cold["valid items"]
    cold_users = cold["test users"] | cold["valid users"]
    among_cold, among_all = sorted(sets(split, part, "warm-cold"), key=lambda held: len(held.candidates))
    assert set(among_cold.candidates.tolist()) == cold[f"{part} items"]
    assert len(among_all.candidates) == len(split.items)
    assert among_cold.item.tolist() == among_all.item.tolist()
    assert among_cold.unit == "user x item"

    (warm_test,) = sets(split, "test", "warm-warm")
    tested = set(zip(warm_test.user.tolist(), warm_test.item.tolist(), strict=True)) if part == "valid" else set()
    assert part == "test" or tested

    def past(user: int, when: int) -> list[int]:
        mine = [
            (t, item)
            for (other, item), t in time.items()
            if other == user and item in warm_items and t < when and (user, item) not in tested
        ]
        return [item for _, item in sorted(mine)]

    wanted = {
        (user, item)
        for (user, item), when in time.items()
        if user not in cold_users and item in cold[f"{part} items"] and past(user, when)
    }
    assert set(zip(among_cold.user.tolist(), among_cold.item.tolist(), strict=True)) == wanted
    trained = {
        user: set(row.tolist())
        for user, row in zip(split.training.user.tolist(), split.training.sequences, strict=True)
    }
    for row, (user, target) in enumerate(zip(among_cold.user.tolist(), among_cold.item.tolist(), strict=True)):
        shown, when = among_cold.history[row].tolist(), time[user, target]
        assert sorted(shown) == sorted(past(user, when))
        assert [time[user, item] for item in shown] == sorted(time[user, item] for item in shown)
        earlier = {
            item for (other, item), t in time.items() if other == user and t < when and (user, item) not in tested
        }
        assert set(among_cold.exclude[row].tolist()) == earlier | trained.get(user, set())
        assert target not in among_cold.exclude[row]


def test_cold_users_on_cold_items_see_warm_items_only(split: Split) -> None:
    cold = groups(split)
    for held in sets(split, "test", "cold-cold"):
        assert set(held.user.tolist()) <= cold["test users"]
        assert set(held.item.tolist()) <= cold["test items"]
        assert not set(held.history.values.tolist()) & (cold["test items"] | cold["valid items"])
        assert held.history.lengths.max() <= held.shots
        assert all(item not in held.exclude[row] for row, item in enumerate(held.item))


def test_the_draw_follows_the_seed_and_each_id_alone(
    rows: list[tuple[str, str, float, int]], make_card: Callable[..., Path]
) -> None:
    dataset = load_dataset(make_card(rows))
    same, other = (make_split(dataset, SPEC, seed=seed) for seed in (0, 1))
    again = make_split(load_dataset(make_card(rows[::-1])), SPEC)
    assert groups(same) == groups(again)
    assert same.identity == again.identity
    assert groups(same) != groups(other)
    np.testing.assert_array_equal(same.training.sequences.values, again.training.sequences.values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"test_users": 0.6, "validation_users": 0.4},
        {"test_items": 1.0},
        {"shots": ()},
        {"shots": (1, 1)},
        {"k": 3},
        {"sets": ()},
        {"sets": ("warm-cold/warm",)},
    ],
)
def test_senseless_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ColdStart.model_validate(wrong)


def test_asking_some_sets_alone_leaves_them_and_what_is_learned_from_as_they_are(
    rows: list[tuple[str, str, float, int]], split: Split, make_card: Callable[..., Path]
) -> None:
    some = make_split(load_dataset(make_card(rows)), SPEC.model_copy(update={"sets": ("warm-cold/cold",)}))
    assert [(held.part, held.quadrant, held.pool) for held in some.held_out] == [
        (part, "warm-cold", "cold") for part in ("valid", "test")
    ]
    for held in some.held_out:
        same = next(one for one in sets(split, held.part, "warm-cold") if one.pool == "cold")
        np.testing.assert_array_equal(held.item, same.item)
        np.testing.assert_array_equal(held.history.values, same.history.values)
    np.testing.assert_array_equal(some.training.sequences.values, split.training.sequences.values)
    assert "asked: warm-cold/cold" in some.protocol
    assert some.identity != split.identity
    assert "sets" not in SPEC.identity()


def test_clicks_stand_beside_negatives_of_their_kind_that_the_user_does_not_meet(
    rows: list[tuple[str, str, float, int]], make_card: Callable[..., Path]
) -> None:
    spec = SPEC.model_copy(update={"negatives": 3, "shots": (0, 2)})
    split = make_split(load_dataset(make_card(rows)), spec)
    plain = make_split(load_dataset(make_card(rows)), SPEC.model_copy(update={"shots": (0, 2)}))
    assert split.identity != plain.identity
    assert plain.training.pairs is None
    assert not plain.pairs
    time = times(split, rows)
    met: dict[int, set[int]] = {}
    for user, item in time:
        met.setdefault(user, set()).add(item)
    trained = split.training
    learned = trained.pairs
    assert learned is not None
    assert [len(learned), int(learned.label.sum())] == [
        4 * len(trained.sequences.values),
        len(trained.sequences.values),
    ]
    seen = {int(user): set(row.tolist()) for user, row in zip(trained.user, trained.sequences, strict=True)}
    warm = set(trained.items["item"])
    for row in range(len(learned)):
        user, item = int(learned.user[row]), int(learned.item[row])
        assert item in warm
        assert (item in seen[user]) == bool(learned.label[row])
        assert learned.time is not None
        shown = {other for other in seen[user] if time[user, other] < learned.time[row]}
        assert set(learned.history[row].tolist()) == shown
    quadrants = ["warm-warm", "cold-warm", "warm-cold", "cold-cold"]
    for part in ("valid", "test"):
        assert [held.quadrant for held in split.pairs if held.part == part] == quadrants
    for held in split.pairs:
        pairs = held.pairs
        match = next(
            one
            for one in split.held_out
            if (one.part, one.quadrant) == (held.part, held.quadrant) and one.pool != "all" and one.shots in (None, 2)
        )
        clicks = np.flatnonzero(pairs.label)
        assert (pairs.user[clicks] == match.user).all()
        assert (pairs.item[clicks] == match.item).all()
        assert [row.tolist() for row in pairs.history.take(clicks)] == [row.tolist() for row in match.history]
        assert set(pairs.item.tolist()) <= set(match.candidates.tolist())
        others = pairs.label == 0
        if held.part == "test":  # all is known by then
            assert not [1 for u, i in zip(pairs.user[others], pairs.item[others], strict=True) if i in met[int(u)]]
        assert int(others.sum()) <= 3 * len(clicks)


def test_what_only_the_test_knows_may_be_a_negative_of_validation(
    rows: list[tuple[str, str, float, int]], make_card: Callable[..., Path]
) -> None:
    """Else the absence of an item among the negatives would tell that the test asks for it."""
    many = SPEC.model_copy(update={"negatives": 30, "shots": (2,)})
    split = make_split(load_dataset(make_card(rows)), many)
    asked = {held.part: held for held in split.held_out if held.quadrant == "warm-warm"}
    answer = dict(zip(asked["test"].user.tolist(), asked["test"].item.tolist(), strict=True))
    drawn = {(held.part, held.quadrant): held.pairs for held in split.pairs}["valid", "warm-warm"]
    others = drawn.label == 0
    pairs = zip(drawn.user[others].tolist(), drawn.item[others].tolist(), strict=True)
    assert any(answer[user] == item for user, item in pairs)
    assert split.training.pairs is not None
    learned = split.training.pairs.take(np.flatnonzero(split.training.pairs.label == 0))
    pairs = zip(learned.user.tolist(), learned.item.tolist(), strict=True)
    assert any(answer.get(user) == item for user, item in pairs)
