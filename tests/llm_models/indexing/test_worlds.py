"""An index knows nothing of held-out rows: worlds that differ in those alone get the same ids."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.audit import number_items
from bench.data import load_dataset
from bench.errors import ModelError, UsageError
from bench.models import Training
from bench.splits import LeaveOneOut, Split, make_split
from llm_models.indexing import ITEM_KINDS, USER_KINDS, extendable, make_index, make_user_index, making, sequential_ids

ITEMS, USERS = 24, 14
WORDS = ["soap", "cream", "brush", "oil", "comb", "mask", "gel", "balm"]
KINDS: dict[str, dict[str, Any]] = {
    "random": {},
    "sequential": {},
    "sequential, plain": {"digits": None},
    "collaborative": {"clusters": 3, "leaf": 5},
    "semantic": {"levels": 2, "codebook": 4},
}
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

MakeCard = Callable[..., Path]
World = Callable[..., Split]


@pytest.fixture
def world(make_card: MakeCard) -> World:
    """Training rows drawn by one seed, each user's last two events by another; users and items of the same ids."""

    def cut(training: int, held_out: int, *, newer: int = 0, shuffled: int | None = None, leak: bool = False) -> Split:
        rng = random.Random(training)
        # Somebody met all items in training, so that there are no others.
        own = [rng.sample(range(ITEMS), ITEMS), *(rng.sample(range(ITEMS), rng.randint(3, 8)) for _ in range(USERS))]
        rng = random.Random(held_out)
        later = [rng.sample([item for item in range(ITEMS + newer) if item not in row], 2) for row in own[1:]]
        rows = [
            (f"u{user}", f"i{item}", 5.0, time)
            for user, row in enumerate([[*own[0], 100, 101], *(a + b for a, b in zip(own[1:], later, strict=True))])
            for time, item in enumerate(row)
        ]
        if shuffled is not None:
            random.Random(shuffled).shuffle(rows)
        met = sorted({int(item[1:]) for _, item, _, _ in rows})
        rng = random.Random(0)
        titles = {item: " ".join(rng.sample(WORDS, 4)) for item in range(200)}
        items = [(f"i{item}", titles[item], "beauty") for item in met]
        return make_split(load_dataset(str(make_card(rows, items))), LeaveOneOut(), leak=leak)

    return cut


def make(kind: str, training: Training, seed: int) -> Any:
    return make_index(kind.partition(",")[0], training, seed=seed, **KINDS[kind])


def named(index: Any, split: Split) -> dict[str, str]:
    ids = split.items["item_id"]
    return {ids[code]: word for code, word in zip(index.code.tolist(), index.word, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
@few
@given(training=st.integers(0, 50), one=st.integers(0, 10**6), other=st.integers(0, 10**6), seed=st.integers(0, 3))
@example(training=1, one=1, other=2, seed=0)
def test_other_held_out_rows_the_same_index(
    world: World, kind: str, training: int, one: int, other: int, seed: int
) -> None:
    here, there = world(training, one), world(training, other, shuffled=seed)
    assert make(kind, here.training, seed).digest == make(kind, there.training, seed).digest
    for users in USER_KINDS:
        mine, theirs = (make_user_index(users, split.training, seed=seed) for split in (here, there))
        assert mine.digest == theirs.digest


@pytest.mark.parametrize("kind", KINDS)
@few
@given(training=st.integers(0, 50), one=st.integers(0, 10**6), other=st.integers(0, 10**6))
def test_items_met_in_held_out_rows_alone_move_no_word(
    world: World, kind: str, training: int, one: int, other: int
) -> None:
    # Codes shift when there are more items; what an item is called must not.
    here, there = world(training, one), world(training, other, newer=15)
    assert named(make(kind, here.training, 0), here) == named(make(kind, there.training, 0), there)


def test_rq_vae_too(world: World) -> None:
    here, there = world(1, 1), world(1, 2, newer=15, shuffled=3)
    first, second = (
        named(make_index("semantic", one.training, seed=0, method="rq-vae", levels=2, codebook=4), one)
        for one in (here, there)
    )
    assert first == second


def test_the_original_moves_with_held_out_rows(world: World) -> None:
    here, there = (world(1, held, leak=True) for held in (1, 2))
    one, other = (make_index("sequential-original", split.training, seed=0, digits=None) for split in (here, there))
    assert one.digest != other.digest
    # The audit probes the very numbers that P5 would be given.
    numbers = number_items(here, "original", seed=0)
    assert [int(word) for word in one.word] == numbers[one.code].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_honest_kinds_stay_where_a_leak_is_allowed(world: World, kind: str) -> None:
    assert make(kind, world(1, 1, leak=True).training, 0).digest == make(kind, world(1, 1).training, 0).digest


def test_an_index_that_looks_fails_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def looking(training: Training, **settings: Any) -> Any:
        whole = training if training.leak is None else replace(training, sequences=training.leak)
        return sequential_ids(whole, **settings)

    monkeypatch.setattr(making, "sequential_ids", looking)
    with pytest.raises(ModelError, match="the index 'sequential' changes when held-out rows change"):
        make_index("sequential", world(1, 1, leak=True).training, seed=0)


def test_every_kind_is_known_by_name(world: World) -> None:
    assert {kind.partition(",")[0] for kind in KINDS} == set(ITEM_KINDS) - {"sequential-original"}
    split = world(1, 1)
    for kind in KINDS:
        index = make(kind, split.training, 0)
        assert index.kind == kind.partition(",")[0]
        assert index.can_extend == extendable(index.kind)
        assert not any(character.isspace() for word in index.word for character in word)
    with pytest.raises(UsageError, match="did you mean 'semantic'"):
        make_index("semantics", split.training, seed=0)
    with pytest.raises(UsageError, match="unknown index of users 'collaborative'"):
        make_user_index("collaborative", split.training, seed=0)
