"""RecBole's SASRec through the adapter and through RecBole's own trainer: same rows, same batches, same loss.

The catalogue and the lengths of the histories are those of Amazon Beauty (five-core, leave-one-out: 12,101 items,
training sequences of 6.9 items), the items drawn, so that no download is needed; the time of a step does not depend
on which items they are. A few steps are timed instead of the 64 of an epoch: both sides go through the same batches,
so the ratio of their steps is the ratio of their epochs. RecBole's side gets its batches ready made and anomaly mode
off; ours cuts its batches out while the clock runs. The quickest step of each counts.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from baselines.recbole.fence import fence
from baselines.recbole.sasrec_recbole import RecBoleSASRecSettings
from bench.models import Ragged

pytest.importorskip("recbole")
pytestmark = pytest.mark.perf
USERS, ITEMS, STEPS, LONGEST = 22_363, 12_101, 3, 50
REQUIRED = 3.0


SHARES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
LENGTHS = (3, 3, 3, 3, 4, 4, 5, 6, 8, 12, 19, 30, 41, 54, 97, 202)
"""Quantiles of the lengths of Beauty's training sequences."""


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(0)
    lengths = np.interp(rng.random(USERS), SHARES, LENGTHS).round().astype(int)
    assert lengths.mean() == pytest.approx(6.9, abs=0.3)
    return Ragged.from_lengths(lengths, rng.integers(1, ITEMS + 1, lengths.sum()))


def wide(batch, name):
    """Make every history as wide as the longest allowed, which is how RecBole hands them over."""
    from recbole.data.interaction import Interaction
    from torch.nn.functional import pad

    return Interaction({**batch.interaction, name: pad(batch[name], (0, LONGEST - batch[name].shape[1]))})


def test_an_epoch_is_at_least_three_times_as_fast_as_recboles_own(sequences, tmp_path):
    import torch
    from recbole.trainer import Trainer
    from recbole.utils import get_model

    from baselines.recbole.sequential_data import MemoryDataset, Vocabulary
    from baselines.recbole.sequential_engine import SequentialEngine

    users, items = np.arange(USERS, dtype=np.int32), np.arange(ITEMS, dtype=np.int32)
    given = RecBoleSASRecSettings().model_dump()
    with fence():
        engine = SequentialEngine("SASRec", Vocabulary(users, items), given, seed=0, device="cpu")
        theirs = get_model("SASRec")(engine.config, MemoryDataset(engine.config, Vocabulary(users, items)))
        theirs.load_state_dict(engine.model.state_dict())
        engine.config["checkpoint_dir"] = str(tmp_path)
        loader = engine._loader(users.astype(np.int64) + 1, sequences)
        batches = iter(loader)
        batch = next(batches)
        with torch.no_grad():  # And without dropout.
            expected = theirs.eval().calculate_loss(wide(batch, theirs.ITEM_SEQ))
            torch.testing.assert_close(engine.model.eval().calculate_loss(batch), expected, rtol=1e-5, atol=0)
        ours, recboles = Trainer(engine.config, engine.model), Trainer(engine.config, theirs)
        seconds = np.empty((STEPS, 2))
        for step in range(STEPS):
            start = time.perf_counter()
            batch = next(batches)
            ours._train_epoch([batch], step)
            seconds[step, 0] = time.perf_counter() - start
            full = [wide(batch, theirs.ITEM_SEQ)]
            start = time.perf_counter()
            recboles._train_epoch(full, step)
            seconds[step, 1] = time.perf_counter() - start
    quickest = seconds.min(axis=0)
    ratio = quickest[1] / quickest[0]
    print(f"\nseconds a step: {quickest.round(2)}, {ratio:.1f} times as fast; {len(loader)} steps an epoch")
    assert ratio >= REQUIRED
