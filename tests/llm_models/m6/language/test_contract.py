"""The harness's contract, on a backbone written to disk: an encoder whose head is trained, a decoder with its own."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

pytest.importorskip("torch")

from bench.models import Budget
from bench.models.testing import RecommenderContract
from llm_models.m6.language.likelihood import M6Likelihood
from llm_models.m6.language.writer import M6Writer


class OnTinyBackbones(RecommenderContract):
    """The settings name a backbone that a fixture writes."""

    kind: ClassVar[str]
    rest: ClassVar[dict[str, Any]] = {}
    budget = Budget(max_steps=6, eval_every_steps=3, patience=2)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def with_backbone(cls, backbones):
        cls.settings = {"backbone": str(backbones[cls.kind]), "prompts": 2, "rank": 2, **cls.rest}


class TestWriter(OnTinyBackbones):
    model = M6Writer
    kind = "bert"
    rest: ClassVar = {"longest": 6, "learning_rate": 0.02}


class TestWriterThatDraws(OnTinyBackbones):
    model = M6Writer
    kind = "llama"
    rest: ClassVar = {"decode": "top-p", "longest": 5, "tuned": "prompt", "mentions": 0}


class TestZeroShotLikelihood(OnTinyBackbones):
    model = M6Likelihood
    kind = "llama"
    rest: ClassVar = {"tuned": "zero-shot", "against_nobody": 0.5}


class TestTrainedLikelihood(OnTinyBackbones):
    model = M6Likelihood
    kind = "bert"
    rest: ClassVar = {"samples": 20}
