from __future__ import annotations

import pytest

from baselines.recbole.bpr import BPR
from baselines.recbole.ease import EASE
from baselines.recbole.itemknn import ItemKNN
from bench.models.testing import RecommenderContract

pytest.importorskip("recbole")


class TestItemKNN(RecommenderContract):
    model = ItemKNN
    settings = {"k": 5}


class TestEASE(RecommenderContract):
    model = EASE
    settings = {"reg_weight": 10.0}


class TestBPR(RecommenderContract):
    model = BPR
    settings = {"embedding_size": 8, "train_batch_size": 64}
