"""Floors and classic models that write and read reviews, against slow and plain doubles of themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from baselines.simple.frequent_sentence import FrequentSentence
from baselines.simple.majority import Majority
from baselines.simple.nearest_review import NearestReview, NearestReviewSettings
from baselines.simple.tfidf_ridge import TfIdfRidge, TfIdfRidgeSettings
from bench.data.reviews import Reviews
from bench.errors import MissingInputError
from bench.models.testing import small_world
from bench.splits import Pairs
from bench.tasks.explanations import NoTexts, training_reviews, training_triples

pytest.importorskip("yake")
pytest.importorskip("vaderSentiment")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def world():
    return small_world()


@pytest.fixture(scope="module")
def training(world):
    return world.training()


@pytest.fixture(scope="module")
def sentences(training):
    triples = training_triples(training)
    return (
        training_reviews(training)[triples["row"].to_numpy()]
        .select("user", "item", "rating")
        .hstack(triples.select("feature", "sentence"))
    )


def most_frequent(texts):
    """The rule of FrequentSentence by a counter."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], len(text), text))


def test_the_most_frequent_texts(world, training, sentences, fit):
    model = fit(FrequentSentence(), training)
    headlines = training_reviews(training)["headline"].drop_nulls().to_list()
    assert set(model.write(world.requests("headline"))) == {most_frequent(headlines)}
    every = most_frequent(sentences["sentence"])
    assert set(model.write(world.requests("explanation"))) == {every}
    for task in ("feature-explanation", "rated-explanation"):
        requests = world.requests(task)
        for feature, text in zip(requests.given["feature"], model.write(requests), strict=True):
            assert text == most_frequent(sentences.filter(feature=feature)["sentence"])
    strange = replace(requests, given=requests.given.with_columns(feature=pl.lit("handles")))
    assert set(model.write(strange)) == {every}


def test_the_majority_star(world, training, fit):
    counts = Counter(training.rating.tolist())
    star = min(counts, key=lambda value: (-counts[value], value))
    for task in ("rating", "preference"):
        assert set(fit(Majority(), training).rate(world.requests(task)).tolist()) == {star}
    # Of the protocols that part ratings from sequences, the ratings count.
    few = Pairs(training.user[:2], training.item[:2], np.array([2, 2], np.float32), None, None, "rating")
    assert fit(Majority(), replace(training, pairs=few)).rate(world.requests("rating"))[0] == 2
    with pytest.raises(MissingInputError, match="needs stars"):
        fit(Majority(), replace(training, rating=None))


def cosines(texts, others):
    from sklearn.feature_extraction.text import TfidfVectorizer

    bodies = [text or "" for text in training_reviews(small_world().training())["text"]]
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(bodies)
    return words.transform(texts).toarray(), words.transform(others).toarray()


def test_the_headline_of_the_nearest_body(world, training, fit):
    model, requests = fit(NearestReview(), training), world.requests("headline")
    reviews = training_reviews(training).drop_nulls(["headline", "text"])
    asked, known = cosines(requests.given["body"].to_list(), reviews["text"].to_list())
    for text, likeness in zip(model.write(requests), asked @ known.T, strict=True):
        near = np.flatnonzero(likeness > likeness.max() - 1e-6)
        assert text in reviews["headline"][near].to_list()
    unheard = replace(
        requests, given=pl.DataFrame({"body": ["", "Xylophones unheard-of!", *requests.given["body"][2:]]})
    )
    assert model.write(unheard)[:2].to_list() == [None, None]


@pytest.mark.parametrize("task", ["explanation", "feature-explanation", "rated-explanation"])
@pytest.mark.parametrize("user_weight", [0.0, 0.3, 1.0])
def test_the_sentence_nearest_to_user_and_item(world, training, sentences, fit, task, user_weight):
    model = fit(NearestReview(NearestReviewSettings(user_weight=user_weight)), training)
    requests = world.requests(task)
    _, rows = cosines([""], sentences["sentence"].to_list())

    def profile(members):
        total = rows[members].sum(axis=0)
        return total / (np.linalg.norm(total) or 1)

    of = {name: sentences[name].to_numpy() for name in ("user", "item", "rating", "feature")}
    for place, text in enumerate(model.write(requests)):
        mine, its = of["user"] == requests.user[place], of["item"] == requests.item[place]
        pools = [its, mine]
        if task != "explanation":
            about = of["feature"] == requests.given["feature"][place]
            pools = [its & about, about, *pools]
        pool = next(np.flatnonzero(pool) for pool in pools if pool.any())
        if task == "rated-explanation":
            away = np.abs(of["rating"][pool] - requests.given["rating"][place])
            pool = pool[away == away.min()]
        wanted = user_weight * profile(mine) + (1 - user_weight) * profile(its)
        likeness = rows[pool] @ (wanted if wanted.any() else rows[pool].sum(axis=0))
        assert text in sentences["sentence"][pool[likeness > likeness.max() - 1e-6]].to_list()


def test_nothing_is_written_where_nothing_is_known(world, training, fit):
    model = fit(NearestReview(), training)
    strangers = world.requests("explanation", cold_users=True, cold_items=True)
    assert model.write(strangers).to_list() == [None] * len(strangers)
    # A feature that training speaks of is something to go by.
    told = world.requests("feature-explanation", cold_users=True, cold_items=True)
    for feature, text in zip(told.given["feature"], model.write(told), strict=True):
        assert feature in text


def test_ridge_solves_its_equations(world, training, fit):
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings = TfIdfRidgeSettings(alpha=0.7, ngram_max=1)
    model, requests = fit(TfIdfRidge(settings), training), world.requests("preference")
    reviews = training_reviews(training).drop_nulls("text")
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    rows, stars = words.fit_transform(reviews["text"]).toarray(), reviews["rating"].to_numpy().astype(float)
    # Centred, so that the intercept is not shrunk.
    centred, mean = rows - rows.mean(axis=0), stars.mean()
    weight = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(rows.shape[1]), centred.T @ (stars - mean))
    said = mean + (words.transform(requests.given["body"]).toarray() - rows.mean(axis=0)) @ weight
    np.testing.assert_allclose(model.rate(requests), np.clip(said, 1, 5), atol=1e-4)
    empty = replace(requests, given=pl.DataFrame({"body": [""] * len(requests)}))
    np.testing.assert_allclose(model.rate(empty), mean - rows.mean(axis=0) @ weight, atol=1e-4)


@pytest.mark.parametrize("model", [FrequentSentence, NearestReview, TfIdfRidge])
def test_data_without_texts_is_a_missing_input(training, fit, model):
    with pytest.raises(NoTexts):
        fit(model(), replace(training, reviews=None))


def reviews_with(training, folder, **columns):
    """The training reviews with other texts."""
    frame = training.reviews.frame().with_columns(**columns)
    frame.write_parquet(folder / "reviews.parquet")
    rows = np.arange(len(frame), dtype=np.uint32)
    return replace(training, reviews=Reviews(folder / "reviews.parquet", rows, tuple(frame.columns)))


def test_texts_without_headlines_are_enough_to_explain(world, training, fit, tmp_path):
    """As Yelp has them."""
    bare = reviews_with(training, tmp_path, headline=pl.lit(None, pl.String))
    for model in (FrequentSentence(), NearestReview()):
        fitted = fit(model, bare)
        (folder := tmp_path / type(model).__name__).mkdir()
        fitted.save(folder)
        loaded = type(model).load(folder, model.settings)
        assert loaded.write(world.requests("headline")).null_count() == len(world.users)
        assert loaded.write(world.requests("explanation")).null_count() == 0


def test_texts_that_explain_nothing_are_enough_for_headlines(world, training, fit, tmp_path):
    mute = reviews_with(training, tmp_path, text=pl.lit("It came on a Monday", pl.String))
    for model in (FrequentSentence(), NearestReview()):
        fitted = fit(model, mute)
        (folder := tmp_path / type(model).__name__).mkdir()
        fitted.save(folder)
        loaded = type(model).load(folder, model.settings)
        requests = world.requests("headline")
        requests = replace(requests, given=pl.DataFrame({"body": ["On a Monday"] * len(requests)}))
        assert loaded.write(requests).null_count() == 0
        for task in ("explanation", "rated-explanation"):
            assert loaded.write(world.requests(task)).null_count() == len(world.users)


@pytest.mark.parametrize("model", [NearestReview, TfIdfRidge])
def test_texts_without_a_word_are_no_texts(training, fit, tmp_path, model):
    with pytest.raises(MissingInputError, match="training"):
        fit(model(), reviews_with(training, tmp_path, text=pl.lit("!?", pl.String)))


def test_headlines_alone_are_enough_to_write_headlines(world, training, fit, tmp_path):
    model = fit(FrequentSentence(), reviews_with(training, tmp_path, text=pl.lit(None, pl.String)))
    assert model.write(world.requests("headline")).null_count() == 0
    assert model.write(world.requests("explanation")).null_count() == len(world.users)
