"""Tasks about reviews: what is shown, what is asked for, what cannot be asked, and what it is all learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.data import load_dataset
from bench.data.hashing import digest
from bench.data.triples import Extractor
from bench.errors import MissingInputError, UsageError
from bench.splits import Clicks, LeaveOneOut, RandomReviews, Split, Temporal, make_split
from bench.tasks import TASKS, TEXT_TASKS, Labels, NothingToAsk, RequestSet, Texts, grouped, possible_sets, request_sets
from bench.tasks.explanations import NoTexts, training_reviews, training_triples

pytest.importorskip("yake")
pytest.importorskip("vaderSentiment")

Rows = list[tuple[str, str, float, int, str | None, str | None]]
MakeCard = Callable[[Sequence[tuple[object, ...]]], Path]
REVIEW_TASKS = (*TEXT_TASKS, "preference")


def last_of(rows: Rows) -> dict[str, tuple[str, str, float, int, str | None, str | None]]:
    """Each user's last review: the one that leave-one-out asks about."""
    return {row[0]: row for row in rows}


def test_set(split: Split, task: str) -> RequestSet:
    (asked,) = [one for one in request_sets(split, [task]) if one.part == "test"]
    return asked


test_set.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def split(make_review_card: MakeCard, review_rows: Rows) -> Split:
    return make_split(load_dataset(make_review_card(review_rows)), LeaveOneOut())


def test_each_task_shows_what_it_says_and_no_more(split: Split, review_rows: Rows) -> None:
    shown = {
        "explanation": None,
        "feature-explanation": ["feature"],
        "rated-explanation": ["feature", "rating"],
        "headline": ["body"],
        "preference": ["body"],
    }
    last, users = last_of(review_rows), split.users["user_id"]
    for task, columns in shown.items():
        asked = test_set(split, task)
        given = asked.requests.given
        assert (None if given is None else given.columns) == columns, task
        assert asked.requests.item is not None
        assert len(asked) == 40
        assert asked.unit == "pooled user"
        who = [last[users[int(user)]] for user in asked.requests.user]
        assert [split.items["item_id"][int(item)] for item in asked.requests.item] == [row[1] for row in who]
        if given is not None:
            assert len(given) == 40
            if "rating" in given:
                assert given["rating"].to_list() == [row[2] for row in who]
            if "body" in given:
                assert given["body"].to_list() == [row[5] for row in who]
        if isinstance(asked.answers, Labels):
            assert asked.answers.label.tolist() == [row[2] for row in who]
        elif task == "headline":
            assert asked.answers.text.to_list() == [row[4] for row in who]
            assert asked.answers.feature is None
        else:
            feature = asked.answers.feature
            assert feature is not None
            for sentence, word, row in zip(asked.answers.text, feature, who, strict=True):
                assert sentence in str(row[5])
                assert word in sentence.lower()
            if given is not None:
                assert given["feature"].to_list() == feature.to_list()


def test_taking_requests_keeps_what_is_given_beside_its_answer(split: Split) -> None:
    asked = test_set(split, "rated-explanation")
    some = asked.take(np.array([7, 0]))
    assert isinstance(asked.answers, Texts)
    assert isinstance(some.answers, Texts)
    assert some.requests.given is not None
    assert some.answers.text.to_list() == [asked.answers.text[7], asked.answers.text[0]]
    assert some.requests.given.rows() == [asked.requests.given[7].row(0), asked.requests.given[0].row(0)]  # type: ignore[index]


def test_what_was_asked_before_keeps_its_identity(split: Split) -> None:
    """Stores are keyed by it."""
    for asked in request_sets(split, ["rating"]):
        assert asked.identity == digest([split.identity, "rating", "1", asked.part, "warm-warm", None, "pairs"])
        assert asked.requests.given is None
    names = [asked.identity for asked in request_sets(split, REVIEW_TASKS)]
    assert len(set(names)) == 2 * len(REVIEW_TASKS)
    assert set(REVIEW_TASKS) <= set(TASKS)


def test_nothing_is_learned_from_held_out_reviews(make_review_card: MakeCard, review_rows: Rows) -> None:
    held_out = {id(row) for row in last_of(review_rows).values()}
    before = last_of([row for row in review_rows if id(row) not in held_out])
    held_out |= {id(row) for row in before.values()}
    other = [
        (*row[:4], "Glorious handles", "The handles are glorious. A glorious handle.") if id(row) in held_out else row
        for row in review_rows
    ]
    one, two = (
        make_split(load_dataset(make_review_card(rows, name)), LeaveOneOut())  # type: ignore[call-arg]
        for rows, name in ((review_rows, "one"), (other, "two"))
    )
    assert one.identity != two.identity
    assert training_triples(one.training).equals(training_triples(two.training))
    assert "handles" not in set(training_triples(two.training)["feature"])
    # ... and so they cannot be asked about: their only feature is not known.
    with pytest.raises(NothingToAsk, match="no review held out for the test has a sentence in which a feature meets"):
        request_sets(two, ["explanation"])


def test_triples_belong_to_the_training_rows(split: Split, review_rows: Rows) -> None:
    reviews, triples = training_reviews(split.training), training_triples(split.training)
    texts = {(row[0], row[1]): row for row in review_rows}
    users, items = split.users["user_id"], split.items["item_id"]
    assert len(reviews) == len(split.training.sequences.values) == 240
    for user, item, stars, headline, text in reviews.select("user", "item", "rating", "headline", "text").iter_rows():
        assert texts[users[user], items[item]][2:] == (stars, texts[users[user], items[item]][3], headline, text)
    assert triples.schema == {"row": pl.UInt32, "feature": pl.String, "sentence": pl.String, "polarity": pl.Int8}
    assert triples["row"].is_sorted()
    for row, sentence in triples.select("row", "sentence").iter_rows():
        assert sentence in reviews["text"][row]


def test_what_was_found_once_is_not_looked_for_again(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    first = request_sets(split, ["explanation", "feature-explanation"])

    def fail(*_: object) -> None:
        raise AssertionError("the cache has it")

    monkeypatch.setattr(Extractor, "learn", fail)
    monkeypatch.setattr(Extractor, "extract", fail)
    again = request_sets(split, ["explanation", "feature-explanation"])
    for one, two in zip(first, again, strict=True):
        assert one.identity == two.identity
        assert isinstance(one.answers, Texts)
        assert isinstance(two.answers, Texts)
        assert one.answers.text.equals(two.answers.text)


def test_empty_headlines_are_not_asked_for_and_empty_bodies_are_shown(
    make_review_card: MakeCard, review_rows: Rows
) -> None:
    last = last_of(review_rows)
    bare, mute, dull = list(last)[:3]
    empty = {id(last[bare]): (None, None), id(last[mute]): ("  ", "The plot is great."), id(last[dull]): ("Nice", " ")}
    rows = [(*row[:4], *empty[id(row)]) if id(row) in empty else row for row in review_rows]
    split = make_split(load_dataset(make_review_card(rows)), LeaveOneOut())
    headline, preference, explanation = (test_set(split, task) for task in ("headline", "preference", "explanation"))
    assert len(headline) == 38
    assert headline.notes[:2] == (
        "2 of 40 (5.0%) held-out reviews have no headline: not asked about.",
        "1 of 38 (2.6%) reviews asked about have an empty text.",
    )
    assert len(preference) == 40
    assert preference.requests.given is not None
    assert (preference.requests.given["body"] == "").sum() == 2
    assert preference.notes[0] == "2 of 40 (5.0%) reviews asked about have an empty text."
    assert len(explanation) == 38
    assert explanation.notes[0].startswith("2 of 40 (5.0%) held-out reviews have no sentence in which a feature meets")


def test_a_text_that_the_user_had_posted_before_is_counted(make_review_card: MakeCard, review_rows: Rows) -> None:
    first = {row[0]: row for row in reversed(review_rows)}
    last = last_of(review_rows)
    copied = {id(last[user]): first[user][5] for user in list(last)[:10]}
    rows = [(*row[:5], copied.get(id(row), row[5])) for row in review_rows]
    last_two = {id(row) for user in last for row in [row for row in rows if row[0] == user][-2:]}
    learned = {(row[0], row[5]) for row in rows if id(row) not in last_two}
    repeated = sum((row[0], row[5]) in learned for row in last_of(rows).values())
    assert repeated >= 10
    split = make_split(load_dataset(make_review_card(rows)), LeaveOneOut())
    for task in REVIEW_TASKS:
        assert f"{repeated} of 40 ({repeated / 40:.1%}) reviews asked about repeat" in test_set(split, task).notes[-1]


@pytest.mark.parametrize("task", REVIEW_TASKS)
def test_data_without_texts_or_stars_say_what_is_missing(
    make_card: Callable[..., Path], make_review_card: MakeCard, review_rows: Rows, task: str
) -> None:
    stars = make_split(load_dataset(make_card([row[:4] for row in review_rows])), LeaveOneOut())
    with pytest.raises(NothingToAsk, match=rf"{task}.*no review texts.*amazon-musical-instruments"):
        request_sets(stars, [task])
    with pytest.raises(NoTexts, match="no review texts") as raised:
        training_triples(stars.training)
    # A model lacks its input; who asks for the task uses the wrong data.
    assert isinstance(raised.value, MissingInputError)
    assert isinstance(raised.value, UsageError)
    texts = load_dataset(make_review_card(review_rows))
    clicks = make_split(texts, Temporal(validation=0.2, test=0.2, clicks=Clicks(at_least=3)))
    with pytest.raises(NothingToAsk, match=rf"{task}.*every event has stars"):
        request_sets(clicks, [task])
    empty = [(*row[:4], None, None) for row in review_rows]
    with pytest.raises(NothingToAsk, match=task):
        request_sets(make_split(load_dataset(make_review_card(empty)), LeaveOneOut()), [task])


def test_possible_tasks_are_made_and_the_others_are_named(split: Split) -> None:
    sets, reasons = possible_sets(split, ["click", "headline", "sequential"])
    assert {asked.task for asked in sets} == {"headline", "sequential"}
    assert list(reasons) == ["click"]
    assert "clicks are held out by" in reasons["click"]
    assert grouped({"a": "why", "b": "else", "c": "why"}) == ["a, c: why", "b: else"]
    with pytest.raises(UsageError, match="did you mean 'headline'"):
        possible_sets(split, ["headlin"])


def test_random_reviews_are_asked_about_and_the_others_learned_from(
    make_review_card: MakeCard, review_rows: Rows
) -> None:
    split = make_split(load_dataset(make_review_card(review_rows)), RandomReviews())
    assert split.training.pairs is not None
    reviews = training_reviews(split.training)
    assert reviews["user"].to_list() == split.training.pairs.user.tolist()
    assert reviews["rating"].to_list() == split.training.pairs.label.tolist()
    asked = test_set(split, "headline")
    learned = set(zip(reviews["user"], reviews["item"], strict=True))
    assert asked.requests.item is not None
    assert not learned & set(zip(asked.requests.user.tolist(), asked.requests.item.tolist(), strict=True))


def test_one_cut_in_time_asks_by_quadrant(make_review_card: MakeCard, review_rows: Rows) -> None:
    late = [(f"new{row[0]}", *row[1:3], row[3] + 5, *row[4:]) for row in review_rows[:40]]
    split = make_split(load_dataset(make_review_card([*review_rows, *late])), Temporal(validation=0.2, test=0.2))
    names = {asked.name for asked in request_sets(split, ["explanation", "rating"])}
    assert "test/explanation/cold-warm/pairs" in names
    assert {name.replace("explanation", "rating") for name in names} == {name for name in names if "/rating/" in name}
