from __future__ import annotations

import pytest

from baselines.recbole.bert4rec import BERT4Rec
from baselines.recbole.caser import Caser
from baselines.recbole.fdsa import FDSA
from baselines.recbole.fpmc import FPMC
from baselines.recbole.gru4rec import GRU4Rec
from baselines.recbole.hgn import HGN
from baselines.recbole.s3rec import S3Rec
from baselines.recbole.sasrec_recbole import RecBoleSASRec
from bench.models.testing import RecommenderContract

pytest.importorskip("recbole")
TRANSFORMER = {"train_batch_size": 64, "hidden_size": 8, "inner_size": 16, "n_layers": 1, "MAX_ITEM_LIST_LENGTH": 6}


class TestFPMC(RecommenderContract):
    model = FPMC
    settings = {"embedding_size": 8, "train_batch_size": 64}


class TestCaser(RecommenderContract):
    model = Caser
    settings = {"embedding_size": 8, "train_batch_size": 64, "MAX_ITEM_LIST_LENGTH": 4}


class TestHGN(RecommenderContract):
    model = HGN
    settings = {"embedding_size": 8, "train_batch_size": 64, "MAX_ITEM_LIST_LENGTH": 6}


class TestGRU4Rec(RecommenderContract):
    model = GRU4Rec
    settings = {"embedding_size": 8, "hidden_size": 8, "train_batch_size": 64, "loss_type": "BPR"}


class TestBERT4Rec(RecommenderContract):
    model = BERT4Rec
    settings = TRANSFORMER


class TestRecBoleSASRec(RecommenderContract):
    model = RecBoleSASRec
    settings = TRANSFORMER


class TestFDSA(RecommenderContract):
    model = FDSA
    settings = TRANSFORMER


class TestS3Rec(RecommenderContract):
    model = S3Rec
    settings = {**TRANSFORMER, "pretrain_epochs": 2}
