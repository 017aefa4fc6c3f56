"""RecBole on its own, with its own evaluator, against our adapter and our scorer, on MovieLens-100K.

Both sides get the same leave-one-out events and the same mask (training and validation items). Test items that never
occur in training are left out: RecBole gives them a score of an untrained kind, we give none.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from baselines.recbole.bpr import BPR, BPRSettings
from baselines.recbole.ease import EASE
from baselines.recbole.fence import fence
from baselines.recbole.itemknn import ItemKNN
from baselines.recbole.lightgcn import LightGCN, LightGCNSettings
from baselines.recbole.multivae import MultiVAE, MultiVAESettings
from bench.data.dataset import load_dataset
from bench.data.ragged import Ragged
from bench.metrics import count_scores, parse
from bench.models import Budget, Catalogue, Requests
from bench.splits import LeaveOneOut, make_split

pytest.importorskip("recbole")
# RecBole's evaluation loaders hand a tensor to numpy's argsort; the adapter uses none of them.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
CUTS = (1, 5, 10, 20)
RECBOLE_NAMES = {"HR": "hit", "NDCG": "ndcg", "MRR": "mrr"}
MODELS = [
    ItemKNN(),
    EASE(),
    BPR(BPRSettings(train_batch_size=8192)),
    LightGCN(LightGCNSettings(train_batch_size=8192)),
    MultiVAE(MultiVAESettings(mlp_hidden_size=(100,), latent_dimension=32)),
]


class World:
    """Training data, the last two items of each user, and the same as RecBole's benchmark files."""

    def __init__(self, folder):
        split = make_split(load_dataset("ml-100k"), LeaveOneOut())
        self.training = split.training
        held = {part.part: part for part in split.held_out}
        warm = np.isin(held["test"].item, self.training.item)
        self.user, self.test = held["test"].user[warm], held["test"].item[warm]
        inside = Ragged.from_lists([row[np.isin(row, self.training.item)] for row in held["test"].exclude]).take(
            np.flatnonzero(warm)
        )
        self.exclude = inside
        seen = {int(u): set(row.tolist()) for u, row in zip(self.training.user, self.training.sequences, strict=True)}
        valid = [(u, i) for u, row in zip(self.user, inside, strict=True) for i in row if int(i) not in seen[int(u)]]
        train = zip(self.training.user[self.training.sequences.row_of], self.training.sequences.values, strict=True)
        (folder / "ml").mkdir()
        for name, pairs in (("train", train), ("valid", valid), ("test", zip(self.user, self.test, strict=True))):
            lines = "".join(f"{u}\t{i}\n" for u, i in pairs)
            (folder / "ml" / f"ml.{name}.inter").write_text("user_id:token\titem_id:token\n" + lines)
        self.folder = folder

    def requests(self):
        items = self.training.item
        text = pl.DataFrame({"item": items})
        return Requests("direct", self.user, None, Catalogue(items, text), text)

    def recbole(self, model):
        """RecBole's config, test data and model, with the weights of our fitted ``model``."""
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import get_model

        config = Config(
            model=model.recbole_name,
            dataset="ml",
            config_dict={
                **model.parameters(),
                "data_path": str(self.folder),
                "checkpoint_dir": str(self.folder),
                "benchmark_filename": ["train", "valid", "test"],
                "metrics": ["Hit", "NDCG", "MRR"],
                "topk": list(CUTS),
                "metric_decimal_place": 12,
                "eval_batch_size": 1_000_000,
                "show_progress": False,
                "gpu_id": "",
            },
        )
        dataset = create_dataset(config)
        train, _, test = data_preparation(config, dataset)
        theirs = get_model(model.recbole_name)(config, train.dataset)
        theirs.load_state_dict(model._engine.model.state_dict())
        return config, dataset, test, theirs.eval()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("ml"))


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.recbole_name)
def both(request, world):
    """Our fitted model, and RecBole's objects for it."""
    model, budget = request.param, Budget(max_epochs=3)
    model.fit(world.training, validate=lambda _: 0.0, budget=budget, seed=1, progress=lambda *_: None)
    with fence():
        return model, world.recbole(model)


def test_scores_of_known_users_are_recboles(both, world):
    import torch
    from recbole.data.interaction import Interaction

    model, (_, dataset, _, theirs) = both
    requests = world.requests().take(np.arange(200))
    user = torch.tensor([dataset.token2id("user_id", str(code)) for code in requests.user])
    item = [dataset.token2id("item_id", str(code)) for code in requests.catalogue.items]
    with torch.no_grad():
        expected = theirs.full_sort_predict(Interaction({"user_id": user})).view(len(user), -1)[:, item]
    np.testing.assert_allclose(model.score(requests), expected.numpy(), rtol=1e-6, atol=1e-6)


def test_metrics_are_recboles(both, world):
    from recbole.trainer import Trainer

    model, (config, _, test, theirs) = both
    with fence():
        expected = Trainer(config, theirs).evaluate(test, load_best_model=False)
    requests = world.requests()
    counts = count_scores(model.score(requests), requests.catalogue.items, world.test, world.exclude, depth=0)
    assert counts.served.all()
    for name, theirs_name in RECBOLE_NAMES.items():
        for k in CUTS:
            metric = parse(f"{name}@{k}")
            worst = metric.per_request(counts.above, counts.tied, counts.served).mean()
            best = metric.per_request(counts.above, np.zeros_like(counts.tied), counts.served).mean()
            # RecBole leaves the order of equal scores to chance: its number lies between the two.
            assert worst - 1e-6 <= expected[f"{theirs_name}@{k}"] <= best + 1e-6
            if model.recbole_name != "ItemKNN":
                assert best - worst < 1e-6


def test_ease_reaches_the_recorded_level(world):
    """An independent run recorded HR@10 .1347 and NDCG@10 .0706; ties in time are broken otherwise there."""
    model = EASE()
    model.fit(world.training, validate=None, budget=Budget(), seed=1, progress=None)
    requests = world.requests()
    counts = count_scores(model.score(requests), requests.catalogue.items, world.test, world.exclude, depth=0)
    for name, recorded in (("HR@10", 0.1347), ("NDCG@10", 0.0706)):
        assert parse(name).per_request(counts.above, counts.tied, counts.served).mean() == pytest.approx(
            recorded, rel=0.25
        )
