"""Made-up batches, and the loop over them; tests that need processes of their own import this by itself."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from bench.models import Budget
from llm_models.p5.settings import P5Settings

SIZE = {"d_model": 16, "d_ff": 24, "d_kv": 8, "heads": 2, "layers": 1, "word_pieces": 200, "learning_rate": 0.01}


@dataclass
class Draws:
    """Batch ``number`` is drawn from (seed, number): answers that follow from the prompts, of two families."""

    prompts: int = 6
    seed: int = 0
    families: tuple[str, ...] = ("ones", "twos")
    steps_an_epoch: float = 8.0

    def batch(self, number: int):
        from llm_models.p5.writer import Batch

        rng = np.random.default_rng([self.seed, number])
        family = rng.integers(2, size=self.prompts)
        ids = rng.integers(3, 30, (self.prompts, 9))
        ids[0, 6:] = 0
        words = np.where(ids > 0, np.arange(9) // 2, 0)
        labels = np.full((self.prompts, 2, 3), -100)
        labels[:, 0, :2] = ids[:, :2] + family[:, None]
        labels[family == 1, 1] = ids[family == 1, :3]
        return Batch(ids, words, labels, family)

    def batches(self, start: int = 0):
        while True:
            yield self.batch(start)
            start += 1


def make(**settings):
    import torch

    from llm_models.p5.artefacts import scratch_network

    torch.manual_seed(0)
    settings = P5Settings(**SIZE | settings)
    return scratch_network(settings), settings


def run(network, settings, *, steps: int = 24, mixture=None, validate=lambda: 0.0, told=None, scratch=None, **budget):
    import torch

    from llm_models.p5.training import train

    torch.manual_seed(1)
    return train(
        network,
        mixture or Draws(),
        settings,
        budget=Budget(**{"max_steps": steps, "eval_every_steps": max(1, steps // 3), "patience": 0} | budget),
        seed=1,
        validate=validate,
        progress=told or (lambda done, total, note="": None),
        scratch=scratch,
    )


def weights(network):
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def assert_same(one, other, **tolerance) -> None:
    import torch

    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture(scope="session")
def loop() -> SimpleNamespace:
    """What the tests of training share."""
    return SimpleNamespace(SIZE=SIZE, **{one.__name__: one for one in (Draws, make, run, weights, assert_same)})
