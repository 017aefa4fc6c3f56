"""What a sequential model of RecBole makes of newcomers, short histories, categories and its own data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from baselines.recbole.bert4rec import BERT4Rec, BERT4RecSettings
from baselines.recbole.caser import Caser, CaserSettings
from baselines.recbole.fdsa import FDSA, FDSASettings
from baselines.recbole.fence import fence
from baselines.recbole.fpmc import FPMC, FPMCSettings
from baselines.recbole.gru4rec import GRU4Rec, GRU4RecSettings
from baselines.recbole.hgn import HGN, HGNSettings
from baselines.recbole.s3rec import S3Rec, S3RecSettings
from baselines.recbole.sasrec_recbole import RecBoleSASRec, RecBoleSASRecSettings
from bench.errors import MissingInputError
from bench.models import Budget

pytest.importorskip("recbole")
ITEMS = 20
SMALL = {"hidden_size": 16, "inner_size": 32, "learning_rate": 0.01, "train_batch_size": 64, "MAX_ITEM_LIST_LENGTH": 8}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
FAST = {"embedding_size": 16, "learning_rate": 0.03, "train_batch_size": 64}
MODELS = {
    "FPMC": lambda: FPMC(FPMCSettings(**FAST)),
    "Caser": lambda: Caser(CaserSettings(**FAST, MAX_ITEM_LIST_LENGTH=4, dropout_prob=0.0)),
    "HGN": lambda: HGN(HGNSettings(**FAST, MAX_ITEM_LIST_LENGTH=8)),
    "GRU4Rec": lambda: GRU4Rec(GRU4RecSettings(**FAST, hidden_size=16, dropout_prob=0.0)),
    "BERT4Rec": lambda: BERT4Rec(BERT4RecSettings(**{**SMALL, "hidden_size": 32}, **NO_DROPOUT, ft_ratio=0.9)),
    "SASRec": lambda: RecBoleSASRec(RecBoleSASRecSettings(**SMALL, **NO_DROPOUT)),
    "FDSA": lambda: FDSA(FDSASettings(**SMALL, **NO_DROPOUT)),
    "S3Rec": lambda: S3Rec(S3RecSettings(**SMALL, **NO_DROPOUT, pretrain_epochs=3)),
}


@pytest.fixture(scope="module")
def circle(make_training):
    """40 users who walk round the same circle of 20 items, from different places; item codes are not in its order."""
    order = np.random.default_rng(2).permutation(ITEMS) * 3 + 4
    rows = [[order[(start + step) % ITEMS] for step in range(3 + start % 5)] for start in range(2 * ITEMS)]
    training = make_training(np.arange(2 * ITEMS) + 7, rows)
    categories = [[f"part {code % 4}", "circle"] for code in training.item]
    return order, replace(training, items=training.items.with_columns(pl.Series("categories", categories)))


@pytest.fixture(scope="module", params=MODELS)
def fitted(request, circle, fit):
    model = MODELS[request.param]()
    return model, fit(model, circle[1], validate=lambda _: 0.0, budget=Budget(max_epochs=60, patience=0))


def test_each_learns_what_follows_what(fitted, circle, make_requests):
    model, report = fitted
    order, training = circle
    assert report.curve[-1]["loss"] < 0.7 * report.curve[0]["loss"]
    shown = [[order[i - 2], order[i - 1], order[i]] for i in range(ITEMS)]
    for user in (training.user[:ITEMS], np.full(ITEMS, 999)):
        scores = model.score(make_requests(user, shown, training.item))
        found = training.item[scores.argmax(axis=1)]
        assert (found == np.roll(order, -1)).mean() >= 0.6, "chance is 1 in 20"


def test_a_single_item_tells_something_too(fitted, circle, make_requests):
    order, training = circle
    scores = fitted[0].score(make_requests([999] * ITEMS, [[code] for code in order], training.item))
    assert (training.item[scores.argmax(axis=1)] == np.roll(order, -1)).mean() >= 0.6


def test_pretraining_is_reported_and_falls(circle, fit):
    report = fit(MODELS["S3Rec"](), circle[1], validate=lambda _: 0.0)
    losses = report.notes["pretraining_loss"]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert report.epochs == 2


@pytest.mark.parametrize("name", ["FPMC", "HGN", "Caser"])
def test_a_newcomer_gets_the_mean_user_vector(name, circle, fit, make_requests):
    order, training = circle
    model = MODELS[name]()
    fit(model, training, validate=lambda _: 0.0)
    asked = make_requests([999], [order[:3]], training.item)
    newcomer = model.score(asked)
    everyone = model.score(make_requests(training.user, [order[:3]] * len(training.user), training.item))
    np.testing.assert_array_equal(model.score(asked), newcomer)
    vectors = getattr(model._engine.model, "UI_emb" if name == "FPMC" else "user_embedding").weight.data
    vectors[1] = vectors[1:].mean(dim=0)
    known = model.score(make_requests([model._engine.users.code[1]], [order[:3]], training.item))
    np.testing.assert_allclose(known, newcomer, atol=1e-5)
    if name == "FPMC":  # It is linear in the user.
        np.testing.assert_allclose(newcomer[0], everyone.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("name", ["FDSA", "S3Rec"])
@pytest.mark.parametrize("categories", [None, [[]], [None]])
def test_without_categories_it_says_what_is_missing(name, categories, circle, fit):
    training = circle[1]
    items = training.items.drop("categories")
    if categories is not None:
        items = items.with_columns(pl.Series("categories", categories * len(items), dtype=pl.List(pl.String)))
    with pytest.raises(MissingInputError, match=f"{name} learns from item categories"):
        fit(MODELS[name](), replace(training, items=items), validate=lambda _: 0.0)


def test_users_of_one_item_teach_nothing_and_nothing_else_is_an_error(make_training, make_requests, fit):
    model = MODELS["GRU4Rec"]()
    fit(model, make_training([3, 4, 5], [[8], [8, 6, 7], [7]]), validate=lambda _: 0.0)
    assert np.isfinite(model.score(make_requests([3], [[8]], [6, 7, 8]))).all()
    with pytest.raises(ValueError, match="two items"):
        fit(MODELS["GRU4Rec"](), make_training([3, 4], [[8], [6]]), validate=lambda _: 0.0)


def test_only_the_last_items_of_a_long_history_are_read(fitted, circle, make_requests):
    order, training = circle
    long = np.concatenate([order[::-1], order])
    scores = fitted[0].score(make_requests([999, 999], [long, long[-19:]], training.item))
    read = getattr(fitted[0].settings, "MAX_ITEM_LIST_LENGTH", 1)
    if read <= 19:
        np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    else:
        assert not np.allclose(scores[0], scores[1], atol=1e-4)


def test_recbole_cannot_read_histories_from_files(tmp_path):
    """The reason for data in memory; fails once RecBole reads token sequences under the installed pandas."""
    from recbole.config import Config
    from recbole.data import create_dataset

    (tmp_path / "d").mkdir()
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    (tmp_path / "d/d.train.inter").write_text(head + "1\t5 6\t7\n2\t6\t5\n")
    given = {
        "data_path": str(tmp_path),
        "benchmark_filename": ["train"],
        "alias_of_item_id": ["item_id_list"],
        "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
        "train_neg_sample_args": None,
        "gpu_id": "",
    }
    with fence(), pytest.raises((TypeError, ValueError, AttributeError)):
        create_dataset(Config(model="SASRec", dataset="d", config_dict=given))


def test_the_model_modules_import_without_heavy_packages():
    names = ["bert4rec", "caser", "fdsa", "fpmc", "gru4rec", "hgn", "s3rec", "sasrec_recbole"]
    code = (
        f"import sys; import {', '.join(f'baselines.recbole.{name}' for name in names)}; "
        "sys.exit(','.join({'scipy', 'torch', 'recbole', 'pandas'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
