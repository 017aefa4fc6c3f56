from __future__ import annotations

import dataclasses
import gzip
import json
import pickle
import re
import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import load_dataset
from bench.errors import UsageError
from bench.models import Ragged, Training
from bench.models.testing import small_world
from bench.splits import LeaveOneOut, RandomReviews, make_split
from llm_models.indexing import WordTokenizer, random_ids, train_tokenizer
from llm_models.p5.mixture import Mixture
from llm_models.p5.reviewed import Events, Explanations
from llm_models.p5.settings import P5Settings
from llm_models.p5.writer import IGNORED, World, Writer
from llm_models.prompts import Template, load_prompts

pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return train_tokenizer(["a prompt : 1 , 2 -> 3 ?"] * 9, digits=2, size=320)


class Reader:
    """A mixture over a training set, read back as texts."""

    def __init__(self, training, tokenizer, prompts, *, users=None, items=None, seed=0, **fields) -> None:
        self.tokenizer = tokenizer
        self.users = users or random_ids(training.user, seed=1, digits=2, prefix="user_")
        self.items = items or random_ids(training.item, seed=2, digits=2)
        self.writer = Writer(tokenizer, World.of(training, self.users, self.items))
        self.settings = P5Settings(**{"batch": 8} | fields)
        self.mixture = Mixture(training, self.writer, load_prompts(prompts), self.settings, seed)

    def text(self, ids) -> str:
        return "".join(self.tokenizer.pieces([i for i in ids if i > 1])).replace("▁", " ").strip()

    def prompts(self, number: int) -> list[tuple[str, tuple[str, ...]]]:
        """The first ``number`` prompts with their answers."""
        found = []
        for batch in self.mixture.batches():
            for ids, labels in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
                answers = [[token for token in answer if token != IGNORED] for answer in labels]
                found.append((self.text(ids), tuple(self.text(answer) for answer in answers if answer)))
                if len(found) == number:
                    return found
        raise AssertionError("a mixture does not end")


RATING = """
    rating | r1 | r1 {user} {item} | {star}
    rating | r2 | r2 {name} {title} | {star}
    rating | r3 | r3 {user} {item} {star} | {yes_no}
    rating | r4 | r4 {name} {item} {title} | {like}
"""


def test_ratings_are_those_of_training(tiny, tokenizer, write_prompts) -> None:
    reader = Reader(
        tiny.training, tokenizer, write_prompts(RATING), users=tiny.users, items=tiny.items, sampling={"rating": 1}
    )
    user, name = {3: "user_31", 8: "user_08", 9: "user_99"}, {3: "Ann Baker", 8: "user_08", 9: "user_99"}
    item = {2: "1200", 5: "1305", 6: "1406", 11: "1511", 20: "1620"}
    title = {2: "Red Drum", 5: "Blue Horn", 11: "Reed", 20: "Bell"}
    expected = set()
    for u, i, star in [(3, 5, 5), (3, 2, 3), (3, 11, 1), (3, 6, 4), (8, 2, 2), (8, 20, 5), (9, 6, 4)]:
        expected.add((f"r1 {user[u]} {item[i]}", str(star)))
        for shown in range(1, 6):
            expected.add((f"r3 {user[u]} {item[i]} {shown}", "yes" if shown == star else "no"))
        if i in title:
            # An item without a title is asked about by its id.
            expected.add((f"r2 {name[u]} {title[i]}", str(star)))
            expected.add((f"r4 {name[u]} {item[i]} {title[i]}", "like" if star >= 4 else "dislike"))
        else:
            expected.add((f"r4 {name[u]} {item[i]} an item without a title", "like"))
    drawn = [(text, *answers) for text, answers in reader.prompts(6000)]
    assert set(drawn) == expected
    yes = np.mean([answer == "yes" for text, answer in drawn if text.startswith("r3")])
    assert abs(yes - 0.5) < 0.06


def test_explanations_and_headlines_are_those_of_training(tiny, tokenizer, write_prompts) -> None:
    path = write_prompts(
        """
        review | v1 | v1 {user} {body} | {headline}
        review | v2 | v2 {name} {body} | {star}
        """
    )
    fields = {"users": tiny.users, "items": tiny.items, "sampling": {"review": 1}}
    drawn = set(Reader(tiny.training, tokenizer, path, **fields).prompts(1500))
    # The third review has no text, the second no headline.
    assert drawn == {
        ("v1 user_31 it is loud and bright", ("Loud",)),
        ("v1 user_31 good strings", ("Good",)),
        ("v1 user_08 meh sound", ("Meh",)),
        ("v1 user_08 rings well", ("Ring",)),
        ("v1 user_99 nice", ("Nice",)),
        ("v2 Ann Baker it is loud and bright", ("5",)),
        ("v2 Ann Baker broke soon after", ("3",)),
        ("v2 Ann Baker good strings", ("4",)),
        ("v2 user_08 meh sound", ("2",)),
        ("v2 user_08 rings well", ("5",)),
        ("v2 user_99 nice", ("4",)),
    }


def test_sentences_come_with_their_feature_and_stars(tiny, tokenizer) -> None:
    writer = Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items))
    triples = pl.DataFrame(
        {
            "row": pl.Series([1, 5], dtype=pl.UInt32),
            "feature": ["drum", "bell"],
            "sentence": ["the drum broke .", "the bell rings well ."],
            "polarity": pl.Series([-1, 1], dtype=pl.Int8),
        }
    )
    templates = [
        Template("e1", "explanation", "e1 {user} {title}", "{explanation}", "seen"),
        Template("e2", "explanation", "e2 {name} {item} {headline}", "{explanation}", "seen"),
        Template("e3", "explanation", "e3 {feature} {star} {user} {item}", "{explanation}", "seen"),
        Template("e4", "explanation", "e4 {feature} {user} {item}", "{star} , {explanation}", "seen"),
        Template("e5", "explanation", "e5 {headline} {user} {item}", "{star} , {explanation}", "seen"),
    ]
    family = Explanations(writer, templates, Events.reviewed(tiny.training, writer.world), triples)
    assert family.size("event") == 2
    drawn = family.draw(np.random.default_rng(0), [one for one in templates for _ in range(60)])
    said = {(text, "".join(tokenizer.pieces(answer[:-1])).replace("▁", " ").strip()) for text, (answer,) in drawn}
    # The first review has no headline: e2 is exchanged for another that asks for a sentence, e5 for one with stars.
    assert said == {
        ("e1 user_31 Red Drum", "the drum broke ."),
        ("e1 user_08 Bell", "the bell rings well ."),
        ("e2 user_08 1620 Ring", "the bell rings well ."),
        ("e3 drum 3 user_31 1200", "the drum broke ."),
        ("e3 bell 5 user_08 1620", "the bell rings well ."),
        ("e4 drum user_31 1200", "3 , the drum broke ."),
        ("e4 bell user_08 1620", "5 , the bell rings well ."),
        ("e5 Ring user_08 1620", "5 , the bell rings well ."),
    }


SEQUENTIAL = """
    sequential | s1 | s1 {user} {history} | {item}
    sequential | s2 | s2 {history} {item} | {yes_no}
    sequential | s3 | s3 {history} of {candidates} | {item}
"""


def test_sequences_end_anywhere_but_at_the_first_item(tiny, tokenizer, write_prompts) -> None:
    reader = Reader(
        tiny.training,
        tokenizer,
        write_prompts(SEQUENTIAL),
        users=tiny.users,
        items=tiny.items,
        sampling={"sequential": [1, 0, 0]},
        targets=2,
        max_history=2,
    )
    drawn = Counter(reader.prompts(4000))
    assert set(drawn) == {
        ("s1 user_31 1305", ("1200", "1511")),
        ("s1 user_31 1305 , 1200", ("1511", "1406")),
        ("s1 user_31 1305 -> 1200", ("1511", "1406")),
        ("s1 user_31 1200 , 1511", ("1406",)),
        ("s1 user_31 1200 -> 1511", ("1406",)),
        ("s1 user_08 1200", ("1620",)),
    }
    # Every place is as likely: 1000 times, five standard errors; comma and arrow as often.
    assert abs(drawn["s1 user_31 1305", ("1200", "1511")] - 1000) < 140
    assert abs(drawn["s1 user_08 1200", ("1620",)] - 1000) < 140
    assert abs(drawn["s1 user_31 1200 , 1511", ("1406",)] - 500) < 105


@pytest.mark.parametrize("length", [2, 3, 4, 7])
def test_windows_of_the_original(tokenizer, write_prompts, length: int) -> None:
    """Counted from 1 as the original does: start in 1..3, target among the last three, two items shown where it can."""
    training = _training([list(range(length)), [0]], items=length)
    reader = Reader(
        training,
        tokenizer,
        write_prompts(SEQUENTIAL),
        sampling={"sequential": [1, 0, 0]},
        targets=1,
        windows="original",
    )
    word = reader.items.word
    expected = set()
    for target in range(max(min(3, length), length - 2), length + 1):
        for start in range(1, 1 + max(1, min(3, target - 2))):
            shown = [word[i - 1] for i in range(start, target)]
            expected |= {
                (f"s1 {reader.users.word[0]} {mark.join(shown)}", (word[target - 1],)) for mark in (" , ", " -> ")
            }
    assert set(reader.prompts(1500)) == expected


def _training(sequences: list[list[int]], items: int) -> Training:
    """Users 0, 1, ... with these sequences; items 0, 1, ... of a shop without texts."""
    table = pl.DataFrame(
        {"item": pl.int_range(items, dtype=pl.Int32, eager=True), "item_id": [f"i{n}" for n in range(items)]}
    )
    return Training(np.arange(len(sequences), dtype=np.int32), Ragged.from_lists(sequences), None, None, table)


def test_yes_and_no_are_about_what_came_next_and_what_was_never_met(tokenizer, write_prompts) -> None:
    training = _training([[0, 1, 2], [3, 4], [5]], items=6)
    reader = Reader(training, tokenizer, write_prompts(SEQUENTIAL), sampling={"sequential": [0, 0, 1]}, max_history=1)
    code = reader.items.code_of
    seen = Counter()
    for text, (answer,) in reader.prompts(6000):
        _, shown, asked = text.split()
        seen[code[shown], code[asked], answer] += 1
    expected = {(0, 1, "yes"), (1, 2, "yes"), (3, 4, "yes")}
    expected |= {(shown, other, "no") for shown in (0, 1) for other in (3, 4, 5)}
    expected |= {(3, other, "no") for other in (0, 1, 2, 5)}
    assert set(seen) == expected
    assert abs(seen[0, 1, "yes"] - 1000) < 150
    # Every item never met is as likely, whether another user's or one that nobody meets after it.
    assert all(abs(seen[1, other, "no"] - 1000 / 3) < 90 for other in (3, 4, 5))


def test_candidates_are_the_right_one_among_those_never_met(tokenizer, write_prompts) -> None:
    training = _training([[0, 1, 2], [3, 4], [5, 6, 7, 8, 9]], items=10)
    prompts = write_prompts(SEQUENTIAL + "\ndirect | d1 | d1 {user} of {candidates} | {item}")
    reader = Reader(training, tokenizer, prompts, sampling={"sequential": [0, 1, 0], "direct": [0, 1, 0]}, candidates=4)
    code, place = reader.items.code_of, Counter()
    user = {word: number for number, word in enumerate(reader.users.word)}
    for text, (answer,) in reader.prompts(3000):
        before, _, after = text.partition(" of ")
        listed = [code[word] for word in after.split(" , ")]
        right = code[answer]
        if text.startswith("d1"):
            own = training.sequences[user[before.split()[1]]].tolist()
            assert right in own
        else:
            shown = [code[word] for word in before.replace(",", "").replace("->", "").split()[1:]]
            own = next(row for row in training.sequences if row.tolist()[: len(shown)] == shown).tolist()
            assert own[len(shown)] == right
        assert len(set(listed)) == len(listed) == 4
        assert [one for one in listed if one in own] == [right]
        place[listed.index(right)] += 1
    assert all(abs(place[nth] - 750) < 130 for nth in range(4))


def test_a_user_who_met_everything_has_no_negative(tokenizer, write_prompts) -> None:
    training = _training([[0, 1, 2]], items=3)
    prompts = write_prompts(SEQUENTIAL)
    yes = Reader(training, tokenizer, prompts, sampling={"sequential": [0, 0, 1]}).prompts(100)
    assert {answer for _, answer in yes} == {("yes",)}
    alone = Reader(training, tokenizer, prompts, sampling={"sequential": [0, 1, 0]}).prompts(100)
    assert all(text.partition(" of ")[2] == answer for text, (answer,) in alone)


def test_direct_prompts_ask_for_any_of_the_users_items(tiny, tokenizer, write_prompts) -> None:
    prompts = write_prompts(
        """
        direct | d1 | d1 {user} | {item}
        direct | d2 | d2 {name} {title} | {yes_no}
        direct | d3 | d3 {user} {item} | {yes_no}
        """
    )
    fields = {"users": tiny.users, "items": tiny.items}
    own = {"user_31": {"1305", "1200", "1511", "1406"}, "user_08": {"1200", "1620"}, "user_99": {"1406"}}
    several = Reader(tiny.training, tokenizer, prompts, sampling={"direct": [0, 0, 1]}, targets=3, **fields)
    for text, answers in several.prompts(500):
        mine = own[text.removeprefix("d1 ")]
        assert len(set(answers)) == len(answers) == min(3, len(mine))
        assert set(answers) <= mine
    one = Counter(
        Reader(tiny.training, tokenizer, prompts, sampling={"direct": [0, 0, 1]}, targets=1, **fields).prompts(3500)
    )
    assert set(one) == {(f"d1 {user}", (item,)) for user, mine in own.items() for item in mine}
    assert all(abs(number - 500) < 110 for number in one.values())
    # As the original does, users are as likely as one another.
    even = Counter(
        text
        for text, _ in Reader(
            tiny.training, tokenizer, prompts, sampling={"direct": [0, 0, 1]}, windows="original", **fields
        ).prompts(3000)
    )
    assert all(abs(number - 1000) < 140 for number in even.values())

    title = {"Red Drum": "1200", "Blue Horn": "1305", "Reed": "1511", "Bell": "1620"}
    name = {"Ann Baker": "user_31"}
    asked = Reader(tiny.training, tokenizer, prompts, sampling={"direct": [1, 0, 0]}, **fields).prompts(2000)
    for text, (answer,) in asked:
        if text.startswith("d2"):
            # An item without a title is asked about by its id.
            who, item = next((text[3 : -len(t) - 1], i) for t, i in title.items() if text.endswith(t))
        else:
            who, item = text.split()[1:]
        assert (item in own[name.get(who, who)]) == (answer == "yes")
    assert abs(np.mean([answer == ("yes",) for _, answer in asked]) - 0.5) < 0.06


ALL = (
    RATING
    + SEQUENTIAL
    + """
    explanation | e1 | e1 {user} {item} | {explanation}
    review | v1 | v1 {user} {body} | {headline}
    review | v2 | v2 {user} {body} | {star}
    direct | d1 | d1 {user} {item} | {yes_no}
    direct | d2 | d2 {user} of {candidates} | {item}
    direct | d3 | d3 {user} | {item}
"""
)
FAMILY = {"r": "rating", "s": "sequential", "e": "explanation", "v": "review", "d": "direct"}


def _shares(reader: Reader, number: int) -> Counter[str]:
    return Counter(text.split()[0] for text, _ in reader.prompts(number))


@pytest.mark.parametrize(
    "sampling",
    [
        "released",
        "paper",
        {"rating": 2, "sequential": [1, 2, 3], "explanation": 1, "review": 3, "direct": [4, 0, 2]},
        {"per": "event", "rating": 1, "sequential": [2, 0, 1], "explanation": 1, "review": 1, "direct": 2},
    ],
)
def test_shares_are_the_sampling_numbers(tokenizer, write_prompts, sampling) -> None:
    training = small_world().training()
    reader = Reader(training, tokenizer, write_prompts(ALL), sampling=sampling, candidates=5)
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
        share = described[FAMILY[name[0]]]["templates"].get(name, 0)
        assert share == pytest.approx(number / sum(expected.values()))
    drawn, count = _shares(reader, 8192), 8192
    for name, number in expected.items():
        share = number / sum(expected.values())
        assert abs(drawn[name] / count - share) <= 5 * np.sqrt(share * (1 - share) / count)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), start=st.integers(0, 40))
def test_a_batch_depends_on_seed_and_number_alone(tokenizer, seed: int, start: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_models.p5.mixture.POOL_PROMPTS", 128)
        mixture, again, other = _default(tokenizer, seed), _default(tokenizer, seed), _default(tokenizer, seed + 1)
        through = list(islice(mixture.batches(), start + 2))[start:]
        for one, same in zip(through, islice(again.batches(start), 2), strict=True):
            for field in ("ids", "words", "labels", "family"):
                np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
        stranger = next(other.batches(start))
        assert stranger.ids.shape != through[0].ids.shape or (stranger.ids != through[0].ids).any()


def _default(tokenizer: WordTokenizer, seed: int, **fields) -> Mixture:
    return Reader(small_world().training(), tokenizer, "amazon", seed=seed, **fields).mixture


def test_batches_hold_one_kind_of_answers_and_little_padding(tokenizer) -> None:
    mixture = _default(tokenizer, 0, batch=16, sampling="released", candidates=10)
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


def test_batches_say_which_family_a_prompt_is_of(tokenizer, write_prompts) -> None:
    reader = Reader(small_world().training(), tokenizer, write_prompts(ALL), sampling="paper", candidates=5)
    families = list(reader.mixture.families)
    found = set()
    for batch in islice(reader.mixture.batches(), 300):
        for ids, family in zip(batch.ids.tolist(), batch.family.tolist(), strict=True):
            assert families[family] == FAMILY[reader.text(ids)[0]]
            found.add(family)
    assert found == set(range(5))


def test_a_mixture_can_be_sent_to_another_process(tokenizer) -> None:
    mixture = _default(tokenizer, 3)
    sent = pickle.loads(pickle.dumps(mixture))
    for one, other in zip(islice(mixture.batches(5), 3), islice(sent.batches(5), 3), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)


def test_data_without_stars_and_texts_gives_the_other_families(tokenizer) -> None:
    training = _training([[0, 1, 2], [3, 4, 1], [5, 2]], items=6)
    mixture = Reader(training, tokenizer, "amazon", sampling="released", candidates=4).mixture
    described = mixture.describe()
    assert set(described["families"]) == {"sequential", "direct"}
    assert "{star}" in described["left_out"]["rating"]
    assert "{body}" in described["left_out"]["review"]
    assert "{explanation}" in described["left_out"]["explanation"]
    assert described["left_out"]["5-3"] == "the data lacks title"
    assert json.loads(json.dumps(described)) == described
    next(mixture.batches())


def test_users_with_one_item_and_reviews_without_a_reason(tiny, tokenizer) -> None:
    alone = dataclasses.replace(
        tiny.training,
        sequences=Ragged.from_lists([[5], [2], [6]]),
        rating=tiny.training.rating[:3],
        reviews=tiny.training.reviews.take(np.arange(3)),
    )
    described = Reader(alone, tokenizer, "amazon", sampling="released").mixture.describe()
    assert set(described["families"]) == {"rating", "review", "direct"}
    assert described["left_out"]["sequential"] == "the training data has no row for it"
    assert described["left_out"]["explanation"] == "the training data has no row for it"


def test_what_is_left_out_is_said(tokenizer, write_prompts) -> None:
    training = small_world().training()
    reader = Reader(
        training,
        tokenizer,
        write_prompts(ALL),
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
        Reader(training, tokenizer, write_prompts(RATING), sampling={"direct": 1})


def test_too_long_lists_of_candidates_are_shortened_or_left_out(tokenizer, write_prompts) -> None:
    training = _training([[n] for n in range(400)], items=400)
    prompts = write_prompts("direct | d2 | d2 {user} of {candidates} | {item}\ndirect | d3 | d3 {user} | {item}")
    reader = Reader(training, tokenizer, prompts, sampling={"direct": [0, 1, 1]}, candidates=300)
    listed = reader.mixture.describe()["families"]["direct"]["listed"]["d2"]
    assert 100 < listed < 300
    lists = [text.partition(" of ")[2].split(" , ") for text, _ in reader.prompts(300) if text.startswith("d2")]
    assert {len(words) for words in lists} == {listed}


def test_words_trained_are_those_of_the_templates_drawn(tokenizer) -> None:
    training = _training([[0, 1, 2], [3, 4, 1], [5, 2]], items=6)
    prompts = load_prompts("amazon")
    mixture = Reader(training, tokenizer, "amazon", extra=False, sampling={"sequential": [1, 0, 0]}).mixture
    drawn = [template for template in prompts.seen("sequential") if template.id in {f"2-{n}" for n in range(1, 7)}]
    expected = {word for template in drawn for word in template.input.split() if "{" not in word}
    assert mixture.trained_words() == expected


#: What the text of a review says of whose it is.
MARK = re.compile(r"u\d+x\d+x")


@pytest.fixture
def reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card over reviews in which every text names its user and item."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    rng = np.random.default_rng(3)
    with gzip.open(tmp_path / "reviews.json.gz", "wt") as file:
        for user in range(25):
            for day, item in enumerate(rng.permutation(30)[: 4 + user % 5].tolist()):
                mark = f"u{user}x{item}x"
                word = "lovely" if item % 2 else "awful"
                row = {
                    "reviewerID": f"u{user}",
                    "asin": f"i{item}",
                    "reviewerName": f"Name {user}",
                    "reviewText": f"The sound {mark} is {word}. The strap is {word} for {mark}.",
                    "summary": f"{word} {mark}",
                    "overall": 1.0 + (user + item) % 5,
                    "unixReviewTime": 1_400_000_000 + 86_400 * day,
                }
                file.write(json.dumps(row) + "\n")
    card = {
        "name": "marked",
        "title": "Made by a test",
        "description": "Made by a test.",
        "licence": "none",
        "citation": "none",
        "reader": "amazon-2014",
        "order": "time",
        "files": {"interactions": {"path": ["reviews.json.gz"], "howto": "made by the test"}},
    }
    path = tmp_path / "marked.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return path


@pytest.mark.parametrize("seed", range(3))
def test_no_held_out_event_is_ever_shown(reviewed: Path, tokenizer, write_prompts, seed: int) -> None:
    """Neither as a prompt nor as an answer, in any family; as a "no", a held-out item is as any other."""
    split = make_split(load_dataset(reviewed), LeaveOneOut(), seed=seed)
    training = split.training
    reader = Reader(training, tokenizer, write_prompts(ALL), sampling="released", candidates=6, seed=seed, targets=3)
    assert set(reader.mixture.describe()["families"]) == set(FAMILY.values())
    user, item = reader.users.code_of, reader.items.code_of
    own = {code: row.tolist() for code, row in zip(training.user.tolist(), training.sequences, strict=True)}
    trained = set(MARK.findall(" ".join(training.reviews.frame()["text"])))
    held = {(u, i) for part in split.held_out for u, i in zip(part.user.tolist(), part.item.tolist(), strict=True)}
    assert len(trained) == len(training.sequences.values)
    drawn, no = Counter(), set()
    for text, answers in reader.prompts(6000):
        name = text.split()[0]
        drawn[name] += 1
        assert set(MARK.findall(" ".join((text, *answers)))) <= trained
        who = next((user[word] for word in text.split() if word in user), None)
        named = [item[word] for word in text.split() if word in item]
        if name in {"r1", "r3", "e1"}:
            assert named[0] in own[who]
        elif name in {"d2", "d3"}:
            assert {item[answer] for answer in answers} <= set(own[who])
        elif name == "s1":
            run = [*named, *(item[answer] for answer in answers)]
            assert any(own[who][at : at + len(run)] == run for at in range(len(own[who])))
        elif name == "d1":
            assert (named[0] in own[who]) == (answers == ("yes",))
            no |= {(who, named[0])} if answers == ("no",) else set()
    assert set(drawn) == {"r1", "r3", "s1", "s2", "s3", "d1", "d2", "d3", "e1", "v1", "v2"}
    assert no & held


def test_ratings_of_the_reproducing_split_come_from_its_pairs(reviewed: Path, tokenizer, write_prompts) -> None:
    training = make_split(load_dataset(reviewed), RandomReviews()).training
    reader = Reader(training, tokenizer, write_prompts(RATING), sampling={"rating": 1})
    assert reader.mixture.describe()["ratings_and_reviews_from"] == "the protocol's pairs"
    user, item = reader.users.code_of, reader.items.code_of
    drawn = {
        (user[text.split()[1]], item[text.split()[2]], float(answer))
        for text, (answer,) in reader.prompts(4000)
        if text.startswith("r1")
    }
    pairs = training.pairs
    assert drawn == set(zip(pairs.user.tolist(), pairs.item.tolist(), pairs.label.tolist(), strict=True))


def test_memory_grows_by_some_bytes_an_event(tokenizer, write_prompts) -> None:
    """No row is held as a prompt: positions, gaps and stars of an event fit into 48 bytes."""
    prompts, held = write_prompts(RATING + SEQUENTIAL), []
    for users in (2_000, 12_000):
        rng = np.random.default_rng(0)
        training = _training([[]], items=200)
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
