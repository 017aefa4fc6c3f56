from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from bench.models.testing import small_world
from llm_models.indexing import IdIndex, random_ids, train_tokenizer
from llm_models.p5.corpus import make_tokenizer, training_texts
from llm_models.p5.settings import P5Settings
from llm_models.p5.world import World
from llm_models.prompts import load_prompts

pytest.importorskip("sentencepiece")


def shop(settings: P5Settings, items: IdIndex | None = None):
    training = small_world().training()
    users = random_ids(training.user, seed=1, digits=settings.digits, prefix="user_")
    world = World.of(training, users, items or random_ids(training.item, seed=0, digits=settings.digits))
    return settings, load_prompts("amazon"), training, world


def test_texts_are_those_of_training_prompts() -> None:
    settings, prompts, training, world = shop(P5Settings())
    texts = list(training_texts(settings, prompts, training, world))
    said = {word for text in texts for word in text.split()}
    seen = {word for one in prompts.templates if one.group == "seen" for word in one.input.split() if "{" not in word}
    # Without a brand and a price in the data no zero-shot prompt can be filled in.
    zero_shot = {word for one in prompts.seen("cross-domain") for word in one.input.split()}
    assert seen - zero_shot <= said
    held_out = {word for one in prompts.templates if one.group != "seen" for word in one.input.split()}
    reviews = training.reviews.frame()
    read = {word for text in [*reviews["text"], *reviews["headline"], *world.title] if text for word in text.split()}
    assert held_out - seen - read
    assert said <= seen | read | {"yes", "no", "like", "dislike", "1", "2", "3", "4", "5"}
    assert not said & set(world.items.word)


def test_texts_follow_the_families() -> None:
    settings, prompts, training, world = shop(P5Settings(families=["sequential"], extra=False))
    said = {word for text in training_texts(settings, prompts, training, world) for word in text.split()}
    reviews = {word for text in training.reviews.frame()["text"].drop_nulls() for word in text.split()}
    assert not {word.strip(".") for word in said} & {"wonderful", "friend"}
    assert {"wonderful", "friend"} <= {word.strip(".") for word in reviews}
    assert not said & {"story", "Film"}


def test_stars_that_are_missing_are_no_text() -> None:
    settings, prompts, training, world = shop(P5Settings(families=["rating"]))
    training = dataclasses.replace(training, rating=training.rating.copy())
    training.rating[::3] = np.nan
    said = {word for text in training_texts(settings, prompts, training, world) for word in text.split()}
    assert "nan" not in said
    assert set("12345") <= said


def test_reviews_held_out_leave_no_trace(tmp_path) -> None:
    settings, prompts, training, world = shop(P5Settings(word_pieces=600))
    one = make_tokenizer(settings, prompts, training, world)
    held_out = ~np.isin(np.arange(len(small_world().sequences.values)), training.reviews.rows)
    assert held_out.sum() == len(training.user)
    for kept, name in ((pl.lit(held_out), "moved"), (pl.lit(~held_out), "other")):
        texts = pl.read_parquet(training.reviews.path).with_columns(
            pl.when(kept).then(pl.lit("quite another text")).otherwise("text").alias("text")
        )
        texts.write_parquet(tmp_path / f"{name}.parquet")
        moved = dataclasses.replace(
            training, reviews=dataclasses.replace(training.reviews, path=tmp_path / f"{name}.parquet")
        )
        assert (make_tokenizer(settings, prompts, moved, world).digest == one.digest) == (name == "moved")


def test_of_many_reviews_some_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, prompts, training, world = shop(P5Settings(families=["review"]))
    monkeypatch.setattr("llm_models.p5.corpus.REVIEWS", 7)
    bodies = set(training.reviews.frame()["text"].drop_nulls())
    read = [text for text in training_texts(settings, prompts, training, world) if text in bodies]
    assert 4 <= len(read) <= 7


@pytest.mark.parametrize("digits", [2, 3])
def test_words_of_templates_are_pieces_and_ids_are_never_unknown(digits: int) -> None:
    settings, prompts, training, world = shop(P5Settings(word_pieces=1200, digits=digits))
    tokenizer = make_tokenizer(settings, prompts, training, world)
    assert len(tokenizer) <= settings.vocabulary
    words = {word for one in prompts.seen("sequential") for word in one.input.split() if "{" not in word}
    assert all(len(tokenizer.word(word)) == 1 for word in words | {",", "->", "yes", "no", "like", "dislike", "4"})
    for word in (*world.items.word, *world.users.word):
        pieces = tokenizer.word(word)
        assert 2 not in pieces
        assert len(pieces) == (len(world.items.word[0]) // digits + word.startswith("user_"))


def test_pieces_of_an_index_stay_whole_in_any_tokenizer(tmp_path) -> None:
    training = small_world().training()
    symbols = tuple(f"▁{a}_{n}" for a in "a" for n in range(6)) + tuple(f"_{n}" for n in range(6))
    words = tuple(f"a_{n // 5}_{n % 5}" for n in range(len(training.item)))
    items = IdIndex(training.item, words, kind="semantic", symbols=symbols)
    path = tmp_path / "other.model"
    path.write_bytes(train_tokenizer(["some text of another kind"] * 9, digits=2, size=330).model)
    for settings in (P5Settings(), P5Settings(tokenizer=str(path))):
        tokenizer = make_tokenizer(*shop(settings, items))
        assert tokenizer.pieces(tokenizer.word("a_3_4")) == ["▁a_3", "_4"]
        assert 2 not in {piece for word in words for piece in tokenizer.word(word)}
