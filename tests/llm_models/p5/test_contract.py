from __future__ import annotations

import pytest

from bench.models.testing import RecommenderContract
from llm_models.p5.model import P5

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

TINY = {"d_model": 16, "d_ff": 32, "d_kv": 8, "heads": 2, "layers": 1, "batch": 8, "max_history": 6}


class TestExhaustive(RecommenderContract):
    model = P5
    settings = TINY | {"decode": "exhaustive"}


class TestBeams(RecommenderContract):
    """As many beams as the small world has items: narrower beams may lose an item to those they exclude."""

    model = P5
    settings = TINY | {"beams": 40, "prompt": "unseen"}
