from __future__ import annotations

import pytest

from baselines.recbole.bpr import BPR
from baselines.recbole.ease import EASE
from baselines.recbole.itemknn import ItemKNN
from baselines.recbole.lightgcn import LightGCN
from baselines.recbole.multivae import MultiVAE
from baselines.recbole.neumf import NeuMF
from baselines.recbole.simplex import SimpleX
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


class TestLightGCN(RecommenderContract):
    model = LightGCN
    settings = {"embedding_size": 8, "train_batch_size": 64}


class TestMultiVAE(RecommenderContract):
    model = MultiVAE
    settings = {"mlp_hidden_size": [12], "latent_dimension": 8, "train_batch_size": 16}


class TestNeuMF(RecommenderContract):
    model = NeuMF
    settings = {
        "mf_embedding_size": 4,
        "mlp_embedding_size": 4,
        "mlp_hidden_size": [8, 4],
        "train_batch_size": 64,
        "learning_rate": 0.05,
        "fold_in_unobserved": 20,
    }


class TestSimpleX(RecommenderContract):
    model = SimpleX
    settings = {"embedding_size": 8, "history_len": 4, "train_batch_size": 256, "sample_num": 4}


class TestSimpleXWithAttention(RecommenderContract):
    model = SimpleX
    settings = {"embedding_size": 8, "aggregator": "user_attention", "train_batch_size": 64, "sample_num": 1}
