"""RecBole on its own, with its own leave-one-out and evaluator, against our adapter and our scorer, on MovieLens-100K.

RecBole reads all events and numbers every item, so only items that occur in training are kept. Its sequential models
mask nothing, hence nothing is masked here."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from baselines.recbole.fence import fence
from baselines.recbole.fpmc import FPMC, FPMCSettings
from baselines.recbole.sasrec_recbole import RecBoleSASRec, RecBoleSASRecSettings
from bench.data.dataset import load_dataset
from bench.metrics import count_scores, parse
from bench.models import Budget, Catalogue, Ragged, Requests
from bench.splits import LeaveOneOut, make_split

pytest.importorskip("recbole")
# RecBole's data set and evaluation loader hand tensors to numpy's argsort; the adapter uses neither.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")]
CUTS = (1, 5, 10, 20)
USERS, LONGEST = 250, 10
RECBOLE_NAMES = {"HR": "hit", "NDCG": "ndcg", "MRR": "mrr"}
MODELS = [
    FPMC(FPMCSettings(train_batch_size=512, learning_rate=0.01)),
    RecBoleSASRec(RecBoleSASRecSettings(MAX_ITEM_LIST_LENGTH=LONGEST, train_batch_size=512)),
]


def closed(rows):
    """Drop items that no training part (all but the last two) holds, until none is left to drop."""
    while True:
        known = {item for row in rows for item in row[:-2]}
        kept = [[item for item in row if item in known] for row in rows]
        if kept == rows:
            return kept
        rows = [row for row in kept if len(row) > 4]


@pytest.fixture(scope="module")
def rows():
    training = make_split(load_dataset("ml-100k"), LeaveOneOut()).training
    return closed([row.tolist() for row in training.sequences.take(np.arange(USERS))])


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.recbole_name)
def ours(request, rows, make_training):
    training = make_training(np.arange(len(rows)), [row[:-2] for row in rows])
    budget = Budget(max_epochs=2)
    request.param.fit(training, validate=lambda _: 0.0, budget=budget, seed=1, progress=lambda *_: None)
    return request.param


@pytest.fixture(scope="module")
def theirs(ours, rows, tmp_path_factory):
    """RecBole's metrics for a model of its own with our weights."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.trainer import Trainer
    from recbole.utils import get_model

    folder = tmp_path_factory.mktemp("ml")
    (folder / "ml").mkdir()
    lines = [f"{user}\t{item}\t{time}\n" for user, row in enumerate(rows) for time, item in enumerate(row)]
    (folder / "ml/ml.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    given = {
        **ours.parameters(),
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "MAX_ITEM_LIST_LENGTH": LONGEST,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "metrics": ["Hit", "NDCG", "MRR"],
        "topk": list(CUTS),
        "metric_decimal_place": 12,
        "show_progress": False,
        "gpu_id": "",
    }
    if given.get("loss_type") == "CE":
        given["train_neg_sample_args"] = None
    with fence():
        config = Config(model=ours.recbole_name, dataset="ml", config_dict=given)
        data = create_dataset(config)
        train, _, test = data_preparation(config, data)
        model = get_model(ours.recbole_name)(config, train.dataset)
        state = dict(ours._engine.model.state_dict())
        place = {"user_id": ours._engine.users, "item_id": ours._engine.items}
        order = {name: np.append(0, ids.of(data.field2id_token[name][1:].astype(int))) for name, ids in place.items()}
        for name, weights in state.items():
            if name.startswith(("item_embedding", "IU", "LI", "IL")):
                state[name] = weights[order["item_id"]]
            elif name.startswith("UI"):
                state[name] = weights[order["user_id"]]
        model.load_state_dict(state)
        return Trainer(config, model).evaluate(test, load_best_model=False)


def test_metrics_are_recboles(ours, theirs, rows):
    items = np.unique(np.concatenate(rows)).astype(np.int32)
    text = pl.DataFrame({"item": items})
    history = Ragged.from_lists([row[:-1] for row in rows])
    requests = Requests("sequential", np.arange(len(rows), dtype=np.int32), history, Catalogue(items, text), text)
    answer = np.array([row[-1] for row in rows], np.int32)
    counts = count_scores(ours.score(requests), items, answer, Ragged.empty(len(rows)), depth=0)
    assert counts.served.all()
    for name, theirs_name in RECBOLE_NAMES.items():
        for k in CUTS:
            found = parse(f"{name}@{k}").per_request(counts.above, counts.tied, counts.served).mean()
            assert found == pytest.approx(theirs[f"{theirs_name}@{k}"], abs=1e-6)
    assert theirs["hit@20"] > 1.5 * 20 / len(items), "a model that has learnt something"
