"""Draws of items never met: exact, uniform, and a function of hashes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.data.ragged import Ragged
from bench.splits import LeaveOneOut, Split, make_split
from bench.splits.draws import draw_unmet


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[int]], list[int], list[int], int]:
    met = [sorted(draw(st.sets(st.integers(0, 14)))) for _ in range(draw(st.integers(1, 4)))]
    group = draw(st.lists(st.integers(0, len(met) - 1), min_size=1, max_size=6))
    known = [draw(st.integers(0, 15)) for _ in group]
    return met, group, known, draw(st.integers(1, 16))


@given(worlds(), st.integers(0, 2**32))
def test_drawn_places_are_distinct_known_and_unmet(
    world: tuple[list[list[int]], list[int], list[int], int], seed: int
) -> None:
    met, group, known, n = world
    key = np.arange(seed, seed + len(group), dtype=np.uint64)
    drawn = draw_unmet(key, np.array(group), Ragged.from_lists(met), np.array(known), n)
    for row, (owner, limit) in enumerate(zip(group, known, strict=True)):
        left = set(range(limit)) - set(met[owner])
        places = drawn[row].tolist()
        assert places == sorted(set(places))
        assert set(places) <= left
        assert len(places) == min(n, len(left))
        # Alone, a row draws the same as among others.
        alone = draw_unmet(key[[row]], np.array([owner]), Ragged.from_lists(met), np.array([limit]), n)
        assert alone[0].tolist() == places


@pytest.mark.parametrize("n", [1, 3, 8])
def test_every_unmet_place_is_drawn_equally_often(n: int) -> None:
    rows, met = 6000, [2, 3, 7]
    drawn = draw_unmet(
        np.arange(rows, dtype=np.uint64), np.zeros(rows, int), Ragged.from_lists([met]), np.full(rows, 12), n
    )
    counted = np.bincount(drawn.values, minlength=12)[[p for p in range(12) if p not in met]]
    assert counted.sum() == rows * n
    # Without replacement the counts spread less than multinomial ones, so the test errs on the safe side.
    assert stats.chisquare(counted).pvalue > 1e-3
    pairs = np.bincount(drawn.values[::n], minlength=12)
    assert (pairs[met] == 0).all()


@pytest.fixture(scope="module")
def events(event: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        event(f"u{u}", f"i{i}", 3.0, int(t))
        for u in range(40)
        for t, i in enumerate(rng.choice(60, size=rng.integers(3, 12), replace=False))
    ]


def drawn_ids(split: Split) -> dict[tuple[str, str, str], set[str]]:
    items = split.items["item_id"]
    return {
        (held.part, split.users["user_id"][int(user)], items[int(item)]): set(items[row])
        for held in split.held_out
        if held.sampled is not None
        for user, item, row in zip(held.user, held.item, held.sampled, strict=True)
    }


def test_sampled_candidates_hold_the_answer_and_items_never_met(
    events: list[Any], make_dataset: Callable[..., Any]
) -> None:
    split = make_split(make_dataset(events), LeaveOneOut(sampled=20))
    met: dict[str, set[str]] = {}
    for e in events:
        met.setdefault(e.user, set()).add(e.item)
    drawn = drawn_ids(split)
    assert len(drawn) == 80
    for (_, user, item), row in drawn.items():
        assert len(row) == 21
        assert item in row
        assert not (row - {item}) & met[user]
    for held in split.held_out:
        assert (held.pool == "sampled") == (held.sampled is not None)
        if held.sampled is not None:
            assert all((np.diff(row) > 0).all() for row in held.sampled)
            assert len(held.candidates) == len(split.items)
    places = [
        int(np.searchsorted(row, item))
        for held in split.held_out
        if held.sampled is not None
        for item, row in zip(held.item, held.sampled, strict=True)
    ]
    assert 7 < np.mean(places) < 13


def test_the_draw_follows_the_seed_not_the_row_order(events: list[Any], make_dataset: Callable[..., Any]) -> None:
    # With times of their own no tie depends on the seed, so only the draws differ.
    spec = LeaveOneOut(sampled=20)
    one = drawn_ids(make_split(make_dataset(events), spec))
    again = drawn_ids(make_split(make_dataset(events[::-1]), spec))
    other = drawn_ids(make_split(make_dataset(events), spec, seed=1))
    assert one == again
    assert one.keys() == other.keys()
    assert all(one[key] != other[key] for key in one)


def test_who_met_nearly_everything_gets_what_is_left_and_a_note(event: Any, make_dataset: Callable[..., Any]) -> None:
    events = [event("all", f"i{n}", 3.0, n) for n in range(29)] + [event("few", f"i{n}", 3.0, n) for n in range(27, 30)]
    split = make_split(make_dataset(events), LeaveOneOut(sampled=5))
    lengths = {user: len(row) for (part, user, _), row in drawn_ids(split).items() if part == "test"}
    assert lengths == {"all": 2, "few": 6}
    assert any("2 sampled requests have fewer than 5 negatives" in note for note in split.notes)
    assert not any("sampled" in note for note in make_split(make_dataset(events), LeaveOneOut(sampled=1)).notes)
