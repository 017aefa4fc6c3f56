"""Words that reviews mention, and capital letters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_models.m6.language.casing import Casing
from llm_models.m6.language.mentions import Mentions

REVIEWS = [
    "The cable is a fine cable, no noise",
    "My cable broke",
    "Picks and more picks: thin picks",
    "Thin picks, fine cable",
    None,
]
USER = np.array([1, 2, 1, 3, 3])
ITEM = np.array([7, 7, 8, 8, 7])


def test_words_in_more_of_the_reviews_of_an_item_and_in_fewer_others_come_first():
    mentions = Mentions.learn(USER, ITEM, REVIEWS)
    # "picks" and "thin" stand in two reviews of the item, "cable" and "fine" in one; words of one review are not kept.
    assert mentions.words("item", 8, 3) == ["picks", "thin", "fine"]
    assert mentions.words("item", 7, 9) == ["cable", "fine"]
    assert mentions.words("user", 1, 9) == ["fine", "picks", "thin", "cable"]
    assert mentions.words("item", 99, 3) == []


def test_a_row_does_not_tell_of_its_own_review():
    mentions = Mentions.learn(USER, ITEM, REVIEWS)
    assert mentions.words("item", 8, 9, without=REVIEWS[3]) == ["picks", "thin"]
    assert mentions.words("item", 7, 9, without=REVIEWS[0]) == ["cable"]
    alone = Mentions.learn(USER[:3], np.array([1, 2, 3]), ["fine cable", "fine picks", "thin cable"])
    assert alone.words("item", 1, 9, without="fine cable") == []


def test_what_was_kept_says_the_same(tmp_path):
    mentions = Mentions.learn(USER, ITEM, REVIEWS)
    mentions.save(tmp_path / "mentions.json")
    again = Mentions.load(tmp_path / "mentions.json")
    for kind, code in (("item", 7), ("item", 8), ("user", 1), ("user", 3)):
        assert again.words(kind, code, 9) == mentions.words(kind, code, 9)


def test_words_get_the_capitals_they_were_met_with():
    casing = Casing.learn(["I love my Fender. It's great", "My Fender and I", "So I play", "love it"])
    assert casing.restore("i love my fender. it's fender and i") == "I love my Fender. It's Fender and I"
    # Met only where a sentence begins: small elsewhere. Never met: as it is.
    assert casing.restore("fender so nice") == "Fender so nice"


@given(st.lists(st.text("abcAB '.!", max_size=30), max_size=5), st.text("abc '.!", max_size=40))
def test_only_capitals_change(texts, text):
    assert Casing.learn(texts).restore(text).lower() == text
