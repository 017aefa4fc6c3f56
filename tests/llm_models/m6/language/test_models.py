"""What the writer and the likelihood model promise beside the contract."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from bench.errors import ModelError, UsageError
from bench.models import Budget, Ragged
from bench.models.testing import small_world
from bench.splits.training import Pairs
from bench.tasks.explanations import training_triples
from llm_models.m6.language.asked import training_prompts
from llm_models.m6.language.likelihood import M6Likelihood, platt
from llm_models.m6.language.mentions import Mentions
from llm_models.m6.language.settings import LikelihoodSettings, WriterSettings
from llm_models.m6.language.writer import M6Writer


def fitted(model, training=None, steps=4):
    report = model.fit(
        training or small_world().training(),
        validate=lambda model: 0.0,
        budget=Budget(max_steps=steps, eval_every_steps=steps, patience=0),
        seed=0,
        progress=lambda done, total, note="": None,
    )
    return model, report


@pytest.fixture(scope="module")
def zero_shot(backbones):
    return fitted(M6Likelihood(LikelihoodSettings(backbone=str(backbones["llama"]), tuned="zero-shot")))


def test_what_used_a_trained_head_is_never_called_zero_shot(backbones):
    for model, schema in ((M6Writer, WriterSettings), (M6Likelihood, LikelihoodSettings)):
        for tuned in ("head", "prompt", "adapter", "prompt-adapter", "full"):
            for backbone in ("packaged-minilm", str(backbones["bert"])):
                label = model.label(schema(tuned=tuned, backbone=backbone))
                assert "trained LM head" in label
                assert "zero-shot" not in label
        assert "trained LM head" not in model.label(schema(tuned="prompt", backbone=str(backbones["llama"])))
    with pytest.raises(UsageError, match="no zero-shot likelihood"):
        fitted(M6Likelihood(LikelihoodSettings(backbone=str(backbones["bert"]), tuned="zero-shot")))


def test_zero_shot_trains_nothing(zero_shot):
    _, report = zero_shot
    assert (report.parameters_trained, report.steps) == (0, 0)
    assert report.notes["language_model_head"] == "pre-trained"


def test_a_draw_is_scored_alone_and_as_in_the_whole_catalogue(zero_shot):
    model, world = zero_shot[0], small_world()
    requests = world.requests("direct")
    whole = model.score(requests)
    items = requests.catalogue.items
    drawn = Ragged.from_lists([items[[2, 5, 9]]] * len(requests))
    scores = model.score(dataclasses.replace(requests, candidates=drawn))
    assert (np.isfinite(scores) == np.isin(np.arange(len(items)), [2, 5, 9])).all()
    np.testing.assert_allclose(scores[:, [2, 5, 9]], whole[:, [2, 5, 9]], atol=1e-5)
    only_draws = M6Likelihood(model.settings.model_copy(update={"whole_catalogue": False}))
    only_draws._training, only_draws._model = model._training, model._model
    assert np.isnan(only_draws.score(requests)).all()


def test_taking_nobody_off_takes_one_number_off_each_item(zero_shot):
    model, requests = zero_shot[0], small_world().requests()
    against = M6Likelihood(model.settings.model_copy(update={"against_nobody": 1.0}))
    against._training, against._model = model._training, model._model
    taken = model.score(requests) - against.score(requests)
    np.testing.assert_allclose(taken, np.broadcast_to(taken[0], taken.shape), atol=1e-5)
    assert np.ptp(taken[0]) > 0.01


def test_clicks_are_calibrated_to_the_training_pairs(zero_shot, backbones):
    training, rng = small_world().training(), np.random.default_rng(0)
    rows = rng.integers(len(training.user), size=60)
    label = (rng.random(60) < 0.2).astype(np.float32)
    pairs = Pairs(
        training.user[rows],
        rng.choice(training.item, 60),
        label,
        training.sequences.take(rows),
        None,
        "click",
    )
    model, _ = fitted(M6Likelihood(zero_shot[0].settings), dataclasses.replace(training, pairs=pairs))
    told, plain = (one.rate(small_world().requests("click")) for one in (model, zero_shot[0]))
    assert model._platt[0] >= 0
    # Labels have nothing to do with the texts, so all that can be learned is about how often a click is.
    assert abs(told.mean() - label.mean()) < abs(plain.mean() - label.mean())


@settings(deadline=None, max_examples=20)
@given(st.floats(0.5, 3), st.floats(-2, 2))
def test_platt_finds_what_made_the_clicks(scale, shift):
    rng = np.random.default_rng(0)
    ratio = rng.normal(size=20_000)
    clicked = rng.random(len(ratio)) < 1 / (1 + np.exp(-(scale * ratio + shift)))
    assert platt(ratio, clicked) == pytest.approx((scale, shift), abs=0.15)
    assert platt(ratio, ~clicked)[0] == pytest.approx(0, abs=1e-3)


def test_training_prompts_show_what_their_task_shows_and_never_the_review():
    training, most = small_world().training(), 4
    reviews = training.reviews.frame()
    users = training.user[training.sequences.row_of]
    mentions = Mentions.learn(users, training.sequences.values, reviews["text"].to_list())
    tasks = ("explanation", "feature-explanation", "rated-explanation", "headline")
    told = training_prompts(training, writer(), mentions, tasks=tasks, most=most, max_source=64)
    triples = training_triples(training)
    assert [prompt.target for prompt in told["explanation"]] == triples["sentence"].to_list()
    for kind in tasks[:3]:
        for prompt, feature in zip(told[kind], triples["feature"], strict=True):
            assert prompt.target not in prompt.source
            assert (f": {feature}." in prompt.source) >= (kind != "explanation")
            assert ("of 5 stars" in prompt.source) == (kind == "rated-explanation")
    assert all(prompt.target in set(reviews["headline"]) for prompt in told["headline"])


def writer():
    return M6Writer(WriterSettings()).behaviour


def test_a_model_fitted_on_another_backbone_is_refused(zero_shot, backbones, tmp_path):
    zero_shot[0].save(tmp_path)
    other = LikelihoodSettings(backbone=str(backbones["bert"]), tuned="head")
    with pytest.raises(ModelError, match="fitted with backbone_weights"):
        M6Likelihood.load(tmp_path, other)
