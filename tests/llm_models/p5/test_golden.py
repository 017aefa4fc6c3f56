"""What version 2 of P5 shows and computes; when this changes, the version must."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from bench.models import Ragged
from bench.models.world import small_world
from llm_models.p5.asking import collection
from llm_models.p5.model import P5
from llm_models.p5.settings import P5Settings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

GOLDEN = {
    "version": "2",
    "batches": "d8fb09141e66c802",
    "said": "6104ee040c196457",
    "numbers": [7.5768, 2.9782, 0.5273, 2.9796],
}


def test_golden() -> None:
    from llm_models.p5.artefacts import make_indexes, scratch_network, stars_of
    from llm_models.p5.corpus import make_tokenizer
    from llm_models.p5.engine import Engine
    from llm_models.p5.mixture import Mixture
    from llm_models.p5.writer import World, Writer, available_fields

    world, training = small_world(), small_world().training()
    settings = P5Settings(d_model=16, d_ff=32, d_kv=8, heads=2, batch=8, targets=3, dropout=0.0, longest_text=8)
    prompts = collection(settings.prompts, settings.extra)
    users, items = make_indexes(settings, training, seed=0, device="cpu")
    known = World.of(training, users, items)
    tokenizer = make_tokenizer(settings, prompts, training, known)
    writer = Writer(tokenizer, known)
    batches = list(itertools.islice(Mixture(training, writer, prompts, settings, 0).batches(), 20))
    shown = hashlib.sha256()
    for batch in batches:
        for array in (batch.ids, batch.words, batch.labels):
            shown.update(np.ascontiguousarray(array).tobytes())

    network = scratch_network(settings, rows=len(tokenizer))
    with torch.no_grad():
        for parameter in network.parameters():
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(places * 12.9898) * 0.5).view_as(parameter))
    loss = network.loss(*map(torch.from_numpy, (batches[0].ids, batches[0].words, batches[0].labels)))
    # In double precision, so that no list and no text hangs on how a processor rounds.
    usable = prompts.usable(available_fields(known, training))
    engine = Engine(network.double(), writer, usable, settings, stars_of(training))
    asked = {task: world.requests(task).take(np.arange(4)) for task in sorted(P5.capabilities.tasks)}
    ranked = {task: engine.rank(asked[task], 5, Ragged.empty(4)) for task in ("sequential", "direct")}
    rated = {task: engine.rate(asked[task]).mean() for task in ("rating", "click", "preference")}
    texts = {task: engine.write(asked[task]) for task in asked.keys() - ranked.keys() - rated.keys()}
    said = repr([[(task, lists.items.values.tolist()) for task, lists in ranked.items()], sorted(texts.items())])
    assert {
        "version": P5.version,
        "batches": shown.hexdigest()[:16],
        "said": hashlib.sha256(said.encode()).hexdigest()[:16],
        "numbers": pytest.approx([loss.item(), *map(float, rated.values())], abs=2e-3),
    } == GOLDEN
