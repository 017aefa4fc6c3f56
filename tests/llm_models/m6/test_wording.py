from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from bench.errors import DataError, MissingInputError, UsageError
from bench.models import Catalogue, Ragged, Requests
from llm_models.m6.behaviour import Writer, load_behaviour
from llm_models.m6.wording import (
    Passage,
    WritingPrompt,
    conversation_prompts,
    explanation_prompts,
    product_prompts,
    query_prompts,
    writing_digest,
)

ITEMS = pl.DataFrame(
    {
        "item": np.array([1, 2], np.int32),
        "item_id": ["qxa", "qxb"],
        "title": ["Red drum", "Blue horn"],
        "categories": [["Drums"], None],
        "description": ["A drum &amp; sticks.", None],
    }
)
WRITER = Writer(load_behaviour("plain"), None, window=5)


def requests(**fields):
    asked = {"item": np.array([2, 1], np.int32), "history": Ragged.from_lists([[1], []]), **fields}
    return Requests(
        "explanation",
        np.array([5, 6], np.int32),
        catalogue=Catalogue(ITEMS["item"].to_numpy(), ITEMS),
        text=ITEMS,
        **asked,
    )


def test_explanations_end_with_a_causal_connective_and_show_what_is_given():
    given = pl.DataFrame({"feature": ["tone", "skin"], "rating": pl.Series([4.0, 2.5], dtype=pl.Float32)})
    plain = explanation_prompts(WRITER, requests())
    assert [prompt.source for prompt in plain] == ["chose Red drum - Drums. Now: Blue horn.", "Now: Red drum - Drums."]
    assert all(prompt.target_prefix.endswith(" because") and prompt.target is None for prompt in plain)
    told = explanation_prompts(WRITER, requests(given=given), targets=["It has a warm  tone.", None])
    assert told[0].source == plain[0].source + " What matters: tone. Gave 4 of 5 stars."
    assert "2.5 of 5 stars" in told[1].source
    assert [prompt.target for prompt in told] == ["It has a warm tone.", None]


def test_an_explanation_needs_an_item_and_a_target_a_row():
    with pytest.raises(UsageError, match="name none"):
        explanation_prompts(WRITER, requests(item=None))
    with pytest.raises(UsageError, match="2 texts are asked for, but 1 targets"):
        explanation_prompts(WRITER, requests(), targets=["one"])


def test_searches_follow_a_history():
    queries = pl.DataFrame({"row": [1, 0], "query": ["horn", None]})
    earlier = pl.DataFrame({"row": [1], "query": ["brass"]})
    history = Ragged.from_lists([[1], [2]])
    first, second = query_prompts(WRITER, np.array([5, 6]), history, ITEMS, queries, earlier=earlier)
    assert first == WritingPrompt("chose Blue horn; searched for brass.", "Next searches for:", "horn")
    assert second == WritingPrompt("chose Red drum - Drums.", "Next searches for:", None)


def test_data_without_searches_says_what_is_missing():
    with pytest.raises(MissingInputError, match=r"brings no search queries.*columns `row`.*`query`"):
        query_prompts(WRITER, np.array([5]), Ragged.empty(1), ITEMS, None)
    with pytest.raises(UsageError, match="lacks query"):
        query_prompts(WRITER, np.array([5]), Ragged.empty(1), ITEMS, pl.DataFrame({"row": [0]}))


def test_product_texts_fill_the_slots_there_are():
    first, second = product_prompts(ITEMS)
    assert first == WritingPrompt("Category: Drums. Title: Red drum.", "Description:", "A drum & sticks.")
    assert second == WritingPrompt("Title: Blue horn.", "Description:", None)
    with pytest.raises(MissingInputError, match="neither"):
        product_prompts(ITEMS.select("item", "description"))


def test_the_recommenders_turns_answer_what_was_said():
    turns = [("Seeker", "Something funny?"), ("RECOMMENDER", "Try @12!"), ("seeker", " Seen it. "), ("seeker", "More?")]
    first, second = conversation_prompts(turns, titles={"12": "Airplane"})
    assert first == WritingPrompt("Seeker: Something funny?", "Recommender:", "Try Airplane!")
    assert second.source == "Seeker: Something funny? Recommender: Try Airplane! Seeker: Seen it. Seeker: More?"
    assert second.target is None
    assert conversation_prompts(turns, titles={"12": "x"}, last=1)[1].source == "Seeker: More?"


def test_a_conversation_that_the_recommender_ends_asks_for_nothing_more():
    turns = [("recommender", "Hello"), ("seeker", "Hi"), ("recommender", ""), ("recommender", "Bye")]
    assert conversation_prompts(turns) == [WritingPrompt("Recommender: Hello Seeker: Hi", "Recommender:", "Bye")]
    assert conversation_prompts([]) == []
    assert conversation_prompts([("recommender", "Hello")]) == []


def test_conversations_show_no_ids_and_know_two_speakers():
    with pytest.raises(DataError, match="turn 1: @12 has no title"):
        conversation_prompts([("seeker", "I saw @12")])
    with pytest.raises(DataError, match="turn 2: the speaker is 'bot'"):
        conversation_prompts([("seeker", "Hi"), ("bot", "Hi")])


def test_a_passage_that_would_show_an_id_is_refused():
    with pytest.raises(ValidationError, match="would show the id"):
        Passage(source=["{item_id}"], prefix="x")


def test_a_digest_follows_the_wording(monkeypatch):
    before = writing_digest()
    monkeypatch.setattr(
        "llm_models.m6.wording._passages", lambda: {"query": Passage(source=["{behaviour}"], prefix="Find:")}
    )
    assert writing_digest() != before
