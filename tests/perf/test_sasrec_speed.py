"""SASRec's training against its peers: PyTorch's own cross-entropy, and RecBole's own trainer, each in the same run.

Seconds are those of the processors, over all threads: other programs on the machine disturb them less.

``python test_sasrec_speed.py fused`` (or ``plain``) prints the memory in MiB that steps of one softmax add.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines.sasrec.network import Network
from baselines.sasrec.softmax import full_cross_entropy
from baselines.sasrec.training import train
from bench.models import Budget, Ragged

# Of Amazon Beauty, leave-one-out: items; training users; training events a user on average, at least three.
ITEMS, USERS, MEAN = 12_101, 22_363, 6.876
LENGTH, SIZE = 50, 64
RECBOLE_BATCH = 2048


def fused(hidden: torch.Tensor, items: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return full_cross_entropy(hidden, items, target) / len(target)


def fused_bfloat16(hidden: torch.Tensor, items: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return full_cross_entropy(hidden, items, target, dtype=torch.bfloat16) / len(target)


def plain(hidden: torch.Tensor, items: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(hidden @ items.T, target)


def stepper(positions: int) -> Callable[[Callable[..., torch.Tensor]], float]:
    """Make a function that runs one forward and backward pass of a softmax and gives its seconds."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, SIZE, generator=generator).requires_grad_()
    items = (torch.randn(ITEMS, SIZE, generator=generator) / 8).requires_grad_()
    target = torch.randint(ITEMS, (positions,), generator=generator)

    def step(softmax: Callable[..., torch.Tensor]) -> float:
        hidden.grad = items.grad = None
        began = time.process_time()
        softmax(hidden, items, target).backward()
        return time.process_time() - began

    return step


@pytest.mark.perf
def test_the_fused_softmax_is_faster_than_differentiating_through_the_logits() -> None:
    step, kinds = stepper(1500), (plain, fused, fused_bfloat16)
    rounds = [{kind.__name__: step(kind) for kind in kinds} for _ in range(9)]
    best = {kind.__name__: min(taken[kind.__name__] for taken in rounds) for kind in kinds}
    print({name: f"{seconds * 1000:.0f} ms" for name, seconds in best.items()})
    assert best["fused"] < best["plain"]


@pytest.mark.perf
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_the_fused_softmax_adds_a_fraction_of_the_memory() -> None:
    added = {}
    for kind in ("plain", "fused"):
        command = [sys.executable, __file__, kind]
        added[kind] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print({kind: f"{mib:.0f} MiB" for kind, mib in added.items()})
    assert added["fused"] < added["plain"] / 4


def measure_memory(kind: str) -> None:
    """Print the peak that steps over 6,000 positions add to a step over 50, which loads what there is to load."""

    def peak_mib() -> float:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    softmax = {"plain": plain, "fused": fused}[kind]
    stepper(50)(softmax)
    before, step = peak_mib(), stepper(6000)
    for _ in range(2):
        step(softmax)
    print(peak_mib() - before)


def sequences(users: int) -> Ragged:
    """Draw training sequences as long as Beauty's: three events and a geometric number of others."""
    rng = np.random.default_rng(0)
    lengths = 2 + rng.geometric(1 / (MEAN - 2), users)
    return Ragged.from_lengths(lengths, rng.integers(0, ITEMS, lengths.sum()).astype(np.int32))


def seconds_a_target_of_ours(softmax: torch.dtype) -> float:
    """Time one pass over a part of the users."""
    torch.manual_seed(0)
    shape = {"size": SIZE, "heads": 1, "inner": 256, "layers": 2, "length": LENGTH}
    network, part = Network(ITEMS, **shape, dropout=0.2, input_dropout=0.2), sequences(USERS // 4)
    began = time.process_time()
    train(
        network,
        part,
        objective=lambda *step: full_cross_entropy(*step, dtype=softmax),
        batch_targets=1500,
        learning_rate=1e-3,
        weight_decay=0.0,
        validate=lambda: 0.0,
        budget=Budget(max_epochs=1),
        rng=np.random.default_rng(0),
        progress=lambda *_: None,
    )
    return (time.process_time() - began) / int((part.lengths - 1).sum())


def seconds_a_target_of_recbole(folder: Path, *, anomaly_mode: bool, batches: int = 2) -> float:
    """Time RecBole's own trainer with its SASRec of the same shape and loss: one row a prefix, all padded to 50 items.

    ``anomaly_mode``: as RecBole leaves it (on for every model, since importing one of them switches it on), or off.
    """
    from recbole.config import Config
    from recbole.data.interaction import Interaction
    from recbole.trainer import Trainer
    from recbole.utils import get_model

    sizes = {"hidden_size": SIZE, "inner_size": 256, "n_layers": 2, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": LENGTH}
    rest = {"hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2, "train_neg_sample_args": None, "gpu_id": ""}
    config = Config("SASRec", "none", config_dict={**sizes, **rest, "checkpoint_dir": str(folder)})
    model = get_model("SASRec")(config, SimpleNamespace(num=lambda field: ITEMS + 1))
    trainer, rng = Trainer(config, model), np.random.default_rng(0)
    length = rng.choice(
        np.concatenate([np.arange(1, n) for n in sequences(2000).lengths]), (1 + batches, RECBOLE_BATCH)
    )
    length = np.minimum(length, LENGTH)
    history = rng.integers(1, ITEMS + 1, (*length.shape, LENGTH)) * (np.arange(LENGTH) < length[..., None])
    target = rng.integers(1, ITEMS + 1, length.shape)
    fields = model.ITEM_SEQ, model.ITEM_SEQ_LEN, model.POS_ITEM_ID
    dealt = [
        Interaction(dict(zip(fields, map(torch.from_numpy, batch), strict=True)))
        for batch in zip(history, length, target, strict=True)
    ]
    with torch.autograd.set_detect_anomaly(anomaly_mode, check_nan=True):
        trainer._train_epoch(dealt[:1], 0)
        began = time.process_time()
        trainer._train_epoch(dealt[1:], 1)
        return (time.process_time() - began) / (batches * RECBOLE_BATCH)


@pytest.mark.perf
def test_a_pass_over_all_training_targets_is_many_times_faster_than_recboles(tmp_path: Path) -> None:
    pytest.importorskip("recbole")
    from baselines.recbole.fence import fence

    with fence():
        theirs = {mode: seconds_a_target_of_recbole(tmp_path, anomaly_mode=mode) for mode in (True, False)}
    ours = {dtype: seconds_a_target_of_ours(dtype) for dtype in (torch.float32, torch.bfloat16)}
    targets = int((sequences(USERS).lengths - 1).sum())
    print(f"seconds a pass over {targets} targets, RecBole with anomaly mode on: {theirs[True] * targets:.0f}")
    print(f"seconds a pass over {targets} targets, RecBole with anomaly mode off: {theirs[False] * targets:.0f}")
    for dtype, seconds in ours.items():
        print(f"seconds a pass over {targets} targets, ours in {dtype}: {seconds * targets:.1f}")
    assert theirs[False] / ours[torch.float32] > 5
    assert theirs[True] / ours[torch.float32] > 8


if __name__ == "__main__":
    measure_memory(sys.argv[1])
