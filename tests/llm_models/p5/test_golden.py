"""What version 1 of P5 shows and computes; when this changes, the version must."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from bench.models import Ragged, Training
from llm_models.indexing import random_ids
from llm_models.p5.model import P5
from llm_models.p5.settings import P5Settings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

GOLDEN = {"version": "1", "examples": "c34fee41785435b2", "loss": 6.235}


def test_golden() -> None:
    from llm_models.p5.artefacts import make_tokenizer, scratch_network
    from llm_models.p5.engine import Engine
    from llm_models.p5.prompting import Mixture, Writer
    from llm_models.p5.training import label_table

    items = np.arange(3, 60, 2, dtype=np.int32)
    sequences = Ragged.from_lists([np.roll(items, shift)[: 4 + shift] for shift in range(9)])
    table = pl.DataFrame({"item": items, "item_id": items.astype(str)})
    training = Training(np.arange(0, 27, 3, dtype=np.int32), sequences, None, None, table)
    settings = P5Settings(d_model=16, d_ff=32, d_kv=8, heads=2, batch=8, targets=3, dropout=0.0)
    index = random_ids(training.item, seed=0, digits=2)
    users = random_ids(training.user, seed=1, digits=2, prefix="user_")
    writer = Writer(make_tokenizer(settings, P5.prompts(), users, index), users, index)
    mixture = Mixture(training, writer, P5.prompts(), settings, seed=0)
    shown = "\n".join(f"{text} {targets.tolist()}" for text, targets in mixture.examples(200))

    network = scratch_network(settings)
    with torch.no_grad():
        for parameter in network.parameters():
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(places * 12.9898) * 0.5).view_as(parameter))
    batch = next(iter(mixture))
    labels = label_table(Engine(network, writer, P5.prompts(), settings).sequences)
    loss = network.loss(*map(torch.from_numpy, (batch.ids, batch.words)), labels[torch.from_numpy(batch.target)])
    assert {
        "version": P5.version,
        "examples": hashlib.sha256(shown.encode()).hexdigest()[:16],
        "loss": pytest.approx(loss.item(), abs=2e-3),
    } == GOLDEN
