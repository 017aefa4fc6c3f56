"""Ratings, explanations and reviews: what is asked, and what is right."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from llm_models.p5.reviewed import Events, Explanations
from llm_models.p5.writer import World, Writer
from llm_models.prompts import Template


def test_ratings_are_those_of_training(tiny, read, write_prompts, lines) -> None:
    reader = read(
        tiny.training, write_prompts(lines["rating"]), users=tiny.users, items=tiny.items, sampling={"rating": 1}
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


def test_explanations_and_headlines_are_those_of_training(tiny, read, write_prompts) -> None:
    path = write_prompts(
        """
        review | v1 | v1 {user} {body} | {headline}
        review | v2 | v2 {name} {body} | {star}
        """
    )
    fields = {"users": tiny.users, "items": tiny.items, "sampling": {"review": 1}}
    drawn = set(read(tiny.training, path, **fields).prompts(1500))
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


TEMPLATES = [
    Template("e1", "explanation", "e1 {user} {title}", "{explanation}", "seen"),
    Template("e2", "explanation", "e2 {name} {item} {headline}", "{explanation}", "seen"),
    Template("e3", "explanation", "e3 {feature} {star} {user} {item}", "{explanation}", "seen"),
    Template("e4", "explanation", "e4 {feature} {user} {item}", "{star} , {explanation}", "seen"),
    Template("e5", "explanation", "e5 {headline} {user} {item}", "{star} , {explanation}", "seen"),
]


@pytest.fixture
def explain(tiny, tokenizer):
    """The family over the second and the sixth review, given the stars of all seven, and what it draws."""
    writer = Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items))
    triples = pl.DataFrame(
        {
            "row": pl.Series([1, 5], dtype=pl.UInt32),
            "feature": ["drum", "bell"],
            "sentence": ["the drum broke .", "the bell rings well ."],
            "polarity": pl.Series([-1, 1], dtype=pl.Int8),
        }
    )

    def draw(rating: np.ndarray | None) -> tuple[Explanations, set[tuple[str, str]]]:
        events = Events.reviewed(dataclasses.replace(tiny.training, rating=rating), writer.world)
        family = Explanations(writer, TEMPLATES, events, triples)
        drawn = family.draw(np.random.default_rng(0), [one for one in family.templates for _ in range(60)])
        said = {(text, "".join(tokenizer.pieces(answer[:-1])).replace("▁", " ").strip()) for text, (answer,) in drawn}
        return family, said

    return draw


def test_sentences_come_with_their_feature_and_stars(tiny, explain) -> None:
    family, said = explain(tiny.training.rating)
    assert family.size("event") == 2
    assert list(family.templates) == TEMPLATES
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


def test_a_sentence_without_stars_is_asked_for_without_them(tiny, explain) -> None:
    rating = tiny.training.rating.copy()
    rating[1] = np.nan
    family, said = explain(rating)
    assert list(family.templates) == TEMPLATES
    # The first review has neither headline nor stars: of it e1 alone can speak, in place of e2 too.
    assert said == {
        ("e1 user_31 Red Drum", "the drum broke ."),
        ("e1 user_08 Bell", "the bell rings well ."),
        ("e2 user_08 1620 Ring", "the bell rings well ."),
        ("e3 bell 5 user_08 1620", "the bell rings well ."),
        ("e4 bell user_08 1620", "5 , the bell rings well ."),
        ("e5 Ring user_08 1620", "5 , the bell rings well ."),
    }
    for nowhere in (None, np.full(7, np.nan, np.float32)):
        family, said = explain(nowhere)
        assert [template.id for template in family.templates] == ["e1", "e2"]
        assert said == {
            ("e1 user_31 Red Drum", "the drum broke ."),
            ("e1 user_08 Bell", "the bell rings well ."),
            ("e2 user_08 1620 Ring", "the bell rings well ."),
        }
