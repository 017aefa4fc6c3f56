"""Pruning: the schedule by hand, exact shares, masks that hold through training."""

import pytest

torch = pytest.importorskip("torch")

from llm_models.backbones.compact import Compact  # noqa: E402
from llm_models.m6.edge.prune import Pruner, Schedule, prunable  # noqa: E402
from llm_models.m6.edge.storage import nonzero  # noqa: E402
from llm_models.m6.network import last_of  # noqa: E402


def test_the_schedule_is_cubic_between_its_ends():
    schedule = Schedule(share=0.8, first=10, last=30, every=5)
    found = [schedule.at(step) for step in (0, 10, 15, 20, 30, 99)]
    assert found == pytest.approx([0, 0, 0.8 * 37 / 64, 0.7, 0.8, 0.8])
    assert [step for step in range(40) if schedule.due(step)] == [10, 15, 20, 25, 30]
    assert [step for step in range(9) if Schedule(0.5, first=0, last=7, every=3).due(step)] == [0, 3, 6, 7]


@pytest.mark.parametrize("wrong", [{"share": 1.1}, {"first": 5, "last": 5}, {"every": 0}])
def test_a_schedule_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="a pruning schedule needs"):
        Schedule(**wrong)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("share", [0.0, 0.37, 0.8, 1.0])
def test_the_share_is_exact_and_the_smallest_go(tiny, scope, share):
    stack = tiny.stack()
    before = {name: weight.clone() for name, weight in prunable(stack).items()}
    pruner = Pruner(stack, Schedule(share), scope=scope)
    pruner.prune(share)
    total = sum(weight.numel() for weight in before.values())
    gone = sum(int((weight == 0).sum()) for weight in prunable(stack).values())
    if scope == "global":
        assert gone == round(share * total)
        groups = [list(before)]
    else:
        assert all(int((w == 0).sum()) == round(share * w.numel()) for w in prunable(stack).values())
        groups = [[name] for name in before]
    assert pruner.share == pytest.approx(gone / total)
    for names in groups:
        kept = torch.cat([before[name][pruner.masks[name]].abs() for name in names])
        lost = torch.cat([before[name][~pruner.masks[name]].abs() for name in names])
        assert not len(kept) or not len(lost) or lost.max() <= kept.min()
    assert all(
        torch.equal(w[pruner.masks[name]], before[name][pruner.masks[name]]) for name, w in prunable(stack).items()
    )


def test_what_is_pruned_are_matrices_of_layers_and_words(tiny):
    names = set(prunable(tiny.stack()))
    assert "words.weight" in names
    assert sum(name.startswith("blocks.1.") for name in names) == 6
    assert not any("norm" in name.lower() or name.endswith("bias") or name.startswith("places") for name in names)


def test_shared_layers_are_pruned_and_counted_once():
    stack = Compact(depth=4, width=16, heads=2, inner=24, vocabulary=30, positions=20, shared=True, word_width=4).make()
    names = set(prunable(stack))
    assert {"words.table.weight", "words.up.weight"} < names
    assert not any(name.startswith("blocks.1.") for name in names)
    pruner = Pruner(stack, Schedule(0.8))
    pruner.prune(0.8)
    size = sum(weight.numel() for weight in prunable(stack).values())
    assert size == 30 * 4 + 4 * 16 + 4 * 16 * 16 + 2 * 16 * 24
    others = sum(weight.numel() for weight in stack.parameters()) - size
    # Of the others biases start at 0.
    assert nonzero(stack) <= size - round(0.8 * size) + others
    assert sum(int(weight.count_nonzero()) for weight in prunable(stack).values()) == size - round(0.8 * size)


@pytest.mark.parametrize("method", ["full", "option-adapter"])
def test_masks_hold_after_every_step_of_training(tiny, batch, method):
    network = tiny.network(method=method)
    pruner = Pruner(network.stack, Schedule(0.8, first=1, last=9, every=2))
    optimiser = torch.optim.AdamW(network.trained().values(), lr=0.01)
    labels, shares = torch.tensor([0, 1, 1, 0, 1]), []
    for step in range(1, 13):
        hidden, layout = network(batch)
        logits = network.tuning("click").classify(last_of(hidden, layout, target=True))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()
        gone = {name: ~mask for name, mask in pruner.masks.items()}
        pruner.after_step(step)
        shares.append(pruner.share)
        assert all((pruner.weights[name][~mask] == 0).all() for name, mask in pruner.masks.items())
        assert all((~pruner.masks[name])[was].all() for name, was in gone.items())  # once pruned, always pruned
    assert shares == sorted(shares)
    total = sum(weight.numel() for weight in pruner.weights.values())
    assert shares[-1] == pytest.approx(round(0.8 * total) / total)
