"""P5's own split: sizes, forced rows, and the leak it must confess."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.errors import DataError
from bench.splits import LeaveOneOut, Pairs, RandomReviews, Split, make_split
from bench.splits.events import Events
from bench.splits.random_reviews import draw_parts


@pytest.fixture(scope="module")
def events(event: Any) -> list[Any]:
    rng = random.Random(2)
    made = [
        event(f"u{u}", f"i{i}", float(rng.randrange(1, 6)), rng.randrange(10**6), f"u{u} on i{i}")
        for u in range(60)
        for i in rng.sample(range(40), rng.randrange(3, 12))
    ]
    # One user and one item that occur once.
    return [*made, event("once", "i0", 5.0, 7, "once on i0"), event("u0", "rare", 1.0, 8, "u0 on rare")]


@pytest.fixture(scope="module")
def split(events: list[Any], make_dataset: Callable[..., Any]) -> Split:
    return make_split(make_dataset(events), RandomReviews(sampled=9))


def parts(split: Split) -> dict[str, Pairs]:
    assert split.training.pairs is not None
    return {"train": split.training.pairs, **{held.part: held.pairs for held in split.pairs}}


def named(split: Split, pairs: Pairs) -> list[tuple[str, str]]:
    return list(zip(split.users["user_id"][pairs.user], split.items["item_id"][pairs.item], strict=True))


def test_the_parts_are_a_partition_with_every_user_and_item_learned_from(events: list[Any], split: Split) -> None:
    found = {part: named(split, pairs) for part, pairs in parts(split).items()}
    together = [pair for rows in found.values() for pair in rows]
    assert Counter(together) == Counter((e.user, e.item) for e in events)
    assert {user for user, _ in found["train"]} == {e.user for e in events}
    assert {item for _, item in found["train"]} == {e.item for e in events}
    assert len(found["train"]) == round(0.8 * len(events))
    assert 0 <= len(found["test"]) - len(found["valid"]) <= 1
    assert set(split.training.items["item_id"]) == {e.item for e in events}


@pytest.mark.parametrize(("size", "tested"), [(198_502, 19_850), (316_354, 31_636)])
def test_sizes_are_those_of_p5(size: int, tested: int) -> None:
    # P5's Beauty and Yelp, with their numbers of test reviews.
    place = np.arange(size, dtype=np.int32)
    hashes = np.arange(10_000, dtype=np.uint64)
    events = Events(place // 100, place % 1000, None, None, pl.DataFrame(), pl.DataFrame(), hashes, hashes)
    parts = draw_parts(events, 0)
    assert np.count_nonzero(parts["test"]) == tested
    assert np.count_nonzero(parts["train"]) == round(0.8 * size)


def test_labels_and_texts_belong_to_their_pairs(events: list[Any], split: Split) -> None:
    stars = {(e.user, e.item): e.rating for e in events}
    for pairs in parts(split).values():
        assert pairs.reviews is not None
        texts = pairs.reviews.frame()["text"].to_list()
        for (user, item), label, text in zip(named(split, pairs), pairs.label, texts, strict=True):
            assert label == stars[user, item]
            assert text == f"{user} on {item}"


def test_histories_hold_earlier_rows_learned_from(events: list[Any], split: Split) -> None:
    at = {(e.user, e.item): e.time for e in events}
    learned = set(named(split, parts(split)["train"]))
    for pairs in parts(split).values():
        for (user, item), shown in zip(named(split, pairs), pairs.history, strict=True):
            wanted = sorted((at[u, i], i) for u, i in learned if u == user and at[u, i] < at[user, item])
            assert split.items["item_id"][shown].to_list() == [i for _, i in wanted]


def test_the_rankings_are_leave_one_out_and_the_overlap_is_confessed(
    events: list[Any], split: Split, make_dataset: Callable[..., Any], digest_of: Any
) -> None:
    plain = make_split(make_dataset(events), LeaveOneOut(sampled=9))
    assert digest_of(split.held_out) == digest_of(plain.held_out)
    assert digest_of(split.training.sequences) == digest_of(plain.training.sequences)
    # Stars and texts of the sequences would be those of held-out reviews.
    assert split.training.rating is None
    assert split.training.reviews is None
    learned = set(named(split, parts(split)["train"]))
    (test,) = [held for held in split.held_out if held.part == "test" and held.sampled is None]
    asked = list(zip(split.users["user_id"][test.user], split.items["item_id"][test.item], strict=True))
    overlap = sum(pair in learned for pair in asked) / len(asked)
    assert 0.6 < overlap < 0.95
    (note,) = [note for note in split.notes if "LEAKS" in note]
    assert f"{overlap:.1%} of their test pairs" in note


def test_the_draw_follows_the_seed_not_the_row_order(
    events: list[Any], split: Split, make_dataset: Callable[..., Any]
) -> None:
    again = make_split(make_dataset(random.Random(0).sample(events, len(events))), RandomReviews(sampled=9))
    other = make_split(make_dataset(events), RandomReviews(sampled=9), seed=1)
    assert named(again, parts(again)["test"]) == named(split, parts(split)["test"])
    assert set(named(other, parts(other)["test"])) != set(named(split, parts(split)["test"]))


def test_refitting_adds_the_validation_rows(events: list[Any], make_dataset: Callable[..., Any], split: Split) -> None:
    refitted = make_split(make_dataset(events), RandomReviews(sampled=9), refit=True)
    before = parts(split)
    assert set(named(refitted, parts(refitted)["train"])) == {
        *named(split, before["train"]),
        *named(split, before["valid"]),
    }


def test_repeated_pairs_are_drawn_one_by_one(event: Any, make_dataset: Callable[..., Any]) -> None:
    events = [event(f"u{n % 3}", f"i{n % 5}", 3.0, n) for n in range(300)]
    split = make_split(make_dataset(events, repeats=True), RandomReviews())
    assert {part: len(pairs) for part, pairs in parts(split).items()} == {"train": 240, "valid": 30, "test": 30}
    learned, tested = (set(named(split, parts(split)[part])) for part in ("train", "test"))
    assert learned & tested


def test_data_without_ratings_is_refused(event: Any, make_dataset: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="splits ratings"):
        make_split(make_dataset([event("u", f"i{n}", None, n) for n in range(9)]), RandomReviews())
