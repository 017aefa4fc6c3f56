from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from baselines.content.attribute_map import AttributeMap, AttributeMapSettings
from baselines.content.two_towers import TwoTowers, TwoTowersSettings
from bench.errors import MissingInputError, UsageError
from bench.models import Budget, Catalogue, Ragged, Requests, Training
from bench.models.testing import small_world

BUDGET = Budget(max_epochs=3, eval_every_epochs=1)
SMALL = {
    AttributeMap: AttributeMapSettings(factors=8),
    TwoTowers: TwoTowersSettings(dimensions=8, min_df=1, batch_pairs=64, learning_rate=0.02, word_dropout=0.0),
}
BOTH = pytest.mark.parametrize("kind", [AttributeMap, TwoTowers])


def fit(model, training, budget=BUDGET, seed=0):
    model.fit(training, validate=lambda _: 0.0, budget=budget, seed=seed, progress=lambda *_: None)
    return model


@pytest.fixture(scope="module")
def world():
    return small_world()


@pytest.fixture(scope="module")
def fitted(world):
    return {kind: fit(kind(settings), world.training()) for kind, settings in SMALL.items()}


@BOTH
def test_no_word_of_a_cold_item_is_in_the_vocabulary(kind, world, fitted, tmp_path):
    words = set(pl.Series(world.items["title"]).str.to_lowercase().str.split(" ").explode())
    warm = set(pl.Series(world.training().items["title"]).str.to_lowercase().str.split(" ").explode())
    assert words - warm, "the cold titles hold words of their own"
    fitted[kind].save(tmp_path)
    stored = (tmp_path / "vocabulary.json").read_text(encoding="utf-8")
    assert not [word for word in words - warm if f'"{word}"' in stored]
    assert [word for word in warm if f'"{word}"' in stored]


@BOTH
def test_items_and_users_without_a_known_word_are_left_unanswered(kind, world, fitted):
    text = world.items.with_columns(
        title=pl.when(pl.col("item") == int(world.cold[0])).then(pl.lit("zzz")).otherwise("title"),
        categories=pl.when(pl.col("item") == int(world.cold[0])).then(pl.lit(None)).otherwise("categories"),
    )
    history = Ragged.from_lists([[], [int(world.cold[0])], [int(world.cold[1])], [int(world.warm[0])]])
    catalogue = Catalogue(world.items["item"].to_numpy(), text)
    scores = fitted[kind].score(Requests("sequential", world.cold_users, history, catalogue, text))
    assert np.isnan(scores).all(axis=1).tolist() == [True, True, False, False]
    missing = np.isnan(scores[2:])
    assert missing.all(axis=0).tolist() == (catalogue.items == world.cold[0]).tolist()
    assert missing.any(axis=0).tolist() == missing.all(axis=0).tolist()


@BOTH
def test_direct_requests_of_strangers_are_left_unanswered(kind, world, fitted):
    scores = fitted[kind].score(world.requests("direct", cold_users=True))
    assert np.isnan(scores).all()


@BOTH
def test_titles_are_needed(kind, world):
    training = world.training()
    bare = Training(training.user, training.sequences, None, None, training.items.select("item", "item_id"))
    with pytest.raises(MissingInputError, match=r"needs item text"):
        fit(kind(SMALL[kind]), bare)
    with pytest.raises(UsageError, match="min_df=99"):
        fit(kind(SMALL[kind].model_copy(update={"min_df": 99})), training)


def test_towers_need_pairs(world):
    training = world.training()
    alone = Training(training.user, training.sequences.last(1), None, None, training.items)
    with pytest.raises(MissingInputError, match="no training user met two"):
        fit(TwoTowers(SMALL[TwoTowers]), alone)


def rank_of(scores, catalogue, wanted):
    column = np.searchsorted(catalogue, wanted)
    return 1 + (scores > scores[np.arange(len(wanted)), column][:, None]).sum(axis=1)


@BOTH
def test_training_items_come_first_once_they_are_learned_by_heart(kind, world):
    """Of 30 items, one that was learned as the next one is nearly always among the first three."""
    training = world.training()
    settings = {
        AttributeMap: AttributeMapSettings(factors=24, unobserved=0.01, ridge=1e-3, half_life_items=None),
        TwoTowers: TwoTowersSettings(dimensions=24, batch_pairs=64, learning_rate=0.02, word_dropout=0.0),
    }[kind]
    model = fit(kind(settings), training, Budget(max_epochs=40, eval_every_epochs=40))
    requests = world.requests()
    keep = np.ones(len(training.sequences.values), bool)
    keep[training.sequences.offsets[1:] - 1] = False
    before = training.sequences.keep(keep) if kind is TwoTowers else training.sequences
    asked = Requests("sequential", requests.user, before, requests.catalogue, requests.text)
    scores = np.array(model.score(asked))
    for row, items in enumerate(training.sequences.keep(keep)):
        scores[row, np.searchsorted(requests.catalogue.items, items)] = -np.inf
    scores[:, np.isin(requests.catalogue.items, world.cold)] = -np.inf
    last = training.sequences.values[training.sequences.offsets[1:] - 1]
    assert (rank_of(scores, requests.catalogue.items, last) <= 3).mean() > 0.9


@BOTH
def test_cold_items_like_those_met_come_before_other_cold_items(kind, world):
    """Titles of a kind share one word; a cold item of the kind met last is above cold items of kinds not met."""
    model = fit(kind(SMALL[kind]), world.training(), Budget(max_epochs=6, eval_every_epochs=6))
    genre = dict(zip(world.items["item"], world.items["categories"].list.first(), strict=True))
    requests = world.requests(cold_users=True)
    scores = model.score(requests)
    above = []
    for row, items in enumerate(requests.history):
        liked, met = genre[int(items[-1])], {genre[int(item)] for item in items}
        column = {int(item): np.searchsorted(requests.catalogue.items, item) for item in world.cold}
        same = [scores[row, place] for item, place in column.items() if genre[item] == liked]
        other = [scores[row, place] for item, place in column.items() if genre[item] not in met]
        above += [one > two for one in same for two in other]
    assert len(above) > 5
    assert np.mean(above) > 0.9


def test_direct_factors_of_a_known_user_are_those_solved_from_the_training_items(world):
    model = fit(AttributeMap(AttributeMapSettings(factors=8, half_life_items=None)), world.training())
    shown = world.requests("sequential")
    np.testing.assert_allclose(model.score(world.requests("direct")), model.score(shown), atol=1e-5)


def test_mapping_training_items_too_answers_from_text_alone(world):
    """Two warm items with the same text and different histories are told apart only by trained factors."""
    training = world.training()
    twins = training.item[:2]
    text = training.items.with_columns(
        title=pl.when(pl.col("item").is_in(twins.tolist())).then(pl.lit("twin")).otherwise("title")
    )
    text = text.with_columns(
        categories=pl.when(pl.col("item").is_in(twins.tolist())).then(pl.lit(["same"])).otherwise("categories")
    )
    training = Training(training.user, training.sequences, None, None, text)
    asked = Requests("direct", training.user, None, Catalogue(training.item, text), text)
    for map_warm in (False, True):
        scores = fit(AttributeMap(AttributeMapSettings(factors=8, map_warm=map_warm)), training).score(asked)
        assert np.allclose(scores[:, 0], scores[:, 1], atol=1e-6) == map_warm


def test_cold_and_warm_items_are_on_one_scale(world, fitted):
    scores = fitted[AttributeMap].score(world.requests("direct"))
    cold = np.isin(world.items["item"].to_numpy(), world.cold)
    ratio = np.square(scores[:, cold]).mean() / np.square(scores[:, ~cold]).mean()
    assert 0.3 < ratio < 3


@BOTH
def test_the_weights_are_those_that_validation_chose(kind, world):
    """Validation prefers the second evaluation: the answers are the ones given then."""
    numbers, answers = iter([0.1, 0.9, 0.3, 0.2]), []

    def validate(model):
        answers.append(model.score(world.requests()))
        return next(numbers)

    model = kind(SMALL[kind])
    report = model.fit(
        world.training(),
        validate=validate,
        budget=Budget(max_epochs=4, eval_every_epochs=1),
        seed=0,
        progress=lambda *_: None,
    )
    np.testing.assert_allclose(model.score(world.requests()), answers[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(answers[1], answers[3], rtol=1e-3)
    assert report.curve[1]["step"] == report.best_step
    assert report.curve[-1]["loss"] < report.curve[0]["loss"]


def test_the_model_modules_import_without_heavy_packages():
    code = (
        "import sys; import baselines.content.attribute_map, baselines.content.two_towers; "
        "sys.exit(','.join({'sklearn', 'scipy', 'torch', 'recbole'} & set(sys.modules)) or 0)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=root)
    assert done.returncode == 0, done.stderr
