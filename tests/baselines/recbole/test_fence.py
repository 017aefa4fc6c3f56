"""Every workaround, and whether it is still needed: the second half of each test fails once RecBole no longer is."""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import random
import sys
import warnings
from importlib import import_module, reload
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from baselines.recbole.bpr import BPR, BPRSettings
from baselines.recbole.fence import NUMPY_ALIASES, fence
from baselines.recbole.lightgcn import LightGCN, LightGCNSettings
from bench.models import Budget

pytest.importorskip("recbole")
SETTINGS = BPRSettings(embedding_size=4, train_batch_size=64)


@pytest.fixture
def train(random_training):
    def run():
        return BPR(SETTINGS).fit(
            random_training,
            validate=lambda _: 0.0,
            budget=Budget(max_epochs=1),
            seed=0,
            progress=lambda *_: None,
        )

    return run


def config(**given):
    from recbole.config import Config

    return Config(model="BPR", dataset="bench", config_dict={"gpu_id": "", **given})


def test_numpy_is_left_as_it_was(train):
    before = dict(vars(np))
    train()
    changed = {name for name, value in vars(np).items() if before.get(name) is not value}
    assert not {name for name in changed if not inspect.ismodule(getattr(np, name))}
    from recbole.config import Config

    source = inspect.getsource(Config.compatibility_settings)
    for name in NUMPY_ALIASES:
        assert name not in vars(np)
        assert f"np.{name} " in source or f"np.{name}\n" in source


def test_scipy_is_left_as_it_was(random_training):
    from scipy.sparse import dok_matrix

    model = LightGCN(LightGCNSettings(embedding_size=4, train_batch_size=64))
    model.fit(random_training, validate=lambda _: 0.0, budget=Budget(max_epochs=1), seed=0, progress=lambda *_: None)
    assert not hasattr(dok_matrix, "_update")
    assert "._update(" in inspect.getsource(type(model._engine.model).get_norm_adj_mat)


def test_the_command_line_of_the_program_is_not_read(train, monkeypatch):
    argv = ["bench", "run", "--embedding_size=16"]
    monkeypatch.setattr(sys, "argv", argv)
    assert train().parameters_total % 16
    assert sys.argv is argv
    with fence():
        sys.argv = argv
        assert config()["embedding_size"] == 16


def test_the_visible_devices_stay(train, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    train()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    train()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with fence():
        config(gpu_id="")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_yaml_reads_as_before(train):
    train()
    assert yaml.load("1e-3", Loader=yaml.FullLoader) == "1e-3"
    with fence():
        config()
        assert yaml.load("1e-3", Loader=yaml.FullLoader) == 0.001


def test_nothing_is_warned_of_or_logged(train, caplog):
    from baselines.recbole import adapter

    caplog.set_level(logging.DEBUG)
    train()
    assert not [record for record in caplog.records if "recbole" in record.pathname]
    assert not logging.getLogger().filters
    with fence(), warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        logging.getLogger().filters.clear()
        patch.setattr(adapter, "fence", warnings.catch_warnings)
        train()
    assert any(f"{os.sep}recbole{os.sep}" in warning.filename for warning in caught)
    assert any("recbole" in record.pathname for record in caplog.records)


def test_random_numbers_go_on_as_if_nothing_had_been(train):
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    def seed():
        random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002

    seed()
    expected = draw()
    seed()
    train()
    assert draw() == expected
    with fence():
        from recbole.utils import init_seed

        init_seed(1, reproducibility=True)
        assert draw() == expected
        assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.deterministic


def test_anomaly_detection_stays_off():
    with fence():
        reload(import_module("recbole.model.sequential_recommender.sine"))
        assert torch.is_anomaly_enabled()
    assert not torch.is_anomaly_enabled()


def test_no_file_appears_in_the_working_directory(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train()
    assert not list(tmp_path.iterdir())
    from recbole.utils import get_tensorboard

    get_tensorboard(logging.getLogger("none")).close()
    assert (tmp_path / "log_tensorboard").is_dir()


def test_the_quick_start_is_never_imported(train):
    train()
    assert "recbole.quick_start" not in sys.modules
    assert "ray" not in sys.modules
    source = Path(import_module("recbole").__file__).with_name("quick_start") / "quick_start.py"
    assert "from ray import" in source.read_text(encoding="utf-8")


def test_no_checkpoint_is_reloaded(train, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", None)
        train()
    with fence():
        from recbole.trainer import Trainer

        torch.save({"config": config()}, tmp_path / "checkpoint.pth")
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / "checkpoint.pth")
    assert "torch.load(checkpoint_file, map_location=self.device)" in inspect.getsource(Trainer.evaluate)


@pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="older versions of pandas fill in place")
def test_gaps_in_a_column_are_not_filled():
    with fence():
        from recbole.data.dataset import Dataset
        from recbole.utils import FeatureType

        dataset = object.__new__(Dataset)
        dataset.logger, dataset.feat_name_list = logging.getLogger(), ["inter_feat"]
        dataset.field2type = {"price": FeatureType.FLOAT}
        dataset.inter_feat = pd.DataFrame({"price": [1.0, np.nan]})
        dataset._fill_nan()
    assert dataset.inter_feat["price"].isna().any()
