"""Defaults that follow from other settings."""

from __future__ import annotations

import pytest

from llm_models.p5.settings import P5Settings


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({}, 0.003),
        ({"pretrained": None}, 0.003),
        # Geng et al. 2022, the released code: 1e-3 for T5 checkpoints.
        ({"pretrained": "t5-small"}, 0.001),
        ({"checkpoint": "some/model"}, 0.001),
        ({"checkpoint": "theirs.pth", "tokenizer": "t5-small"}, 0.001),
        ({"pretrained": "t5-small", "learning_rate": 0.003}, 0.003),
        ({"learning_rate": 0.01}, 0.01),
    ],
)
def test_the_learning_rate_follows_the_start(settings: dict[str, object], rate: float) -> None:
    made = P5Settings(**settings)
    assert made.learning_rate == rate
    assert P5Settings.model_validate(made.model_dump()) == made
    assert made.fitting().learning_rate == rate
