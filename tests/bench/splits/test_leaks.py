"""Nothing derived from an answer reaches a model, and nothing of a cold item reaches its training.

Every protocol cuts two worlds that differ in what is held out and in nothing else; what a model may see of them must be
the same, byte for byte.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data import Dataset, load_dataset
from bench.metrics import parse
from bench.models import Budget, Requests, Training
from bench.runs.predict import measure, validation
from bench.splits import (
    Clicks,
    ColdStart,
    CrossDomain,
    HeldOut,
    LeaveOneOut,
    Protocol,
    RandomReviews,
    Split,
    Temporal,
    make_split,
)
from bench.tasks import Answers, Labels, RequestSet, request_sets

VALID, TEST = 600, 800
MOMENTS = {"validation": datetime.fromtimestamp(VALID, UTC), "test": datetime.fromtimestamp(TEST, UTC)}
COLD = ColdStart(test_users=0.2, test_items=0.25, validation_users=0.2, validation_items=0.15, shots=(0, 2))
PROTOCOLS: dict[str, tuple[Protocol, tuple[str, ...]]] = {
    "leave-one-out": (LeaveOneOut(sampled=4), ("sequential", "direct", "rating")),
    "cold-start": (COLD, ("sequential", "direct")),
    "temporal-first": (Temporal(**MOMENTS), ("sequential", "direct", "rating")),
    "temporal-last": (Temporal(**MOMENTS, target="last"), ("sequential", "direct", "rating")),
    "temporal-every": (Temporal(**MOMENTS, target="every"), ("sequential", "direct", "rating")),
    "temporal-liked": (Temporal(**MOMENTS, clicks=Clicks(at_least=3)), ("sequential", "direct", "click")),
    "temporal-clicks": (Temporal(**MOMENTS, clicks=Clicks(negatives=2)), ("sequential", "direct", "click")),
    "random-reviews": (RandomReviews(sampled=4), ("sequential", "direct", "rating")),
}
RANKING = sorted(set(PROTOCOLS) - {"random-reviews"})
SEEDS = st.integers(0, 10**6)
few = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Maker = Callable[..., Dataset]
Digest = Callable[..., str]
Pair = tuple[str, str]


def world(event: Any, seed: int) -> list[Any]:
    """Twelve users and some who meet every item of a kind as soon as it is there, so that no change removes one."""
    rng = random.Random(seed)
    times = rng.sample(range(1000), 900)
    training = [t for t in times if t < VALID]
    windows = {"v": [t for t in times if VALID + 20 <= t < TEST], "t": [t for t in times if t >= TEST + 20]}

    def make(user: str, item: str, time: int) -> Any:
        return event(user, item, float(rng.randrange(3, 6)), time, f"{user} on {item}")

    keepers = ("keeper-a", "keeper-b", "keeper-c")
    events = [make(keeper, f"w{n}", 3 * n + place) for place, keeper in enumerate(keepers) for n in range(14)]
    for kind, begin in (("v", VALID), ("t", TEST)):
        events += [make(f"keeper-{kind}", f"{kind}{n}", begin + n) for n in range(5)]
        # Last of all in the window, so that leave-one-out holds these out and not the first of a kind.
        events += [make(f"keeper-{kind}", f"w{n}", begin + 10 + n) for n in range(2)]
    late = [t for t in training if t >= 60]
    for u in range(12):
        free = [f"w{n}" for n in range(14)]
        rng.shuffle(free)
        for _ in range(rng.randrange(5) if u % 3 else 0):
            events.append(make(f"u{u}", free.pop(), late.pop()))
        for kind, older in (("v", ""), ("t", "v")):
            fresh = [f"{k}{n}" for k in kind + older for n in range(5)]
            fresh = [item for item in fresh if (f"u{u}", item) not in {(e.user, e.item) for e in events}]
            for _ in range(rng.randrange(4)):
                source = fresh if rng.random() < 0.4 and fresh else free
                events.append(make(f"u{u}", source.pop(rng.randrange(len(source))), windows[kind].pop()))
    return events


def change(events: Sequence[Any], split: Split, held: HeldOut, rng: random.Random) -> list[Any]:
    """Give the last held-out event of each user in a set another item of its kind, other stars, another text."""
    users, items = split.users["user_id"], split.items["item_id"]
    kinds = _kinds(split)
    last = {users[int(user)]: items[int(item)] for user, item in zip(held.user, held.item, strict=True)}
    mine: dict[str, set[str]] = {}
    for e in events:
        mine.setdefault(e.user, set()).add(e.item)
    changed, count = [], 0
    for e in events:
        if last.get(e.user) == e.item and not e.user.startswith("keeper"):
            others = sorted(i for i in kinds if kinds[i] == kinds[e.item] and i not in mine[e.user])
            if others:
                count += 1
                item = rng.choice(others)
                # Stars stay on their side of a click.
                e = dataclasses.replace(e, item=item, rating=8.0 - e.rating, text=f"changed: {item}")
        changed.append(e)
    return changed if count else []


def _kinds(split: Split) -> dict[str, tuple[bool, ...]]:
    """Items by whether they are learned from and cold in either part; the answer decides which set asks for it."""
    cold = [
        {int(i) for held in split.held_out if held.part == part and held.pool == "cold" for i in held.candidates}
        for part in ("valid", "test")
    ]
    learned = set(split.training.items["item_id"])
    return {
        name: (name in learned, code in cold[0], code in cold[1])
        for code, name in zip(split.items["item"], split.items["item_id"], strict=True)
    }


def visible(asked: RequestSet) -> tuple[Any, ...]:
    """What a model sees of requests, less the catalogue (and candidates drawn around the answer)."""
    requests = asked.requests
    shown = np.unique(requests.history.values) if requests.history is not None else np.empty(0, np.int32)
    text = requests.text.filter(pl.col("item").is_in(pl.Series(shown).implode()))
    return (asked.name, requests.task, requests.user, requests.history, requests.item, text)


def same_kind_of(sets: Sequence[RequestSet], held: HeldOut) -> list[RequestSet]:
    return [asked for asked in sets if (asked.part, asked.quadrant) == (held.part, held.quadrant) and not _pairs(asked)]


def _pairs(asked: RequestSet) -> bool:
    return isinstance(asked.answers, Labels)


@pytest.mark.parametrize("name", RANKING)
@few
@given(seed=SEEDS)
def test_other_answers_leave_what_models_see_as_it_was(
    name: str, seed: int, event: Any, make_dataset: Maker, digest_of: Digest
) -> None:
    protocol, tasks = PROTOCOLS[name]
    events, rng = world(event, seed), random.Random(seed)
    split = make_split(make_dataset(events), protocol)
    sets = request_sets(split, tasks)
    for held in {(held.part, held.quadrant): held for held in split.held_out}.values():
        changed = change(events, split, held, rng)
        if not changed:
            continue
        other = make_split(make_dataset(changed), protocol)
        other_sets = request_sets(other, tasks)
        assert digest_of(other.training) == digest_of(split.training)
        asked, again = same_kind_of(sets, held), same_kind_of(other_sets, held)
        assert digest_of([visible(a) for a in again]) == digest_of([visible(a) for a in asked])
        # The change did arrive, where only the scorer looks.
        assert digest_of([a.answers.item for a in again]) != digest_of([a.answers.item for a in asked])
        if held.part == "test":
            before, after = ([a for a in some if a.part == "valid"] for some in (sets, other_sets))
            assert digest_of([visible(a) for a in after]) == digest_of([visible(a) for a in before])
            assert digest_of([_answer(a) for a in after]) == digest_of([_answer(a) for a in before])


def _answer(asked: RequestSet) -> Any:
    return asked.answers.label if isinstance(asked.answers, Labels) else asked.answers.item


Changes = Iterator[tuple[tuple[str, ...], list[Any]]]


def other_stars(events: Sequence[Any], split: Split) -> Changes:
    """Other stars and another text for what is held out: the parts and the changed events, of one part and of both."""
    for parts in (("test",), ("valid", "test")):
        held = {
            (split.users["user_id"][int(u)], split.items["item_id"][int(i)])
            for some in split.pairs
            if some.part in parts
            for u, i in zip(some.pairs.user, some.pairs.item, strict=True)
        }
        changed = [
            dataclasses.replace(e, rating=8.0 - e.rating, text="changed") if (e.user, e.item) in held else e
            for e in events
        ]
        yield parts, changed


def no_last_click(events: Sequence[Any], split: Split) -> Changes:
    """What each user met last in the test window is not clicked, and has another text."""
    last = {e.user: e for e in sorted(events, key=lambda e: e.time) if e.time >= TEST}
    changed = [dataclasses.replace(e, rating=1.0, text="changed") if last.get(e.user) is e else e for e in events]
    yield ("test",), changed


RATED = ("leave-one-out", "temporal-first", "temporal-every", "random-reviews")


@pytest.mark.parametrize(
    ("name", "tasks", "changes"),
    [*((name, PROTOCOLS[name][1], other_stars) for name in RATED), ("temporal-liked", ("click",), no_last_click)],
)
@few
@given(seed=SEEDS)
def test_other_labels_and_texts_leave_what_models_see_as_it_was(
    name: str,
    tasks: tuple[str, ...],
    changes: Callable[[Sequence[Any], Split], Changes],
    seed: int,
    event: Any,
    make_dataset: Maker,
    digest_of: Digest,
) -> None:
    protocol, _ = PROTOCOLS[name]
    events = world(event, seed)
    split = make_split(make_dataset(events), protocol)
    asked = request_sets(split, tasks)
    for parts, changed in changes(events, split):
        other = make_split(make_dataset(changed), protocol)
        again = request_sets(other, tasks)
        assert digest_of(other.training) == digest_of(split.training)
        assert digest_of([a.requests for a in again]) == digest_of([a.requests for a in asked])
        # The change did arrive, where only the scorer looks and in its own parts.
        labels = [digest_of([a.answers for a in some if _pairs(a) and a.part in parts]) for some in (asked, again)]
        assert labels[0] != labels[1]
        others = [digest_of([a.answers for a in some if a.part not in parts]) for some in (asked, again)]
        assert others[0] == others[1]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
@few
@given(seed=SEEDS)
def test_no_text_of_a_cold_item_reaches_training(
    name: str, seed: int, event: Any, make_dataset: Maker, digest_of: Digest
) -> None:
    protocol, _ = PROTOCOLS[name]
    events = world(event, seed)
    split = make_split(make_dataset(events), protocol)
    learned = set(split.training.items["item_id"])
    renamed = {item: f"renamed {item}" for item in split.items["item_id"] if item not in learned}
    retitled = make_dataset(events, titles=renamed)
    other = make_split(retitled, protocol)
    assert digest_of(other.training) == digest_of(split.training)
    seen = set(split.training.sequences.values.tolist())
    if split.training.pairs is not None:
        seen |= {*split.training.pairs.item.tolist(), *split.training.pairs.history.values.tolist()}
    assert seen == set(split.training.item.tolist())
    if "cold" in name or "temporal" in name:
        assert renamed


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
@few
@given(seed=SEEDS)
def test_no_request_shows_its_answer_and_every_draw_holds_it_once(
    name: str, seed: int, event: Any, make_dataset: Maker
) -> None:
    protocol, tasks = PROTOCOLS[name]
    split = make_split(make_dataset(world(event, seed)), protocol)
    for asked in request_sets(split, tasks):
        requests, answers = asked.requests, asked.answers
        target = requests.item if isinstance(answers, Labels) else answers.item
        assert target is not None
        assert np.isin(target, requests.catalogue.items).all()
        if requests.history is not None:
            assert not (requests.history.values == target[requests.history.row_of]).any()
        if requests.candidates is not None:
            assert all(np.count_nonzero(row == t) == 1 for row, t in zip(requests.candidates, target, strict=True))
        if isinstance(answers, Answers):
            assert not (answers.exclude.values == target[answers.exclude.row_of]).any()


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
@few
@given(seed=SEEDS)
def test_the_order_of_rows_changes_no_byte(
    name: str, seed: int, event: Any, make_dataset: Maker, digest_of: Digest
) -> None:
    protocol, _ = PROTOCOLS[name]
    # Coarse times make ties; the tie-break must not look at the file.
    events = [dataclasses.replace(e, time=e.time // 25 * 25) for e in world(event, seed)]
    shuffled = random.Random(seed).sample(events, len(events))
    first, second = (make_split(make_dataset(rows), protocol) for rows in (events, shuffled))
    cut = [(s.training, s.held_out, s.pairs, s.users, s.items, s.notes, s.protocol) for s in (first, second)]
    assert digest_of(cut[0]) == digest_of(cut[1])


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_identity_follows_the_rows_not_their_order(name: str, event: Any, make_card: Callable[..., Path]) -> None:
    protocol, tasks = PROTOCOLS[name]
    rows = [(e.user, e.item, e.rating, e.time) for e in world(event, 3)]
    user, item, rating, time = rows[40]
    worlds = {
        "same": rows,
        "reordered": random.Random(1).sample(rows, len(rows)),
        "another star": [*rows[:40], (user, item, rating % 5 + 1, time), *rows[41:]],
        "another second": [*rows[:40], (user, item, rating, time + 1), *rows[41:]],
        "one less": rows[:40] + rows[41:],
    }
    splits = {what: make_split(load_dataset(make_card(some)), protocol) for what, some in worlds.items()}
    assert splits["reordered"].identity == splits["same"].identity
    assert len({split.identity for split in splits.values()}) == 4
    sets = {what: {asked.identity for asked in request_sets(split, tasks)} for what, split in splits.items()}
    assert sets["reordered"] == sets["same"]
    assert not sets["same"] & (sets["another star"] | sets["another second"] | sets["one less"])


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_refitting_adds_to_what_is_learned_and_changes_nothing_else(
    name: str, event: Any, make_dataset: Maker, digest_of: Digest
) -> None:
    protocol, _ = PROTOCOLS[name]
    dataset = make_dataset(world(event, 2))
    plain, refitted = (make_split(dataset, protocol, refit=refit) for refit in (False, True))
    assert digest_of(refitted.held_out, refitted.pairs) == digest_of(plain.held_out, plain.pairs)
    assert refitted.identity != plain.identity
    assert len(refitted.training.sequences.values) > len(plain.training.sequences.values)
    if plain.training.pairs is not None:
        assert refitted.training.pairs is not None
        validated = sum(len(held.pairs) for held in plain.pairs if held.part == "valid")
        assert len(refitted.training.pairs) == len(plain.training.pairs) + validated


def test_a_changed_target_event_leaves_a_cross_domain_split_as_it_was(
    make_card: Callable[..., Path], event: Any, make_dataset: Maker, digest_of: Digest
) -> None:
    rng = random.Random(4)
    songs = [(f"u{u}", f"s{i}", 3.0, rng.randrange(500)) for u in range(12) for i in rng.sample(range(9), 4)]
    protocol = CrossDomain(source=str(make_card(songs)), validation=0.4)
    times = rng.sample(range(1000), 200)
    films = [event(f"u{u}", f"t{i}", 3.0, times.pop()) for u in range(12) for i in rng.sample(range(9), 5)]
    # Someone who meets no song has met all films.
    films += [event("keeper", f"t{i}", 3.0, i) for i in range(9)]
    split = make_split(make_dataset(films), protocol)
    for held in {held.part: held for held in split.held_out}.values():
        changed = change(films, split, held, rng)
        assert changed
        renamed = {f"t{n}": f"renamed {n}" for n in range(9)}
        other = make_split(make_dataset(changed, titles=renamed), protocol)
        assert digest_of(other.training) == digest_of(split.training)
        seen = [
            [(a.requests.user, a.requests.history) for a in request_sets(s, ["sequential", "direct"])]
            for s in (split, other)
        ]
        assert digest_of(seen[0]) == digest_of(seen[1])
    again = make_split(make_dataset(rng.sample(films, len(films))), protocol)
    assert digest_of(again.training, again.held_out, again.items) == digest_of(
        split.training, split.held_out, split.items
    )


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_no_answer_is_reachable_from_what_a_model_is_handed(
    name: str, spy: Any, event: Any, make_dataset: Maker
) -> None:
    protocol, tasks = PROTOCOLS[name]
    split = make_split(make_dataset(world(event, 1)), protocol)
    sets = request_sets(split, tasks)
    ranked = [asked for asked in sets if not _pairs(asked) and asked.requests.candidates is None]
    validate = validation(ranked, parse("NDCG@10"), k=10)
    spy.fit(split.training, validate=validate, budget=Budget(), seed=0, progress=lambda *_: None)
    for asked in sets:
        measure(spy, asked, k=10)
    handed = list(spy.reaches())
    assert sum(isinstance(value, Requests) for value in handed) >= len(sets)
    assert sum(isinstance(value, Training) for value in handed) == 1
    assert not [value for value in handed if isinstance(value, Answers | Labels | RequestSet | HeldOut | Split)]
