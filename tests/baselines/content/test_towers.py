from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from baselines.content.towers import Pairs, Towers, contrastive_loss, project, train
from bench.models import Budget, Ragged


def towers(words, dimensions=4, seed=0):
    return Towers(words, dimensions, 0.1, torch.Generator().manual_seed(seed))


def sparse(seed, rows, words, density=0.4):
    rng = np.random.default_rng(seed)
    dense = (rng.random((rows, words)) * (rng.random((rows, words)) < density)).astype(np.float32)
    dense[-1] = 0  # an empty row
    return csr_array(dense), dense


def test_a_projection_is_the_matrix_product():
    rows, dense = sparse(0, 5, 9)
    weight = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(project(rows, weight).numpy(), dense @ weight.numpy(), atol=1e-6)


def test_scores_are_those_of_the_formula():
    (profile, x), (item, y) = sparse(2, 4, 9), sparse(3, 6, 9)
    net = towers(9)
    with torch.no_grad():
        net.bias.copy_(torch.linspace(-1, 1, 9)[:, None])
        found = net(profile, item, torch.from_numpy(x @ y.T)).numpy()
        a, b, bias = (weight.numpy() for weight in (net.user, net.item, net.bias))
    np.testing.assert_allclose(found, 10 * (x @ y.T + x @ a @ (y @ b).T) + (y @ bias).T, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_softmax_over_what_is_not_masked():
    rng = np.random.default_rng(4)
    scores, target = rng.normal(size=(5, 7)), np.array([0, 3, 3, 6, 1])
    masked = rng.random((5, 7)) < 0.4
    losses = []
    for row in range(5):
        left = [scores[row, c] for c in range(7) if not masked[row, c] or c == target[row]]
        losses.append(np.log(np.sum(np.exp(left))) - scores[row, target[row]])
    found = contrastive_loss(torch.from_numpy(scores), torch.from_numpy(target), torch.from_numpy(masked))
    assert found.item() == pytest.approx(np.mean(losses))


def test_masked_candidates_are_not_pushed_away():
    scores = torch.zeros(2, 4, requires_grad=True)
    masked = torch.tensor([[True, True, False, False], [False, False, False, True]])
    contrastive_loss(scores, torch.tensor([0, 1]), masked).backward()
    gradient = scores.grad.numpy()
    assert gradient[0, 1] == 0
    assert gradient[1, 3] == 0
    assert (gradient[[0, 1], [0, 1]] < 0).all(), "targets are drawn near"
    assert (gradient[[0, 0, 1, 1], [2, 3, 0, 2]] > 0).all(), "the others are pushed away"


def test_the_gradient_of_each_weight_is_that_of_small_changes():
    (profile, x), (item, y) = sparse(5, 4, 6), sparse(6, 5, 6)
    net = towers(6, dimensions=2)
    shared, target = torch.from_numpy(x @ y.T), torch.tensor([0, 1, 2, 0])
    masked = torch.zeros(4, 5, dtype=torch.bool)

    def loss():
        return contrastive_loss(net(profile, item, shared), target, masked)

    loss().backward()
    for name, weight in net.named_parameters():
        flat, gradient = weight.data.view(-1), weight.grad.view(-1)
        for place in range(len(flat)):
            kept = flat[place].item()
            ends = []
            for change in (-1e-2, 1e-2):
                flat[place] = kept + change
                ends.append(loss().item())
            flat[place] = kept
            assert (ends[1] - ends[0]) / 2e-2 == pytest.approx(gradient[place].item(), abs=2e-3), name


def test_pairs_are_every_item_but_the_first_with_those_before_it():
    sequences = Ragged.from_lists([[4, 1, 2, 0], [3], [2, 3, 4]])
    worded = np.array([True, False, True, True, True])
    pairs = Pairs.of(sequences, worded)
    assert len(pairs) == 4
    assert pairs.sequences.values[pairs.target].tolist() == [2, 0, 3, 4]
    assert pairs.sequences.row_of[pairs.target].tolist() == [0, 0, 2, 2]
    assert [row.tolist() for row in pairs.history(np.arange(4), 5)] == [[4], [4, 2], [2], [2, 3]]
    assert [row.tolist() for row in pairs.history(np.array([3, 1]), 1)] == [[3], [2]]


def fitted(rows, sequences, *, dimensions=16, budget=None, dropout=0.0, seed=0):
    net = towers(rows.shape[1], dimensions, seed)
    report = train(
        net,
        rows,
        Pairs.of(sequences, np.diff(rows.indptr) > 0),
        history_items=5,
        half_life_items=None,
        batch_pairs=64,
        learning_rate=0.02,
        word_dropout=dropout,
        validate=lambda: 0.0,
        budget=budget or Budget(max_epochs=200, eval_every_epochs=10, patience=0),
        rng=np.random.default_rng(seed),
        progress=lambda *_: None,
    )
    return net, report


def test_a_tiny_set_is_learned_by_heart():
    """Item i is always followed by item i + 1, whose text has no word in common with it."""
    rows = csr_array(np.eye(12, dtype=np.float32))
    sequences = Ragged.from_lists([[item, (item + 1) % 12] for item in range(12)])
    net, report = fitted(rows, sequences)
    with torch.no_grad():
        scores = net(rows, rows, torch.eye(12))
    scores.fill_diagonal_(-torch.inf)  # what was met is no negative, so that nothing is learned of it
    assert (scores.argmax(1).numpy() == (np.arange(12) + 1) % 12).all()
    losses = [row["loss"] for row in report["curve"]]
    assert losses[0] > 1
    assert losses[-1] < 0.05


def test_words_that_follow_each_other_carry_over_to_items_never_trained_on():
    """Words 0-9 mark users' first items and words 10-19 their second ones; the i-th of both go together."""
    rng = np.random.default_rng(0)
    first = np.zeros((40, 20), np.float32)
    first[np.arange(40), np.arange(40) % 10] = 1
    second = np.roll(first, 10, axis=1)
    rows = csr_array(np.concatenate([first, second]))
    sequences = Ragged.from_lists([[user, 40 + user % 10 + 10 * rng.integers(4)] for user in range(40)])
    net, _ = fitted(rows, sequences, dropout=0.2)
    new = csr_array(np.eye(20, dtype=np.float32))
    with torch.no_grad():
        scores = net(new, new, torch.eye(20))[:10, 10:]
    assert (scores.argmax(1).numpy() == np.arange(10)).all()


def test_the_best_weights_are_left_not_the_last():
    rows = csr_array(np.eye(6, dtype=np.float32))
    sequences = Ragged.from_lists([[0, 1], [2, 3], [4, 5]])
    numbers, seen = iter([0.1, 0.9, 0.2, 0.3]), []
    net = towers(6)

    def validate():
        seen.append(net.user.detach().clone())
        return next(numbers)

    report = train(
        net,
        rows,
        Pairs.of(sequences, np.ones(6, bool)),
        history_items=1,
        half_life_items=2.0,
        batch_pairs=2,
        learning_rate=0.01,
        word_dropout=0.0,
        validate=validate,
        budget=Budget(max_epochs=4, patience=3),
        rng=np.random.default_rng(0),
        progress=lambda *_: None,
    )
    assert report["best_step"] == 4
    torch.testing.assert_close(net.user.detach(), seen[1])
    assert not torch.equal(seen[1], seen[3])
