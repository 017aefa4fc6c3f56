from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from bench.models import Training
from bench.models.testing import RecommenderContract
from bench.models.world import SmallWorld, small_world
from llm_models.p5.model import P5

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

TINY = {"d_model": 16, "d_ff": 32, "d_kv": 8, "heads": 2, "layers": 1, "batch": 8, "max_history": 6}
TINY |= {"longest_text": 12}


class TestAllFamilies(RecommenderContract):
    """Exact search: narrow beams may lose an item to those they exclude."""

    model = P5
    settings = TINY | {"decode": "exhaustive"}


class TestBeams(RecommenderContract):
    """As many beams as the small world has items."""

    model = P5
    settings = TINY | {"families": ["sequential", "direct"], "beams": 40}


class TestYesOrNo(RecommenderContract):
    model = P5
    settings = TINY | {"families": ["sequential", "direct"], "sequential": "yes-no", "direct": "yes-no"}


class TestTitles(RecommenderContract):
    """A title is enough to ask about an item, and nobody need be named."""

    model = P5
    settings = TINY | {"families": ["sequential"], "prompt": "2-n3"}


class TestSemanticIds(RecommenderContract):
    model = P5
    settings = TINY | {"index": "semantic", "levels": 2, "codebook": 8, "decode": "exhaustive"}


class WithoutReviews(SmallWorld):
    """The small world before anyone wrote about it."""

    def training(self) -> Training:
        return dataclasses.replace(super().training(), reviews=None)


class TestWithoutReviews(RecommenderContract):
    """Families that the data cannot feed are left out."""

    model = P5
    settings: ClassVar = TINY | {"decode": "exhaustive", "families": ["rating", "sequential", "direct"]}

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> SmallWorld:
        return WithoutReviews()


def test_what_training_never_read_is_not_written() -> None:
    world = WithoutReviews()
    model = TestAllFamilies.fit(world)
    asked = small_world()
    assert model.write(asked.requests("explanation")).null_count() == len(asked.users)
    assert np.isnan(model.rate(asked.requests("preference"))).all()
    assert np.isfinite(model.rate(asked.requests("rating"))).all()
