from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from baselines.sasrec.model import SASRec
from bench.errors import ModelError
from bench.models import Budget, Catalogue, Ragged, Requests, Training
from bench.models.testing import RecommenderContract

TINY = {"hidden_size": 16, "inner_size": 32, "layers": 1, "max_length": 6, "batch_targets": 60}


def text(items: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"item": items, "item_id": [str(code) for code in items]})


def training(rows: list[list[int]]) -> Training:
    items = np.unique(np.concatenate(rows)).astype(np.int32) if rows else np.empty(0, np.int32)
    return Training(np.arange(len(rows), dtype=np.int32), Ragged.from_lists(rows), None, None, text(items))


def ask(histories: list[list[int]], items: list[int], task: str = "sequential") -> Requests:
    codes = np.array(items, np.int32)
    history = Ragged.from_lists(histories) if task == "sequential" else None
    user = np.arange(1000, 1000 + len(histories), dtype=np.int32)
    return Requests(task, user, history, Catalogue(codes, text(codes)), text(codes))


def silent(done: int, total: int, note: str = "") -> None:
    pass


def fit(rows: list[list[int]], budget: Budget, seed: int = 0, validate=lambda model: 0.0, **settings: object):
    model = SASRec(SASRec.Settings.model_validate(TINY | settings))
    return model, model.fit(training(rows), validate=validate, budget=budget, seed=seed, progress=silent)


class TestContract(RecommenderContract):
    model = SASRec
    settings = TINY


class TestContractWithDraws(RecommenderContract):
    model = SASRec
    settings = TINY | {"loss": "sampled", "negatives": 20, "draw": "popularity"}


# A ring of 20 items walked from every start: what follows an item is certain.
RING = [int(code) for code in np.random.default_rng(0).choice(1000, 20, replace=False)]
WALKS = [[RING[(start + step) % 20] for step in range(3 + start % 15)] for start in range(20)]


def hits(model: SASRec) -> float:
    requests = ask([[item] for item in RING], sorted(RING))
    best = requests.catalogue.items[model.score(requests).argmax(1)]
    return float((best == np.roll(RING, -1)).mean())


def test_learns_a_certain_next_item():
    budget = Budget(max_epochs=60, eval_every_epochs=10, patience=6)
    model, report = fit(WALKS, budget, validate=hits, dropout=0.0, input_dropout=0.0, learning_rate=1e-2)
    assert hits(model) == 1.0
    assert report.curve[-1]["loss"] < 0.1
    long = ask([(RING * 2)[:33]], sorted(RING))
    assert long.catalogue.items[model.score(long).argmax()] == RING[13], "the last items of a long history count"


@pytest.mark.parametrize(
    "loss",
    [
        {"loss": "bce"},
        {"loss": "gbce", "negatives": 4},
        {"loss": "sampled", "negatives": 16},
        {"loss": "sampled", "negatives": 16, "draw": "popularity"},
    ],
    ids=lambda loss: "-".join(map(str, loss.values())),
)
def test_every_loss_learns_a_certain_next_item(loss):
    budget = Budget(max_epochs=80, eval_every_epochs=10, patience=8)
    model, report = fit(WALKS, budget, validate=hits, dropout=0.0, input_dropout=0.0, learning_rate=1e-2, **loss)
    assert hits(model) >= 0.95
    assert report.curve[-1]["loss"] < 0.25 * report.curve[0]["loss"]


def test_the_numbers_of_this_version():
    """Raise ``SASRec.version`` when these change: stored results are found by it."""
    model, _ = fit(WALKS, Budget(max_steps=7, patience=9))
    scores = model.score(ask([RING[:4]], sorted(RING)))[0, :5]
    assert SASRec.version == "1"
    np.testing.assert_allclose(scores, [-0.06628724, 0.21512963, -0.02886776, 0.04741453, 0.01476297], atol=1e-4)


def test_keeps_the_best_weights_and_reports_the_course():
    numbers = iter([0.1, 0.3, 0.2, 0.25, 0.3])
    seen = []

    def validate(model: SASRec) -> float:
        seen.append(model.score(ask([RING[:3]], sorted(RING))))
        return next(numbers)

    model, report = fit(WALKS, Budget(max_epochs=50, patience=3), validate=validate)
    np.testing.assert_array_equal(model.score(ask([RING[:3]], sorted(RING))), seen[1])
    assert not np.array_equal(seen[1], seen[-1])
    assert (report.stopped, report.converged, report.epochs) == ("early stopping", True, 5.0)
    assert report.best_step == report.curve[1]["step"] == 2 * report.steps / 5
    assert [row["validation"] for row in report.curve] == [0.1, 0.3, 0.2, 0.25, 0.3]
    assert report.parameters_trained == sum(weight.numel() for weight in model._network.parameters())


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (Budget(max_steps=7, eval_every_steps=3), [3, 6, 7]),
        (Budget(max_steps=5, patience=0), [3, 5]),
        (Budget(max_epochs=5, eval_every_epochs=2), [6, 12, 15]),
        (Budget(max_epochs=2, eval_every_steps=4), [4, 6]),
    ],
)
def test_evaluates_when_the_budget_says(budget, steps):
    rows = [[code, code + 1] for code in range(0, 180)]  # 180 targets: three steps an epoch
    _, report = fit(rows, budget)
    assert [row["step"] for row in report.curve] == steps
    assert report.epochs == pytest.approx(steps[-1] / 3)
    assert report.stopped == "budget"


def test_seeds_decide_and_leave_the_global_state_alone():
    budget = Budget(max_steps=4, patience=9)
    requests = ask([RING[:4]], sorted(RING))
    before = torch.random.get_rng_state()
    first, again, other = (fit(WALKS, budget, seed)[0].score(requests) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


@pytest.fixture(scope="module")
def trained() -> SASRec:
    return fit(WALKS, Budget(max_steps=5, patience=9))[0]


def test_unknown_items_get_no_score_and_are_no_evidence(trained):
    candidates = sorted([*RING, 1001, 1002])
    scores = trained.score(ask([[RING[3], 1001, RING[4]], [RING[3], RING[4]]], candidates))
    assert np.isnan(scores[:, [candidates.index(1001), candidates.index(1002)]]).all()
    assert np.isfinite(scores).sum(1).tolist() == [20, 20]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


def test_requests_without_a_known_history_stay_unanswered(trained):
    scores = trained.score(ask([[], RING[:2], [1001]], sorted(RING)))
    assert np.isnan(scores).all(axis=1).tolist() == [True, False, True]
    assert trained.score(ask([], sorted(RING))).shape == (0, 20)


def test_a_part_of_the_catalogue_is_scored_alike(trained):
    whole, part = sorted(RING), sorted(RING)[3:9]
    np.testing.assert_allclose(
        trained.score(ask([RING[:5]], part)), trained.score(ask([RING[:5]], whole))[:, 3:9], rtol=1e-5, atol=1e-6
    )


def test_many_requests_of_all_lengths_equal_single_ones(trained, monkeypatch):
    monkeypatch.setattr("baselines.sasrec.model.SERVED_PLACES", 16)
    histories = [walk[: 1 + place % 9] for place, walk in enumerate(WALKS)]
    together = trained.score(ask(histories, sorted(RING)))
    for row, history in enumerate(histories):
        np.testing.assert_allclose(together[row], trained.score(ask([history], sorted(RING)))[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 10, "heads": 3},
        {"dropout": 1.0},
        {"layers": 0},
        {"learning_rate": 0},
        {"max_length": 0},
        {"negatives": 0},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError):
        SASRec.Settings.model_validate(settings)


def test_nothing_to_learn_from_and_endless_budgets_are_errors():
    with pytest.raises(ModelError, match="no training user has two"):
        fit([[1], [2]], Budget(max_steps=1))
    with pytest.raises(ModelError, match="never ends"):
        fit(WALKS, Budget(patience=0))
    with pytest.raises(ModelError, match="single one"):
        fit([[1, 1]], Budget(max_steps=1), loss="bce")


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"hidden_size": 128, "layers": 3}, "SASRec-CE 3x128"),
        ({"loss": "bce"}, "SASRec-BCE k=1 2x64"),
        ({"loss": "gbce"}, "SASRec-gBCE k=256 t=0.75 2x64"),
        ({"loss": "sampled", "negatives": 9, "draw": "popularity"}, "SASRec-CE sampled k=9 popularity 2x64"),
    ],
)
def test_labels_say_what_was_run(settings, label):
    assert SASRec.label(SASRec.Settings.model_validate(settings)) == label


def test_a_single_item_has_nothing_to_compete_with():
    _, report = fit([[1, 1, 1]], Budget(max_steps=3))
    assert report.curve[-1]["loss"] == 0
