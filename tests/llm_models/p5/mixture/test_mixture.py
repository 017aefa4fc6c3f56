"""The draw: shares, batches, what is left out, and what it costs."""

from __future__ import annotations

import dataclasses
import json
import pickle
import tracemalloc
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.models import Ragged, Training
from bench.models.testing import small_world
from bench.splits.training import Pairs
from llm_models.indexing import random_ids
from llm_models.p5.mixture import Mixture
from llm_models.p5.settings import P5Settings
from llm_models.p5.writer import IGNORED, World, Writer
from llm_models.prompts import load_prompts


def _shares(reader, number: int) -> Counter[str]:
    return Counter(text.split()[0] for text, _ in reader.prompts(number))


def test_a_user_who_met_everything_has_no_negative(read, write_prompts, lines, training_of) -> None:
    training = training_of([[0, 1, 2]], items=3)
    prompts = write_prompts(lines["sequential"])
    yes = read(training, prompts, sampling={"sequential": [0, 0, 1]}).prompts(100)
    assert {answer for _, answer in yes} == {("yes",)}
    alone = read(training, prompts, sampling={"sequential": [0, 1, 0]}).prompts(100)
    assert all(text.partition(" of ")[2] == answer for text, (answer,) in alone)


@pytest.mark.parametrize(
    "sampling",
    [
        "released",
        "paper",
        {"rating": 2, "sequential": [1, 2, 3], "explanation": 1, "review": 3, "direct": [4, 0, 2]},
        {"per": "event", "rating": 1, "sequential": [2, 0, 1], "explanation": 1, "review": 1, "direct": 2},
    ],
)
def test_shares_are_the_sampling_numbers(read, write_prompts, sampling, lines) -> None:
    training = small_world().training()
    reader = read(training, write_prompts(lines["all"]), sampling=sampling, candidates=5)
    numbers = {
        "released": {"rating": 1, "sequential": 20, "explanation": 1, "review": 1, "direct": 15},
        "paper": {"rating": 1, "sequential": [5, 5, 10], "explanation": 1, "review": 1, "direct": [10, 10, 0]},
    }.get(str(sampling), sampling)
    events, places = len(training.sequences.values), len(training.sequences.values) - len(training.user)
    texts = training.reviews.frame()["text"].drop_nulls()
    assert reader.mixture.describe()["families"]["explanation"]["rows"] == len(texts)
    rows = {"rating": events, "explanation": len(texts), "review": len(texts)}
    rows |= (
        {"sequential": places, "direct": events} if numbers.get("per") == "event" else {"sequential": 40, "direct": 40}
    )
    members = {"rating": ["r1", "r2", "r3", "r4"], "explanation": ["e1"], "review": ["v1", "v2"]}
    members |= {"sequential": ["s1", "s3", "s2"], "direct": ["d1", "d2", "d3"]}
    expected = {}
    for family, own in members.items():
        each = numbers[family]
        each = each if isinstance(each, list) else [each / len(own)] * len(own)
        expected |= {name: rows[family] * number for name, number in zip(own, each, strict=True)}
    assert reader.mixture.prompts_an_epoch == pytest.approx(sum(expected.values()))
    assert reader.mixture.steps_an_epoch == pytest.approx(sum(expected.values()) / 8)
    described = reader.mixture.describe()["families"]
    for name, number in expected.items():
        share = described[lines["families"][name[0]]]["templates"].get(name, 0)
        assert share == pytest.approx(number / sum(expected.values()))
    drawn, count = _shares(reader, 8192), 8192
    for name, number in expected.items():
        share = number / sum(expected.values())
        assert abs(drawn[name] / count - share) <= 5 * np.sqrt(share * (1 - share) / count)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), start=st.integers(0, 40))
def test_a_batch_depends_on_seed_and_number_alone(read, seed: int, start: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_models.p5.mixture.POOL_PROMPTS", 128)
        mixture, again, other = _default(read, seed), _default(read, seed), _default(read, seed + 1)
        through = list(islice(mixture.batches(), start + 2))[start:]
        for one, same in zip(through, islice(again.batches(start), 2), strict=True):
            for field in ("ids", "words", "labels", "family"):
                np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
        stranger = next(other.batches(start))
        assert stranger.ids.shape != through[0].ids.shape or (stranger.ids != through[0].ids).any()


def _default(read, seed: int, **fields) -> Mixture:
    return read(small_world().training(), "amazon", seed=seed, **fields).mixture


def test_batches_hold_one_kind_of_answers_and_little_padding(read) -> None:
    mixture = _default(read, 0, batch=16, sampling="released", candidates=10)
    short = {tuple(mixture.writer.sequence(text)) for text in ("yes", "no", "like", "dislike", *"12345")}
    items = set(map(tuple, mixture.writer.item_tokens))
    filled = total = labels = places = 0
    kinds = Counter()
    for batch in islice(mixture.batches(), 512):
        assert len(batch.ids) == len(batch.words) == len(batch.labels) == len(batch.family) == 16
        answers = {
            tuple(token for token in answer if token != IGNORED) for own in batch.labels.tolist() for answer in own
        } - {()}
        kind = "items" if answers <= items else "short" if answers <= short else "texts"
        assert kind != "texts" or not answers & (items | short)
        kinds[kind] += 1
        filled, total = filled + int((batch.ids > 0).sum()), total + batch.ids.size
        labels, places = labels + int((batch.labels != IGNORED).sum()), places + batch.labels.size
    assert len(kinds) == 3
    assert filled / total > 0.93
    assert labels / places > 0.75


def test_batches_say_which_family_a_prompt_is_of(read, write_prompts, lines) -> None:
    reader = read(small_world().training(), write_prompts(lines["all"]), sampling="paper", candidates=5)
    families = list(reader.mixture.families)
    found = set()
    for batch in islice(reader.mixture.batches(), 300):
        for ids, family in zip(batch.ids.tolist(), batch.family.tolist(), strict=True):
            assert families[family] == lines["families"][reader.text(ids)[0]]
            found.add(family)
    assert found == set(range(5))


def test_a_mixture_can_be_sent_to_another_process(read) -> None:
    mixture = _default(read, 3)
    sent = pickle.loads(pickle.dumps(mixture))
    for one, other in zip(islice(mixture.batches(5), 3), islice(sent.batches(5), 3), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)


def test_data_without_stars_and_texts_gives_the_other_families(read, training_of) -> None:
    training = training_of([[0, 1, 2], [3, 4, 1], [5, 2]], items=6)
    mixture = read(training, "amazon", sampling="released", candidates=4).mixture
    described = mixture.describe()
    assert set(described["families"]) == {"sequential", "direct"}
    assert "{star}" in described["left_out"]["rating"]
    assert "{body}" in described["left_out"]["review"]
    assert "{explanation}" in described["left_out"]["explanation"]
    assert described["left_out"]["5-3"] == "the data lacks title"
    assert json.loads(json.dumps(described)) == described
    next(mixture.batches())


@pytest.mark.parametrize("stars", ["none", "unknown", "of events alone"])
def test_reviews_without_stars_are_learned_from_without_them(read, stars: str) -> None:
    pytest.importorskip("yake")
    pytest.importorskip("vaderSentiment")
    rated = small_world().training()
    training = {
        "none": dataclasses.replace(rated, rating=None),
        "unknown": dataclasses.replace(rated, rating=np.full_like(rated.rating, np.nan)),
        # Labels of clicks are no stars; the texts that are learned from are theirs.
        "of events alone": dataclasses.replace(
            rated,
            pairs=Pairs(
                rated.user[rated.sequences.row_of],
                rated.sequences.values,
                np.ones_like(rated.rating),
                Ragged.empty(len(rated.rating)),
                None,
                "click",
                rated.reviews,
            ),
        ),
    }[stars]
    prompts = load_prompts("amazon")
    reader = read(training, "amazon", sampling={"rating": 1, "explanation": 1, "review": 1})
    described = reader.mixture.describe()
    speaking = {t.id for t in prompts.templates if "star" in t.fields | t.target_fields or "like" in t.target_fields}
    for family in ("explanation", "review"):
        drawn = set(described["families"][family]["templates"])
        assert drawn == {template.id for template in prompts.seen(family)} - speaking
        assert speaking & {template.id for template in prompts.seen(family)} <= set(described["left_out"])
    assert ("rating" in described["families"]) == (stars == "of events alone")
    said = {word for text, answers in reader.prompts(600) for part in (text, *answers) for word in part.split()}
    assert "nan" not in said


def test_users_with_one_item_and_reviews_without_a_reason(tiny, read) -> None:
    alone = dataclasses.replace(
        tiny.training,
        sequences=Ragged.from_lists([[5], [2], [6]]),
        rating=tiny.training.rating[:3],
        reviews=tiny.training.reviews.take(np.arange(3)),
    )
    described = read(alone, "amazon", sampling="released").mixture.describe()
    assert set(described["families"]) == {"rating", "review", "direct"}
    assert described["left_out"]["sequential"] == "the training data has no row for it"
    assert described["left_out"]["explanation"] == "the training data has no row for it"


def test_what_is_left_out_is_said(read, write_prompts, lines) -> None:
    training = small_world().training()
    reader = read(
        training,
        write_prompts(lines["all"]),
        families=["rating", "sequential"],
        sampling={"rating": 1, "sequential": [1, 0, 1], "direct": 1},
    )
    described = reader.mixture.describe()
    assert set(described["families"]) == {"rating", "sequential"}
    assert described["left_out"] == {
        "direct": "not among the setting `families`",
        "explanation": "not among the setting `families`",
        "review": "not among the setting `families`",
        "s3": "sampling number 0",
    }
    assert described["ids"] == {"users": "random", "items": "random"}
    assert not {"s3", "d1", "e1", "v1"} & set(_shares(reader, 500))
    with pytest.raises(UsageError, match=r"no prompt to train on .*sampling number 0.*change `families`"):
        read(training, write_prompts(lines["rating"]), sampling={"direct": 1})


def test_families_that_the_prompts_lack_are_said(read, training_of) -> None:
    training = training_of([[0, 1, 2], [3, 4, 1], [5, 2]], items=6)
    mixture = read(training, "movielens", families=["sequential", "review"]).mixture
    assert mixture.describe()["left_out"]["review"] == "the prompts 'movielens' have none of this family"


def test_words_trained_are_those_of_the_templates_drawn(read, training_of) -> None:
    training = training_of([[0, 1, 2], [3, 4, 1], [5, 2]], items=6)
    prompts = load_prompts("amazon")
    mixture = read(training, "amazon", extra=False, sampling={"sequential": [1, 0, 0]}).mixture
    drawn = [template for template in prompts.seen("sequential") if template.id in {f"2-{n}" for n in range(1, 7)}]
    expected = {word for template in drawn for word in template.input.split() if "{" not in word}
    assert mixture.trained_words() == expected


def test_memory_grows_by_some_bytes_an_event(tokenizer, write_prompts, lines, training_of) -> None:
    """No row is held as a prompt: positions, gaps and stars of an event fit into 48 bytes."""
    prompts, held = write_prompts(lines["rating"] + lines["sequential"]), []
    for users in (2_000, 12_000):
        rng = np.random.default_rng(0)
        training = training_of([[]], items=200)
        sequences = Ragged.from_lengths(np.full(users, 20), rng.integers(0, 200, 20 * users))
        stars = rng.integers(1, 6, 20 * users).astype(np.float32)
        training = Training(np.arange(users, dtype=np.int32), sequences, None, stars, training.items)
        ids = {
            "users": random_ids(training.user, seed=1, digits=2, prefix="user_"),
            "items": random_ids(training.item, seed=2, digits=2),
        }
        writer = Writer(tokenizer, World.of(training, *ids.values()))
        tracemalloc.start()
        mixture = Mixture(training, writer, load_prompts(prompts), P5Settings(sampling="released"), 0)
        next(mixture.batches())
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del mixture
    assert (held[1] - held[0]) / (10_000 * 20) < 48
