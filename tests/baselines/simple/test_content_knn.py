from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from baselines.simple.content_knn import ContentKNN, ContentKNNSettings
from bench.errors import MissingInputError, UsageError

NAN = np.nan
TITLES = {"use_categories": False}
TITLES_ONLY = ContentKNNSettings(**TITLES, half_life_items=None)
# Smoothed inverse document frequencies of the four training titles: ln((1 + 4) / (1 + df)) + 1.
TWO, ONE = np.log(5 / 3) + 1, np.log(5 / 2) + 1
WORDS = {  # red, apple, green, car, blue
    0: [TWO, TWO, 0, 0, 0],
    1: [0, TWO, ONE, 0, 0],
    2: [TWO, 0, 0, TWO, 0],
    3: [0, 0, 0, TWO, ONE],
    4: [0, 0, ONE, 0, 0],  # "boat" is not in training
}


def unit(vector):
    return np.asarray(vector) / np.linalg.norm(vector)


def cosines(profile):
    return [float(unit(profile) @ unit(WORDS[item])) for item in range(5)] + [NAN]


@pytest.fixture(scope="module")
def model(fit, make_training):
    return fit(ContentKNN(TITLES_ONLY), make_training())


def test_scores_are_the_cosines_computed_by_hand(model, make_requests):
    scores = model.score(make_requests([10, 99], [[0], [1, 2]]))
    expected = [cosines(WORDS[0]), cosines(unit(WORDS[1]) + unit(WORDS[2]))]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert scores.dtype == np.float32


def test_direct_requests_use_the_training_items_of_the_user(model, make_requests):
    direct = model.score(make_requests([30, 77, 20]))
    shown = model.score(make_requests([30, 77, 20], [[2, 0], [], [0, 3]]))
    np.testing.assert_allclose(direct, shown, rtol=1e-6)
    assert np.isnan(direct[1]).all()


def test_a_history_without_a_known_word_leaves_the_request_unanswered(model, make_requests):
    assert np.isnan(model.score(make_requests([10, 10], [[], [5]]))).all()


def test_cold_items_may_stand_in_the_history_and_among_the_candidates(model, make_requests):
    scores = model.score(make_requests([99], [[4]], candidates=(1, 4)))
    np.testing.assert_allclose(scores, [[unit(WORDS[1])[2], 1]], rtol=1e-6)


def test_only_the_latest_items_count(fit, make_training, make_requests):
    model = fit(ContentKNN(ContentKNNSettings(**TITLES, history_items=1)), make_training())
    long, short = model.score(make_requests([99, 99], [[3, 2, 0], [0]]))
    np.testing.assert_array_equal(long, short)


def test_older_items_count_less_by_the_half_life(fit, make_training, make_requests):
    model = fit(ContentKNN(ContentKNNSettings(**TITLES, half_life_items=2)), make_training())
    profile = unit(WORDS[0]) + 2**-0.5 * unit(WORDS[3]) + 0.5 * unit(WORDS[1])
    np.testing.assert_allclose(model.score(make_requests([9], [[1, 3, 0]])), [cosines(profile)], rtol=1e-6)


def test_categories_serve_items_without_a_known_title_word(fit, make_training, make_requests):
    model = fit(ContentKNN(), make_training())
    with_categories = model.score(make_requests([99], [[2]]))
    assert with_categories[0, 4] > 0, "item 4 shares the category 'toy' with item 2"
    titles = fit(ContentKNN(TITLES_ONLY), make_training()).score(make_requests([99], [[2]]))
    assert titles[0, 4] == 0


def test_bigrams_are_read_when_asked_for(fit, make_training):
    one = fit(ContentKNN(TITLES_ONLY), make_training())
    two = ContentKNN(ContentKNNSettings(**{**TITLES, "ngram_max": 2}))
    report = two.fit(make_training(), validate=None, budget=None, seed=0, progress=None)
    assert report.parameters_total == 5 + 4  # five words, and four titles of two words each
    assert one.settings.ngram_max == 1


def test_rare_words_are_dropped_when_asked_for(fit, make_training, make_requests):
    model = fit(ContentKNN(ContentKNNSettings(**TITLES, min_df=2)), make_training())
    scores = model.score(make_requests([99], [[0]]))
    assert np.isnan(scores[0, 4]), "'green' and 'boat' are not in the vocabulary"
    with pytest.raises(UsageError, match="min_df=9"):
        fit(ContentKNN(ContentKNNSettings(min_df=9)), make_training())


def test_missing_text_is_named(fit, make_training, make_requests):
    with pytest.raises(MissingInputError, match="no training item has a title or a category"):
        fit(ContentKNN(), make_training(title=False, categories=False))
    with pytest.raises(MissingInputError, match="no training item has a title:"):
        fit(ContentKNN(TITLES_ONLY), make_training(title=False))


def test_html_entities_are_read_as_the_characters_they_stand_for():
    from baselines.simple.text import TextSettings, documents

    items = pl.DataFrame({"title": ["Salt &amp; Pepper", None], "categories": [["A &lt; B", "C"], None]})
    assert documents(items, TextSettings()) == ["Salt & Pepper A < B C", " "]
    assert documents(items, TextSettings(use_categories=False)) == ["Salt & Pepper", ""]


def test_every_text_field_is_read_but_the_id():
    from baselines.simple.text import TextSettings, documents

    items = pl.DataFrame(
        {"item": [1], "item_id": ["x9"], "year": ["1995"], "title": ["Heat"], "categories": [["Crime"]]}
    )
    assert documents(items, TextSettings()) == ["Heat 1995 Crime"]
    assert documents(items.with_columns(year=pl.lit(None, pl.String)), TextSettings(use_categories=False)) == ["Heat "]


def test_a_title_is_read_as_often_as_asked():
    from baselines.simple.text import TextSettings, documents

    items = pl.DataFrame({"title": ["Heat"], "categories": [["Crime"]]})
    assert documents(items, TextSettings(title_weight=3)) == ["Heat Heat Heat Crime"]


def test_repeated_words_count_by_their_logarithm_when_asked(fit, make_training, make_requests):
    twice = ContentKNNSettings(ngram_max=1, title_weight=2, sublinear_tf=True, half_life_items=None)
    scores = fit(ContentKNN(twice), make_training()).score(make_requests([99], [[0]]))
    # Of the four documents "red", "apple", "car" and "fruit" occur in two each, "car" of item 2 three times in one.
    words = {0: [1 + np.log(2), 1 + np.log(2), 1], 1: None}
    row = unit(words[0])
    # Item 1, "green apple fruit": "green" occurs in one document.
    other = np.array([TWO * (1 + np.log(2)), TWO, ONE * (1 + np.log(2))])
    np.testing.assert_allclose(scores[0, 1], (row[1] * other[0] + row[2] * other[1]) / np.linalg.norm(other), rtol=1e-6)


def test_blocks_of_any_size_give_the_same_scores(model, make_requests):
    requests = make_requests([10, 20, 99], [[0], [1, 2], [4, 3]])
    whole = model.score(requests)
    parts = [model.score(requests.take(np.array([row]))) for row in (2, 0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[[2, 0, 1]])


def test_a_stored_model_answers_as_before(fit, make_training, make_requests, tmp_path):
    settings = ContentKNNSettings(ngram_max=2, half_life_items=3)
    model = fit(ContentKNN(settings), make_training())
    model.save(tmp_path)
    again = ContentKNN.load(tmp_path, settings)
    for requests in (make_requests([10, 99], [[1], [4, 5]]), make_requests([10, 99])):
        np.testing.assert_array_equal(again.score(requests), model.score(requests))


def test_the_model_modules_import_without_heavy_packages():
    code = (
        "import sys; import baselines.simple.content_knn, baselines.simple.popularity; "
        "import baselines.simple.category_popularity, baselines.simple.chance; "
        "sys.exit(','.join({'sklearn', 'scipy', 'torch', 'recbole'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
