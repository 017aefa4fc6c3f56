"""Distillation: the loss against scipy, students of other shapes, a loss that falls, a start that fits."""

import numpy as np
import pytest
from scipy import special

torch = pytest.importorskip("torch")

from llm_models.backbones.compact import Compact  # noqa: E402
from llm_models.backbones.layout import Layout  # noqa: E402
from llm_models.m6.edge.distil import distil, relation_loss, relations, start_from  # noqa: E402

SIZES = {"depth": 2, "width": 16, "heads": 2, "inner": 24, "vocabulary": 60, "positions": 64}


def _by_hand(teacher, student, visible, real, heads):
    def relation(states, row, head):
        size = states.shape[2] // heads
        part = states[row, :, head * size : (head + 1) * size]
        return special.softmax(np.where(visible[row], part @ part.T / np.sqrt(size), -np.inf), axis=1)

    total = []
    for theirs, ours in zip(teacher, student, strict=True):
        for row, token in zip(*np.nonzero(real), strict=True):
            pairs = [(relation(theirs, row, h)[token], relation(ours, row, h)[token]) for h in range(heads)]
            total.append(np.mean([special.rel_entr(p, q).sum() for p, q in pairs]))
    return np.mean(total)


def test_the_loss_is_the_mean_divergence_of_the_relations():
    rng = np.random.default_rng(0)
    layout = Layout.of([[(3, False), (2, True)], [(4, False)]])
    visible = layout.visible(blocks=False)
    teacher = [rng.normal(size=(2, 5, 12)) for _ in range(3)]
    student = [rng.normal(size=(2, 5, 8)) for _ in range(3)]
    expected = _by_hand(teacher, student, visible.numpy(), layout.real.numpy(), heads=4)
    given = [tuple(torch.tensor(part, dtype=torch.float32) for part in parts) for parts in (teacher, student)]
    assert relation_loss(*given, visible, layout.real, heads=4).item() == pytest.approx(expected, rel=1e-4)
    assert relation_loss(given[0], given[0], visible, layout.real, heads=4).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="5 relation heads do not divide"):
        relation_loss(*given, visible, layout.real, heads=5)


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
@torch.inference_mode()
def test_relations_are_what_the_layer_attends_with(tiny, batch, kind):
    stack = tiny.stack(kind)
    for layer in (1, None):
        (query, key, _), visible = relations(stack, batch.tokens, batch.layout, layer=layer)
        seen = []
        block = stack.blocks[(layer or stack.depth) - 1]
        handle = block.register_forward_pre_hook(lambda _, inputs, kept=seen: kept.append(inputs))
        positions = batch.layout.positions(restart=False)
        hidden = stack.begin(stack.words(batch.tokens), positions)
        stack.run(hidden, visible, positions)
        handle.remove()
        queries, own = block.project(seen[0][0], seen[0][2])
        torch.testing.assert_close(query, queries.transpose(1, 2).flatten(2))
        torch.testing.assert_close(key, own.keys.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(
    ("student", "start"),
    [
        ({}, True),
        ({}, False),
        ({"shared": True, "depth": 3}, True),
        ({"width": 8, "inner": 12}, True),
        ({"width": 8, "word_width": 4, "shared": True}, False),
    ],
)
def test_distillation_lowers_the_loss_on_rows_it_has_not_seen(tiny, batch, shared_batch, student, start):
    teacher, made = tiny.stack(), Compact(**{**SIZES, **student}).make()
    if start:
        start_from(made, teacher)

    def held_out():
        goal, visible = relations(teacher, shared_batch.tokens, shared_batch.layout)
        with torch.no_grad():
            found, _ = relations(made, shared_batch.tokens, shared_batch.layout)
        return relation_loss(goal, found, visible, shared_batch.layout.real, heads=4).item()

    before, weights = held_out(), {name: weight.clone() for name, weight in teacher.named_parameters()}
    losses = distil(teacher, made, [(batch.tokens, batch.layout)] * 30, heads=4, learning_rate=1e-2, warm_up=5)
    assert len(losses) == 30
    assert losses[-1] < 0.8 * losses[0]
    assert held_out() < before
    assert not any(weight.requires_grad for weight in made.parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in teacher.named_parameters())


def test_the_teachers_layer_can_be_chosen(tiny, batch):
    teacher, told = tiny.stack(), []
    for layer in (1, 3, None):
        losses = distil(
            teacher,
            Compact(**SIZES).make(),
            [(batch.tokens, batch.layout)],
            heads=2,
            layer=layer,
            told=lambda step, loss: told.append((step, loss)),
        )
        assert told[-1] == (1, losses[0])
    assert told[0] != told[1] == told[2]
    with pytest.raises(ValueError, match="layers 1 to 3, not 4"):
        distil(teacher, Compact(**SIZES).make(), [], heads=2, layer=4)


@torch.inference_mode()
def test_a_student_of_the_teachers_shape_starts_as_the_teacher(tiny, batch):
    teacher, made = tiny.stack(), Compact(**{**SIZES, "depth": 3}).make()
    start_from(made, teacher)
    for ours, theirs in zip(made.parameters(), teacher.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.inference_mode()
def test_short_word_vectors_start_as_the_best_of_their_rank(tiny):
    teacher, made = tiny.stack(), Compact(**SIZES, word_width=6).make()
    start_from(made, teacher)
    left, spread, right = np.linalg.svd(teacher.words.weight.numpy(), full_matrices=False)
    best = (left[:, :6] * spread[:6]) @ right[:6]
    np.testing.assert_allclose(made.words.weight.numpy(), best, atol=1e-4)
    # Two layers from three: the first and the last.
    for ours, theirs in ((0, 0), (1, 2)):
        for mine, its in zip(made.blocks[ours].parameters(), teacher.blocks[theirs].parameters(), strict=True):
            assert torch.equal(mine, its)


@torch.inference_mode()
def test_what_does_not_fit_stays_as_it_was_drawn(tiny):
    sizes = {**SIZES, "width": 8, "inner": 12, "positions": 64, "word_width": 20}
    drawn, made = Compact(**sizes).make(), Compact(**sizes).make()
    start_from(made, tiny.stack())
    assert all(torch.equal(a, b) for a, b in zip(drawn.parameters(), made.parameters(), strict=True))
