from __future__ import annotations

import pytest

from baselines.rating.mf import MF
from baselines.rating.mlp import MLP
from bench.models.testing import RecommenderContract


class TestMF(RecommenderContract):
    model = MF
    settings = {"factors": 3, "ridge": 1.0}


class TestMLP(RecommenderContract):
    model = MLP
    settings = {"embedding_size": 4, "hidden_sizes": (8,), "batch_size": 64}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _torch(cls):
        pytest.importorskip("torch")
