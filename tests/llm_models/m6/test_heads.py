from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.models import Ragged
from llm_models.m6.heads import Heads, collisions, contrastive_loss
from llm_models.m6.training import training_pairs

sequences = st.lists(st.lists(st.integers(0, 11), min_size=2, max_size=9), min_size=1, max_size=6)


@settings(deadline=None)
@given(rows=sequences, seed=st.integers(0, 99))
def test_collisions_agree_with_looking_at_every_pair(rows, seed):
    rng = np.random.default_rng(seed)
    user = rng.integers(0, len(rows), 15)
    item = np.array([rng.choice(rows[who]) for who in user], dtype=np.int64)
    mask = collisions(user, item, Ragged.from_lists(rows))
    for b in range(15):
        for c in range(15):
            expected = b != c and (item[c] == item[b] or item[c] in rows[user[b]])
            assert mask[b, c] == expected


@settings(deadline=None)
@given(rows=sequences, window=st.integers(1, 10), targets=st.none() | st.integers(1, 10))
def test_pairs_are_the_latest_targets_with_what_came_before(rows, window, targets):
    pairs = training_pairs(Ragged.from_lists(rows), window=window, targets_per_user=targets)
    expected = [
        (user, row[place], row[max(0, place - window) : place])
        for user, row in enumerate(rows)
        for place in range(1, len(row))
        if targets is None or place >= len(row) - targets
    ]
    got = zip(pairs.user.tolist(), pairs.item.tolist(), (row.tolist() for row in pairs.history), strict=True)
    assert list(got) == expected


def test_loss_of_two_orthogonal_pairs():
    x = torch.eye(2)
    none = torch.zeros(2, 2, dtype=torch.bool)
    # Each user: own item at cosine 1, the other at 0, over a temperature of 1/2.
    expected = math.log(1 + math.exp(-2.0))
    assert contrastive_loss(x, x, none, temperature=0.5).item() == pytest.approx(expected, abs=1e-6)


def test_a_masked_negative_does_not_count():
    x = torch.eye(2)
    mask = torch.tensor([[False, True], [False, False]])
    expected = (0.0 + math.log(1 + math.exp(-2.0))) / 2
    assert contrastive_loss(x, x, mask, temperature=0.5).item() == pytest.approx(expected, abs=1e-6)


def test_logq_correction_makes_a_popular_negative_cost_less():
    x = torch.eye(2)
    none = torch.zeros(2, 2, dtype=torch.bool)
    share = torch.tensor([0.8, 0.2])
    # exp(logit) is divided by the item's share: 1 / .8 and 1 / .2 of the uncorrected weights.
    own, other = math.exp(2.0), 1.0
    first = -math.log((own / 0.8) / (own / 0.8 + other / 0.2))
    second = -math.log((own / 0.2) / (own / 0.2 + other / 0.8))
    loss = contrastive_loss(x, x, none, temperature=0.5, offset=share.log())
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_principal_heads_keep_cosines_when_nothing_is_cut():
    rng = np.random.default_rng(0)
    items = rng.normal(size=(5, 12)).astype(np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    heads = Heads.principal(items, dim=8)
    assert heads.parameters == 2 * 5 * 12
    np.testing.assert_allclose(heads.project_users(items) @ heads.project_items(items).T, items @ items.T, atol=1e-5)


def test_projections_are_unit_rows_and_zeros_stay():
    heads = Heads.random(6, 4, seed=0)
    vectors = np.vstack([np.zeros(6), np.ones(6)]).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(heads.project_users(vectors), axis=1), [0.0, 1.0], atol=1e-6)
    assert not torch.equal(heads.user, heads.item)
