"""A P5 that was never trained, and Hugging Face's T5 with the same weights."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.models import Ragged, Requests
from bench.models.world import SmallWorld, small_world
from llm_models.p5.asking import collection
from llm_models.p5.settings import P5Settings, Sampling

PAD, END, UNKNOWN = 0, 1, 2
LISTS = Sampling(sequential=(1, 1, 1), direct=(1, 1, 1), rating=1, explanation=1, review=1)
SIZE = {"d_model": 16, "d_ff": 32, "d_kv": 8, "heads": 2, "max_history": 6, "longest_text": 10}


@pytest.fixture(scope="package")
def parts():
    """World, writer and network, whose answers differ from prompt to prompt by more than rounding."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("sentencepiece")
    from llm_models.p5.artefacts import make_indexes, scratch_network, stars_of
    from llm_models.p5.corpus import make_tokenizer
    from llm_models.p5.writer import World, Writer, available_fields

    torch.manual_seed(1)
    settings = P5Settings(**SIZE)
    training = small_world().training()
    users, items = make_indexes(settings, training, seed=0, device="cpu")
    world = World.of(training, users, items)
    tokenizer = make_tokenizer(settings, collection("amazon", True), training, world)
    network = scratch_network(settings, rows=len(tokenizer)).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if "layer_norm" not in name:
            weight.mul_(3.5)
    return Writer(tokenizer, world), network, available_fields(world, training), stars_of(training)


@pytest.fixture
def make(parts):
    """Make an engine with these settings."""
    from llm_models.p5.engine import Engine

    writer, network, fields, stars = parts

    def make_engine(**changes) -> Engine:
        settings = P5Settings(**SIZE | changes)
        prompts = collection(settings.prompts, settings.extra).usable(fields)
        return Engine(network, writer, prompts, settings, stars)

    return make_engine


class HuggingFace:
    """The same T5 by Hugging Face's own forward pass and generation, one prompt at a time."""

    def __init__(self, engine, *, whole_words: bool = True) -> None:
        import torch

        self.writer, self.network, self.whole_words = engine.writer, engine.network, whole_words
        self._tensor, self._ones = torch.tensor, torch.ones_like

    def _read(self, prompt: str) -> dict[str, Any]:
        pieces, words = self.writer.tokenizer.encode(prompt)
        embedded = self.network.t5.shared(self._tensor([pieces]))
        if self.whole_words:
            embedded = embedded + self.network.whole_word(self._tensor([words]))
        return {"inputs_embeds": embedded, "attention_mask": self._ones(self._tensor([pieces]))}

    def likelihood(self, prompt: str, tokens: list[int]) -> float:
        """Sum of the log-probabilities of an answer's tokens."""
        labels = self._tensor([tokens])
        logits = self.network.t5(**self._read(prompt), labels=labels).logits
        return float(logits.log_softmax(-1)[0].gather(1, labels[0][:, None]).sum())

    def logits(self, prompt: str, written: list[int]) -> Any:
        """Tensor of the logits that follow the start mark and ``written``, shape (vocabulary,)."""
        start = self._tensor([[PAD, *written]])
        return self.network.t5(**self._read(prompt), decoder_input_ids=start).logits[0, -1]

    def text(self, prompt: str, **how) -> list[int]:
        """Generated tokens up to the end mark."""
        out = self.network.t5.generate(**self._read(prompt), do_sample=False, pad_token_id=PAD, eos_token_id=END, **how)
        tokens = out[0, 1:].tolist()
        return tokens[: tokens.index(END)] if END in tokens else tokens

    def said(self, tokens: list[int]) -> str:
        """Pieces as text, special ones left out."""
        tokenizer = self.writer.tokenizer
        shown = tokenizer.pieces(token for token in tokens if UNKNOWN < token < len(tokenizer))
        return " ".join("".join(shown).replace("▁", " ").split())


def prompts_of(engine, requests: Requests) -> list[str]:
    """What is asked, in the order of the requests; all of them must be."""
    phrasing, chosen = engine.phrase(requests)
    asked = {int(row): phrasing.write(template, int(row)) for template, rows in chosen for row in rows}
    return [asked[row] for row in range(len(requests))]


def place_of(phrasing, code: int) -> int:
    """Position of an item in the world of some requests."""
    return int(phrasing.known.writer.world.items.rows([code])[0])


def few(requests: Requests, count: int = 6) -> Requests:
    return requests.take(np.arange(count))


def drawn(requests: Requests, world: SmallWorld, size: int = 12) -> Requests:
    """With a draw of candidates for each request."""
    generator = np.random.default_rng(0)
    rows = [np.sort(generator.choice(world.training().item, size, replace=False)) for _ in range(len(requests))]
    return dataclasses.replace(requests, candidates=Ragged.from_lists(rows))


def nothing(requests: Requests) -> Ragged:
    return Ragged.empty(len(requests))


@pytest.fixture(scope="session")
def ask() -> SimpleNamespace:
    """What the tests of answers share."""
    shared = (HuggingFace, prompts_of, place_of, few, drawn, nothing)
    return SimpleNamespace(LISTS=LISTS, **{one.__name__: one for one in shared})
