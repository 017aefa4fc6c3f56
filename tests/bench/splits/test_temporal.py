"""The temporal protocol against a slow restatement of its rules on the raw rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bench.data import load_dataset
from bench.errors import DataError
from bench.splits import Clicks, HeldOut, Split, Temporal, make_split

VALID, TEST = 60, 80
MOMENTS = {"validation": datetime.fromtimestamp(VALID, UTC), "test": datetime.fromtimestamp(TEST, UTC)}
WINDOWS = {"valid": (VALID, TEST), "test": (TEST, 1000)}


@pytest.fixture(scope="module")
def events(event: Any) -> list[Any]:
    """Items arrive over time, users too, and many events share a second."""
    rng = random.Random(5)
    made = []
    for u in range(30):
        begin = rng.choice([0, 0, 0, 50, 70, 85])
        for i in rng.sample(range(40), rng.randrange(4, 20)):
            time = rng.randrange(max(begin, 2 * i), 100)
            made.append(event(f"u{u}", f"i{i}", float(rng.randrange(1, 6)), time, f"u{u} on i{i}"))
    return made


def named(split: Split, held: HeldOut) -> list[tuple[str, str, list[str], set[str]]]:
    """Rows of a set in ids: user, item, what is shown, what is masked."""
    users, items = split.users["user_id"], split.items["item_id"]
    return [
        (users[int(u)], items[int(i)], items[shown].to_list(), set(items[masked]))
        for u, i, shown, masked in zip(held.user, held.item, held.history, held.exclude, strict=True)
    ]


@pytest.mark.parametrize("clicks", [None, Clicks(at_least=4), Clicks(negatives=2)])
@pytest.mark.parametrize("target", ["first", "last", "every"])
def test_rankings_follow_the_rules(
    events: list[Any], make_dataset: Callable[..., Any], target: str, clicks: Clicks | None
) -> None:
    split = make_split(make_dataset(events), Temporal(**MOMENTS, target=target, clicks=clicks))
    at = {(e.user, e.item): e.time for e in events}
    liked = clicks is not None and clicks.at_least is not None
    is_click = {(e.user, e.item): not liked or e.rating >= 4 for e in events}
    trained_items = {e.item for e in events if e.time < VALID}
    trained_users = {e.user for e in events if e.time < VALID and is_click[e.user, e.item]}
    learned = {
        (split.users["user_id"][int(u)], split.items["item_id"][int(i)])
        for u, row in zip(split.training.user, split.training.sequences, strict=True)
        for i in row
    }
    assert learned == {pair for pair, click in is_click.items() if click and at[pair] < VALID}
    if clicks is None:
        assert set(split.training.items["item_id"]) == {item for _, item in learned}
    else:
        assert set(split.training.items["item_id"]) == trained_items

    for part, (begin, end) in WINDOWS.items():
        wanted: dict[str, list[tuple[str, str]]] = {}
        for user in sorted({user for user, _ in at}):
            mine = sorted((t, item) for (u, item), t in at.items() if u == user and begin <= t < end)
            mine = [(t, item) for t, item in mine if is_click[user, item]]
            if not mine:
                continue
            edge = mine[0][0] if target == "first" else mine[-1][0]
            for t, item in mine:
                if target == "every" or t == edge:
                    names = ["warm" if user in trained_users else "cold", "warm" if item in trained_items else "cold"]
                    wanted.setdefault("-".join(names), []).append((user, item))
        found: dict[str, set[tuple[str, str]]] = {}
        known = {e.item for e in events if e.time < end}
        for held in split.held_out:
            if held.part != part:
                continue
            rows = named(split, held)
            pool = set(split.items["item_id"][held.candidates])
            assert pool == {"warm": trained_items, "cold": known - trained_items, "all": known}[held.pool]
            assert held.unit == ("user x item" if held.quadrant.endswith("cold") else "user")
            assert (held.pool == "warm") == held.quadrant.endswith("warm")
            previous = found.setdefault(held.quadrant, {(user, item) for user, item, _, _ in rows})
            assert previous == {(user, item) for user, item, _, _ in rows}
            for user, item, shown, masked in rows:
                when = at[user, item]
                met = {i for (u, i), t in at.items() if u == user and t < when}
                assert masked == met
                assert item in pool
                assert sorted(shown) == sorted(i for i in met if is_click[user, i])
                assert [at[user, i] for i in shown] == sorted(at[user, i] for i in shown)
        # Of several first (or last) events in one second the seed takes one, whichever quadrant it falls into.
        asked = {pair for rows in found.values() for pair in rows}
        assert all(found[quadrant] <= set(wanted[quadrant]) for quadrant in found)
        if target == "every":
            assert {quadrant: set(rows) for quadrant, rows in wanted.items()} == found
        else:
            assert len(asked) == len({user for user, _ in asked})
            assert {user for user, _ in asked} == {user for rows in wanted.values() for user, _ in rows}


def test_pairs_hold_every_rating_with_what_was_liked_before(
    events: list[Any], make_dataset: Callable[..., Any]
) -> None:
    split = make_split(make_dataset(events), Temporal(**MOMENTS, clicks=Clicks(at_least=4)))
    assert split.training.pairs is not None
    parts = {"train": [split.training.pairs]}
    for held in split.pairs:
        parts.setdefault(held.part, []).append(held.pairs)
    windows = {"train": (0, VALID), **WINDOWS}
    for part, (begin, end) in windows.items():
        rows = {}
        for pairs in parts[part]:
            assert pairs.kind == "click"
            assert pairs.time is not None
            assert pairs.reviews is not None
            texts = pairs.reviews.frame()["text"]
            for n, (u, i) in enumerate(zip(pairs.user, pairs.item, strict=True)):
                user, item = split.users["user_id"][int(u)], split.items["item_id"][int(i)]
                assert texts[n] == f"{user} on {item}"
                shown = split.items["item_id"][pairs.history[n]].to_list()
                rows[user, item] = (float(pairs.label[n]), int(pairs.time[n]), sorted(shown))
        wanted = {
            (e.user, e.item): (
                float(e.rating >= 4),
                e.time,
                sorted(o.item for o in events if o.user == e.user and o.time < e.time and o.rating >= 4),
            )
            for e in events
            if begin <= e.time < end
        }
        assert rows == wanted


def test_without_clicks_the_pairs_are_the_ratings(events: list[Any], make_dataset: Callable[..., Any]) -> None:
    split = make_split(make_dataset(events), Temporal(**MOMENTS))
    assert {held.pairs.kind for held in split.pairs} == {"rating"}
    assert split.training.pairs is None
    tested = sorted(float(label) for held in split.pairs if held.part == "test" for label in held.pairs.label)
    assert tested == sorted(e.rating for e in events if e.time >= TEST)


def test_declared_negatives_are_known_and_never_met(events: list[Any], make_dataset: Callable[..., Any]) -> None:
    bare = [type(e)(e.user, e.item, None, e.time) for e in events]
    split = make_split(make_dataset(bare), Temporal(**MOMENTS, clicks=Clicks(negatives=3)))
    at = {(e.user, e.item): e.time for e in events}
    first = {item: min(t for (_, i), t in at.items() if i == item) for _, item in at}
    parts = [("train", split.training.pairs), *((held.part, held.pairs) for held in split.pairs)]
    ends = {"train": VALID, "valid": TEST, "test": 1000}
    clicks, negatives = 0, 0
    for part, pairs in parts:
        assert pairs is not None
        assert pairs.reviews is None
        for u, i, label, time in zip(pairs.user, pairs.item, pairs.label, pairs.time, strict=True):
            user, item = split.users["user_id"][int(u)], split.items["item_id"][int(i)]
            if label:
                clicks += 1
                assert at[user, item] == time
            else:
                negatives += 1
                assert first[item] <= time
                assert at.get((user, item), 1000) >= ends[part]
    assert clicks == len(events)
    # Early clicks find fewer than three known items.
    assert 2 * clicks < negatives <= 3 * clicks


def test_a_click_and_its_negative_stand_in_no_telling_order(event: Any, make_dataset: Callable[..., Any]) -> None:
    events = [event(f"u{u}", f"i{(7 * u + n) % 50}", None, 100 * n + u) for u in range(40) for n in range(10)]
    split = make_split(make_dataset(events), Temporal(clicks=Clicks(negatives=1)))
    pairs = split.training.pairs
    assert pairs is not None
    # A click and its negative share user and time, and no other click does.
    both = (pairs.user[1:] == pairs.user[:-1]) & (pairs.time[1:] == pairs.time[:-1])
    assert both.sum() > 200
    assert (pairs.label[:-1][both] + pairs.label[1:][both] == 1).all()
    assert 0.4 < pairs.label[:-1][both].mean() < 0.6


def test_no_cut_falls_inside_a_second(event: Any, make_dataset: Callable[..., Any]) -> None:
    events = [event(f"u{n % 7}", f"i{n}", None, n // 10) for n in range(100)]
    split = make_split(make_dataset(events), Temporal(validation=0.25, test=0.15, target="every"))
    by_part = {
        part: sum(len(h.user) for h in split.held_out if h.part == part and h.pool in ("warm", "cold"))
        for part in ("valid", "test")
    }
    # 15 and then 25 events from the end lie inside a second each: the later part takes all of it.
    assert by_part == {"valid": 20, "test": 20}
    assert len(split.training.sequences.values) == 60


def test_shares_and_moments_cut_alike(events: list[Any], make_dataset: Callable[..., Any], digest_of: Any) -> None:
    dataset = make_dataset(events)
    ordered = sorted(e.time for e in events)
    n = len(events)
    begins = [ordered[n - round(0.2 * n) - round(0.1 * n)], ordered[n - round(0.2 * n)]]
    moments = [datetime.fromtimestamp(begin, UTC).isoformat() for begin in begins]
    by_share = make_split(dataset, Temporal(validation=0.1, test=0.2))
    by_moment = make_split(dataset, Temporal(validation=moments[0], test=moments[1]))
    assert digest_of(by_share.training, by_share.held_out) == digest_of(by_moment.training, by_moment.held_out)
    assert by_share.identity != by_moment.identity


def test_a_moment_has_one_spelling() -> None:
    one = Temporal(validation="2019-01-01", test="2019-06-01T00:00:00Z")
    other = Temporal(validation="2019-01-01T02:00:00+02:00", test=datetime(2019, 6, 1, tzinfo=UTC))
    assert one.identity() == other.identity()
    assert Temporal.model_validate(one.model_dump()) == one
    assert "2019-06-01" in one.describe()


def test_movielens_has_at_least_20000_clicks_to_test() -> None:
    pytest.importorskip("recbole")
    split = make_split(load_dataset("ml-100k"), Temporal(clicks=Clicks(at_least=4)))
    tested = [held.pairs for held in split.pairs if held.part == "test"]
    assert sum(len(pairs) for pairs in tested) >= 20_000
    labels = np.concatenate([pairs.label for pairs in tested])
    assert 0.5 < labels.mean() < 0.6


def test_repeats_are_kept_and_nothing_is_masked(event: Any, make_dataset: Callable[..., Any]) -> None:
    events = [event(f"u{u}", f"i{t % 3}", None, 10 * t + u) for u in range(4) for t in range(9)]
    split = make_split(make_dataset(events, repeats=True), Temporal(validation=0.2, test=0.2, target="every"))
    tested = [held for held in split.held_out if held.part == "test"]
    assert all(not len(held.exclude.values) for held in tested)
    assert any(item in shown for held in tested for item, shown in zip(held.item, held.history, strict=True))


@pytest.mark.parametrize(
    ("times", "protocol", "message"),
    [
        ([7] * 20, Temporal(), "same second"),
        ([1] * 16 + [2] * 4, Temporal(), "nothing to learn from"),
        ([1] * 4 + [2] * 16, Temporal(validation=0.1, test=0.2), "validation window"),
        (list(range(20)), Temporal(validation="2001-01-01", test="2002-01-01"), "no event falls into the validation"),
        (list(range(20)), Temporal(validation="1969-01-01", test="2002-01-01"), "nothing to learn from"),
        (list(range(20)), Temporal(clicks=Clicks(at_least=4)), r"negatives"),
    ],
)
def test_data_that_cannot_be_cut_says_why(
    event: Any, make_dataset: Callable[..., Any], times: list[int], protocol: Temporal, message: str
) -> None:
    dataset = make_dataset([event(f"u{n % 4}", f"i{n}", None, time) for n, time in enumerate(times)])
    with pytest.raises(DataError, match=message):
        make_split(dataset, protocol)


def test_an_order_without_times_is_refused(event: Any, make_dataset: Callable[..., Any]) -> None:
    dataset = make_dataset([event(f"u{n % 4}", f"i{n}", None, n // 4) for n in range(20)], order="sequence")
    with pytest.raises(DataError, match="needs times"):
        make_split(dataset, Temporal())


@pytest.mark.parametrize(
    "wrong",
    [
        {"test": 0.0},
        {"test": 1.0},
        {"test": 0.6, "validation": 0.4},
        {"test": "2019-01-01"},
        {"test": "2019-01-01", "validation": "2019-02-01"},
        {"test": "last spring", "validation": "2019-02-01"},
        {"test": True},
        {"clicks": {}},
        {"clicks": {"at_least": 4, "negatives": 4}},
        {"clicks": {"negatives": 0}},
        {"target": "second"},
    ],
)
def test_senseless_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Temporal.model_validate(wrong)
