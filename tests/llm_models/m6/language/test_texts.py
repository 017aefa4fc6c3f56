"""Texts of several tasks: tuned together, written together."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from bench.errors import UsageError
from bench.models import Budget
from llm_models.backbones.stack import _ENCODERS
from llm_models.m6.language.generation import Decoding
from llm_models.m6.language.recommender import _WITHOUT_HEAD
from llm_models.m6.language.texts import fit_texts, write_texts
from llm_models.m6.wording import WritingPrompt

TASKS = {
    "sound": [WritingPrompt("red drum", "sound :", "loud"), WritingPrompt("old horn", "sound :", "soft and warm")],
    "price": [WritingPrompt("red drum", "price :", "good"), WritingPrompt("new bell", "price :", None)],
}
BUDGET = Budget(max_steps=60, eval_every_steps=20, patience=5)
SMALL = {"max_source": 8, "max_target": 8, "rank": 8, "prompts": 2, "learning_rate": 0.02}


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_tasks_tuned_together_are_written_together(decoder, encoder, tokenizer, kind):
    stack = encoder() if kind == "bert" else decoder(kind)[1]
    model, selection = fit_texts(
        stack, tokenizer, TASKS, budget=BUDGET, tuned="adapter", held_out={"sound": TASKS["sound"][:1]}, **SMALL
    )
    assert len(selection.curve) == 4
    assert model.head.pretrained == (kind == "gpt2")
    mixed = {"price": TASKS["price"][:1], "sound": TASKS["sound"][::-1]}
    assert write_texts(model, mixed, Decoding(longest=5)) == {"price": ["good"], "sound": ["soft and warm", "loud"]}


def test_a_task_without_a_target_is_refused(encoder, tokenizer):
    with pytest.raises(UsageError, match="price: no text with a target"):
        fit_texts(encoder(), tokenizer, {**TASKS, "price": TASKS["price"][1:]}, budget=BUDGET, **SMALL)


def test_families_without_a_head_are_the_encoders():
    assert set(_ENCODERS) == _WITHOUT_HEAD
