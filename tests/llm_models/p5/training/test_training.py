"""The loop on made-up batches: steps, rates, selection, and what it tells."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def test_it_is_adamw_with_linear_warm_up_and_decay_and_clipped_gradients(loop) -> None:
    """Against a plain loop: torch's unfused AdamW, Hugging Face's T5 and schedule (its first step is at rate 0)."""
    steps, rise, clip = 10, 4, 0.5
    network, settings = loop.make(dropout=0.0, warm_up=rise / steps, clip=clip, weight_decay=0.1)
    plain, _ = loop.make(dropout=0.0)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=0.01, eps=1e-6, weight_decay=0.1, fused=False)
    schedule = transformers.get_linear_schedule_with_warmup(optimiser, rise, steps)
    clipped = 0
    for number in range(steps):
        batch = loop.Draws().batch(number)
        ids, words, labels = (torch.from_numpy(array) for array in (batch.ids, batch.words, batch.labels))
        embedded, mask = plain.t5.shared(ids) + plain.whole_word(words), (ids != 0).long()
        losses = [
            plain.t5(inputs_embeds=embedded[p : p + 1], attention_mask=mask[p : p + 1], labels=labels[p, a][None]).loss
            for p, a in (labels[:, :, 0] >= 0).nonzero().tolist()
        ]
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        clipped += int(torch.nn.utils.clip_grad_norm_(plain.parameters(), clip) > clip)
        optimiser.param_groups[0]["lr"] = 0.01 * schedule.lr_lambdas[0](number + (number < rise))
        optimiser.step()
    loop.run(network, settings, steps=steps)
    assert clipped > steps / 2
    loop.assert_same(loop.weights(network), loop.weights(plain), atol=2e-4, rtol=1e-3)


def test_accumulated_batches_are_one_large_one(loop) -> None:
    @dataclass
    class Halves(loop.Draws):
        """Each batch of the other in two."""

        def batch(self, number: int):
            from llm_models.p5.writer import Batch

            whole = loop.Draws().batch(number // 2)
            part = slice(0, 2) if number % 2 == 0 else slice(2, 6)
            return Batch(whole.ids[part], whole.words[part], whole.labels[part], whole.family[part])

    large, settings = loop.make(dropout=0.0)
    reference = loop.run(large, settings, steps=6)
    small, settings = loop.make(dropout=0.0, accumulate=2)
    course = loop.run(small, settings, steps=6, mixture=Halves(steps_an_epoch=16.0))
    loop.assert_same(loop.weights(small), loop.weights(large), atol=1e-4, rtol=1e-3)
    assert (course.targets, course.tokens, course.epoch) == (reference.targets, reference.tokens, reference.epoch)
    for mine, theirs in zip(course.selection.curve, reference.selection.curve, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_the_best_weights_are_kept_and_with_patience_0_the_last(loop) -> None:
    values = [0.1, 0.4, 0.2, 0.3]
    seen = []

    def trained(patience: int):
        network, settings = loop.make()
        answers = iter(values)
        seen.clear()

        def validate() -> float:
            seen.append(loop.weights(network))
            return next(answers)

        course = loop.run(network, settings, steps=40, validate=validate, eval_every_steps=3, patience=patience)
        return network, course.selection

    network, selection = trained(patience=2)
    assert (selection.best_step, selection.stopped, len(seen)) == (6, "early stopping", 4)
    assert [row["validation"] for row in selection.curve] == values
    loop.assert_same(loop.weights(network), seen[1], atol=0, rtol=0)
    assert not network.training
    values += [0.0] * 10
    network, selection = trained(patience=0)
    assert (selection.best_step, selection.stopped, len(seen)) == (40, "budget", 14)
    loop.assert_same(loop.weights(network), seen[-1], atol=0, rtol=0)


def test_epochs_are_passes_over_the_mixture(loop) -> None:
    network, settings = loop.make(accumulate=2)
    course = loop.run(
        network, settings, mixture=loop.Draws(steps_an_epoch=9.0), max_steps=None, max_epochs=2, eval_every_steps=None
    )
    assert (course.step, course.selection.curve[-1]["epoch"]) == (9, 2.0)
    network, settings = loop.make(steps=4)
    assert loop.run(network, settings, max_steps=None).step == 4


def test_no_steps_leave_the_network_as_it_is(loop) -> None:
    network, settings = loop.make()
    before = loop.weights(network)
    course = loop.run(network, settings, steps=0)
    loop.assert_same(loop.weights(network), before, atol=0, rtol=0)
    assert course.selection.report_fields() == {
        "steps": 0, "epochs": 0.0, "best_step": 0, "stopped": "budget", "converged": False, "curve": (),
    }  # fmt: skip
    assert course.notes()["cost"]["targets_per_second"] is None


def test_it_tells_what_it_read_what_it_cost_and_how_each_family_went(loop) -> None:
    """At a rate of next to nothing the losses are those of the network as it was."""
    network, settings = loop.make(dropout=0.0, learning_rate=1e-12)
    sums, tokens = np.zeros((2, 2)), 0
    with torch.inference_mode():
        for number in range(9):
            batch = loop.Draws().batch(number)
            tokens += int((batch.ids > 0).sum())
            ids, words, labels = (torch.from_numpy(array) for array in (batch.ids, batch.words, batch.labels))
            _, each = network(ids, words, labels)
            for family in (0, 1):
                own = batch.family == family
                sums[family] += each[own].sum().item(), (batch.labels[own, :, 0] >= 0).sum()
    course = loop.run(network, settings, steps=9, eval_every_steps=9)
    notes = json.loads(json.dumps(course.notes()))
    assert notes["family_losses"] == {
        "ones": [pytest.approx(sums[0, 0] / sums[0, 1], rel=1e-5)],
        "twos": [pytest.approx(sums[1, 0] / sums[1, 1], rel=1e-5)],
    }
    assert course.selection.curve[0]["loss"] == pytest.approx(sums[:, 0].sum() / sums[:, 1].sum(), rel=1e-5)
    cost = notes["cost"]
    assert (cost["targets"], cost["prompt_tokens_read"]) == (sums[:, 1].sum(), tokens)
    assert cost["targets_per_second"] * cost["training_hours"] * 3600 == pytest.approx(sums[:, 1].sum())
    assert cost["hours_of_original_schedule"] == pytest.approx(cost["training_hours"] * 10 * 8 / 9)
    assert cost["original"]["hours"] == {"t5-small": 6.7, "t5-base": 24.3}


def test_validation_costs_no_training_time(loop) -> None:
    network, settings = loop.make()
    course = loop.run(network, settings, steps=3, validate=lambda: time.sleep(0.4) or 0.0, eval_every_steps=1)
    assert course.seconds < 1.0


def test_a_family_that_was_not_drawn_has_no_loss(loop) -> None:
    network, settings = loop.make()
    course = loop.run(network, settings, steps=2, mixture=loop.Draws(families=("ones", "twos", "never")))
    assert course.family_losses["never"] == [None] * len(course.selection.curve)


def test_bfloat16_trains_about_as_float32_does(loop) -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        network, settings = loop.make(dtype=dtype, dropout=0.0)
        losses[dtype] = [row["loss"] for row in loop.run(network, settings, steps=60).selection.curve]
        assert all(weight.dtype == torch.float32 for weight in network.parameters())
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"][-1] < 0.9 * losses["bfloat16"][0]
