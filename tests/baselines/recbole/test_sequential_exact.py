"""The mathematics is RecBole's: what is trimmed, batched and corrupted here, against RecBole's own classes."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.recbole.fence import fence
from bench.models import Ragged

pytest.importorskip("recbole")
LONGEST = 12
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
TRANSFORMER = {**NO_DROPOUT, "hidden_size": 8, "inner_size": 16, "n_layers": 2}
SETTINGS = {
    "SASRec": {**TRANSFORMER, "loss_type": "CE"},
    "GRU4Rec": {"embedding_size": 8, "hidden_size": 6, "dropout_prob": 0.0, "loss_type": "BPR"},
    "FDSA": {**TRANSFORMER, "loss_type": "CE", "selected_features": ["categories"]},
    "BERT4Rec": {**TRANSFORMER, "loss_type": "CE", "mask_ratio": 0.3, "ft_ratio": 0.0},
    "S3Rec": {**TRANSFORMER, "loss_type": "BPR", "item_attribute": "categories", "train_stage": "pretrain"},
}
USERS, ITEMS, CATEGORIES = 90, 40, 7


@pytest.fixture(scope="module")
def world():
    """Codes of the users and items, categories, and the users' items as RecBole's ids."""
    rng = np.random.default_rng(3)
    user, item = np.arange(USERS, dtype=np.int32) * 3 + 5, np.arange(ITEMS, dtype=np.int32) * 2 + 11
    categories = Ragged.from_lists([rng.choice(CATEGORIES, rng.integers(0, 4), replace=False) + 1 for _ in item])
    sequences = Ragged.from_lists([rng.integers(1, ITEMS + 1, rng.integers(1, 26)) for _ in user])
    return user, item, categories, sequences


@pytest.fixture(scope="module")
def make(world):
    """Our engine, and RecBole's own class with the same weights."""
    from recbole.utils import get_model

    def build(name):
        from baselines.recbole.sequential_engine import SequentialEngine, Vocabulary

        user, item, categories, _ = world
        parameters = {"MAX_ITEM_LIST_LENGTH": LONGEST, "train_batch_size": 700, **SETTINGS[name]}
        engine = SequentialEngine(name, Vocabulary(user, item, categories), parameters, seed=1, device="cpu")
        from baselines.recbole.sequential_data import MemoryDataset

        theirs = get_model(name)(engine.config, MemoryDataset(engine.config, Vocabulary(user, item, categories)))
        theirs.load_state_dict(engine.model.state_dict())
        return engine, theirs

    with fence():
        yield build


def batches(engine, world, **options):
    sequences = world[3]
    return engine._loader(np.arange(1, USERS + 1), sequences, **options)


def wide(part, names, width=LONGEST):
    """The batch with histories as wide as RecBole would make them."""
    from recbole.data.interaction import Interaction
    from torch.nn.functional import pad

    full = dict(part.interaction)
    for name in names:
        full[name] = pad(full[name], (0, width - full[name].shape[1]))
    return Interaction(full)


def compare(ours, ours_loss, theirs, theirs_loss):
    assert ours_loss.item() == pytest.approx(theirs_loss.item(), rel=1e-5)
    ours_loss.backward()
    theirs_loss.backward()
    compared = 0
    for (name, mine), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None), name
        if other.grad is not None:
            scale = max(other.grad.abs().max().item(), 1e-3)
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=0, atol=1e-4 * scale, err_msg=name)
            compared += 1
    assert compared > 3


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "FDSA"])
def test_loss_and_gradients_of_trimmed_batches_are_recboles(name, make, world):
    engine, theirs = make(name)
    batch = next(iter(batches(engine, world)))
    assert len(batch) == 700, "several parts, the last of another size"
    lengths = batch[theirs.ITEM_SEQ_LEN]
    assert lengths.min() == 1
    assert lengths.max() == LONGEST
    loss = engine.model.calculate_loss(batch)
    compare(engine.model, loss, theirs, theirs.calculate_loss(wide(batch, [theirs.ITEM_SEQ])))


def test_bert4recs_loss_at_the_masked_items_is_recboles(make, world):
    import torch
    from recbole.data.interaction import Interaction

    engine, theirs = make("BERT4Rec")
    ours = engine.model
    batch = next(iter(batches(engine, world, whole=True, corrupt=ours.corrupt)))
    masked, label = (wide(batch, [ours.MASKED, ours.LABEL])[name] for name in (ours.MASKED, ours.LABEL))
    assert (masked == ITEMS + 1).any()
    # RecBole's form: the masked places and items of each row at the end of as many columns as may be learnt.
    room = int(0.3 * LONGEST)
    index, items = (torch.zeros(len(label), room, dtype=torch.long) for _ in range(2))
    for row, learnt in enumerate(label > 0):
        places = learnt.nonzero()[:, 0]
        assert len(places) <= room
        if len(places):
            index[row, -len(places) :], items[row, -len(places) :] = places, label[row, places]
    theirs.MASK_ITEM_SEQ, theirs.POS_ITEMS, theirs.NEG_ITEMS, theirs.MASK_INDEX = "masked", "pos", "pos", "index"
    loss = theirs.calculate_loss(Interaction({"masked": masked, "pos": items, "index": index}))
    compare(ours, ours.calculate_loss(batch), theirs, loss)


def test_s3recs_pretraining_and_fine_tuning_are_recboles(make, world):
    import torch
    from recbole.model.loss import BPRLoss

    engine, theirs = make("S3Rec")
    ours = engine.model
    batch = next(iter(batches(engine, world, whole=True, corrupt=ours.corrupt)))
    lengths = batch[ours.ITEM_SEQ_LEN]

    def left(rows):
        full = torch.zeros(len(rows), LONGEST, dtype=torch.long)
        for row, length in enumerate(lengths.tolist()):
            full[row, LONGEST - length :] = rows[row, :length]
        return full

    hidden, items, negative, segment, inside, other = (
        left(batch[name]) for name in (ours.HIDDEN, ours.ITEM_SEQ, ours.NEGATIVE, ours.SEGMENT, ours.INSIDE, ours.OTHER)
    )
    table = np.zeros((ITEMS + 1, CATEGORIES))
    for item, numbers in enumerate(world[2], start=1):
        table[item, numbers - 1] = 1
    features = torch.from_numpy(table)[items]
    expected = theirs.pretrain(features, hidden, items, negative, segment, inside, other)
    compare(ours, ours.calculate_loss(batch), theirs, expected)
    for model in (ours, theirs):
        model.train_stage, model.loss_fct = "finetune", BPRLoss()
        model.zero_grad()
    batch = next(iter(batches(engine, world)))
    compare(ours, ours.calculate_loss(batch), theirs, theirs.calculate_loss(wide(batch, [ours.ITEM_SEQ])))


def test_what_s3rec_hides_is_drawn_as_recbole_draws_it(make, world):
    engine, theirs = make("S3Rec")
    ours, mask = engine.model, ITEMS + 1
    batch = next(iter(batches(engine, world, whole=True, corrupt=ours.corrupt)))
    items, lengths = batch[ours.ITEM_SEQ].numpy(), batch[ours.ITEM_SEQ_LEN].numpy()
    rows = {name: batch[name].numpy() for name in (ours.HIDDEN, ours.NEGATIVE, ours.SEGMENT, ours.INSIDE, ours.OTHER)}
    expected = dict(
        zip(
            ("features", ours.HIDDEN, "items", ours.NEGATIVE, ours.SEGMENT, ours.INSIDE, ours.OTHER),
            (
                value.numpy()
                for value in theirs.reconstruct_pretrain_data(batch[ours.ITEM_SEQ], batch[ours.ITEM_SEQ_LEN])
            ),
            strict=True,
        )
    )
    for drawn in (rows, expected):
        assert (drawn[ours.HIDDEN] == mask).sum() / lengths.sum() == pytest.approx(0.2, abs=0.02)
        sizes = (drawn[ours.SEGMENT] == mask).sum(axis=1)
        assert (sizes >= 1).all()
        assert (sizes <= lengths // 2).all()
        assert sizes.mean() == pytest.approx((1 + lengths // 2).mean() / 2, rel=0.1)
    hidden = rows[ours.HIDDEN] == mask
    for row, negatives in enumerate(rows[ours.NEGATIVE]):
        assert not set(negatives[hidden[row]]) & set(items[row])
    segment = rows[ours.SEGMENT] == mask
    np.testing.assert_array_equal(np.where(segment, rows[ours.INSIDE], rows[ours.SEGMENT]), items)
    assert (rows[ours.INSIDE][~segment & (items > 0)] == mask).all()
    assert (rows[ours.OTHER][segment] <= ITEMS).all()
    assert (rows[ours.OTHER][segment] > 0).all()
    assert (rows[ours.OTHER][segment] != items[segment]).mean() > 0.5


def test_bert4rec_masks_as_recbole_does(make, world):
    engine, _ = make("BERT4Rec")
    ours, mask = engine.model, ITEMS + 1
    loader = batches(engine, world, whole=True, corrupt=ours.corrupt)
    fields = next(iter(loader)).interaction
    items, lengths, masked, label = (
        fields[name].numpy() for name in (ours.ITEM_SEQ, ours.ITEM_SEQ_LEN, ours.MASKED, ours.LABEL)
    )
    assert (masked == mask).sum() / lengths.sum() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(np.where(masked == mask, items, masked), items)
    assert (label[label > 0] == items[label > 0]).all()
    assert (masked[label > 0] == mask).all()
    assert not label[:, 0].any()
    ours.ft_ratio = 1.0
    last = next(iter(loader)).interaction
    at = np.arange(len(last[ours.MASKED])), last[ours.ITEM_SEQ_LEN].numpy() - 1
    assert (last[ours.MASKED].numpy()[at] == mask).all()
    np.testing.assert_array_equal(last[ours.LABEL].numpy()[at], last[ours.ITEM_SEQ].numpy()[at])


# RecBole sorts events by handing a tensor to numpy's argsort.
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_the_rows_are_those_of_recboles_augmentation(make, world, tmp_path):
    """RecBole reads plain events, and makes its rows itself."""
    from recbole.config import Config
    from recbole.data import create_dataset

    user, item, _, sequences = world
    (tmp_path / "all").mkdir()
    lines = [
        f"{user[row]}\t{item[value - 1]}\t{time}\n"
        for row, values in enumerate(sequences)
        for time, value in enumerate(values)
    ]
    (tmp_path / "all/all.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    given = {
        "data_path": str(tmp_path),
        "MAX_ITEM_LIST_LENGTH": LONGEST,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
        "gpu_id": "",
    }
    with fence():
        data = create_dataset(Config(model="SASRec", dataset="all", config_dict=given))
        data._change_feat_format()
    theirs, fields = data.inter_feat, data.field2id_token
    decode = {name: np.array([0, *fields[name][1:].astype(int)]) for name in ("user_id", "item_id")}
    expected = {
        (u, tuple(history[:length]), target)
        for u, history, length, target in zip(
            decode["user_id"][theirs["user_id"]],
            decode["item_id"][theirs["item_id_list"]].tolist(),
            theirs["item_length"].tolist(),
            decode["item_id"][theirs["item_id"]],
            strict=True,
        )
    }
    engine, _ = make("SASRec")
    code = engine.items.code
    found = []
    for batch in batches(engine, world):
        rows = (batch[name].numpy() for name in ("user_id", "item_id_list", "item_length", "item_id"))
        found += [
            (engine.users.code[u], tuple(code[history[:length]].tolist()), code[target])
            for u, history, length, target in zip(*rows, strict=True)
        ]
    assert set(found) == expected
    assert len(found) == len(theirs)


def test_negatives_are_uniform_over_all_but_the_target(make, world):
    engine, _ = make("GRU4Rec")
    loader = batches(engine, world)
    drawn = np.concatenate([batch["neg_item_id"].numpy() for _ in range(20) for batch in loader])
    for batch in loader:
        assert (batch["neg_item_id"] != batch["item_id"]).all()
    counts = np.bincount(drawn, minlength=ITEMS + 1)
    assert counts[0] == 0
    assert len(counts) == ITEMS + 1
    assert counts[1:].min() > 0.7 * counts[1:].mean()
