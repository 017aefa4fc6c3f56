"""Values of rows of metrics that are no means: their mean is the metric, and their spread the metric's."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from bench.metrics import Written, parse
from bench.stats import Units, intervals

sacrebleu = pytest.importorskip("sacrebleu")

USERS = 150


def corpus(longer):
    """Texts of users who write 1 to 5 of them, a model being good with some users and bad with others."""
    rng = np.random.default_rng(7)
    words = np.array([f"w{number}" for number in range(60)])
    chance = 1 / np.arange(1, 61)
    chance /= chance.sum()
    user = np.repeat(np.arange(USERS), rng.integers(1, 6, USERS))
    skill = rng.beta(2, 2, USERS)
    actual, text = [], []
    for one in user:
        truth = rng.choice(words, rng.integers(6, 14), p=chance)
        kept = np.where(rng.random(len(truth)) < skill[one], truth, rng.choice(words, len(truth), p=chance))
        length = len(kept) + rng.integers(1, 3) if longer else rng.integers(len(kept) - 3, len(kept) + 1)
        actual.append(" ".join(truth))
        text.append(" ".join([*kept, "w1", "w2"][:length]))
    return user, Written(pl.Series(actual), pl.Series(text), pl.Series(rng.choice(words[:20], len(user))))


def draws(user, count=600):
    """How often each row is drawn when whole users are, shape (count, rows)."""
    rng = np.random.default_rng(3)
    return np.stack([np.bincount(rng.integers(0, USERS, USERS), minlength=USERS)[user] for _ in range(count)])


@pytest.mark.parametrize("longer", [False, True], ids=["too short", "too long"])
@pytest.mark.parametrize("name", ["BLEU-1", "BLEU-2", "BLEU-4", "P5-BLEU-1", "P5-BLEU-4"])
def test_bleu_is_as_uncertain_as_drawing_users_again_says(name, longer):
    user, written = corpus(longer)
    order = int(name[-1])
    smoothing = "none" if name.startswith("P5") else "exp"
    peer = sacrebleu.BLEU(effective_order=True, max_ngram_order=order)
    rows = [peer.sentence_score(text, [actual]) for actual, text in zip(written.actual, written.written, strict=True)]
    sums = np.array([[row.sys_len, row.ref_len, *row.counts, *row.totals] for row in rows])

    def bleu(weights):
        ours, theirs, *rest = (int(number) for number in weights @ sums)
        return peer.compute_bleu(
            rest[:order], rest[order:], ours, theirs, smooth_method=smoothing, max_ngram_order=order
        ).score

    found = intervals({name: parse(name).per_request(written)}, Units.pooled(user))[name]
    assert found.mean == pytest.approx(bleu(np.ones(len(user), int)), abs=1e-9)
    again = [bleu(weights) for weights in draws(user)]
    assert found.standard_error == pytest.approx(np.std(again), rel=0.1)
    low, high = np.quantile(again, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.3 * (high - low) / 2)


@pytest.mark.parametrize("name", ["DIV", "P5-DIV"])
def test_diversity_is_as_uncertain_as_drawing_users_again_says(name):
    user, written = corpus(False)
    features = written.feature.unique().to_list()
    named = np.array([[feature in text.split() for feature in features] for text in written.written], float)

    def diversity(weights):
        """Mean over pairs of two different draws, a row drawn twice being paired with itself."""
        total, own = weights @ named, weights @ named.sum(axis=1)
        return ((total**2).sum() - own) / (weights.sum() * (weights.sum() - 1))

    found = intervals({name: parse(name).per_request(written)}, Units.pooled(user))[name]
    pairs = itertools.combinations(named, 2)
    assert found.mean == pytest.approx(np.mean([one @ other for one, other in pairs]), abs=1e-9)
    again = [diversity(weights) for weights in draws(user)]
    assert found.standard_error == pytest.approx(np.std(again), rel=0.1)


def test_an_order_that_never_matches_leaves_the_others_their_spread():
    pairs = [("a b c d", "a x b y"), ("e f g h", "e g x"), ("i j k", "k j i")]
    actual, text = zip(*pairs, strict=True)
    found = parse("BLEU-2").per_request(Written(pl.Series(actual), pl.Series(text)))
    assert found.mean() == pytest.approx(sacrebleu.BLEU(max_ngram_order=2).corpus_score(text, [actual]).score, abs=1e-9)
    assert found.mean() > 0
    assert len(set(found.round(9))) > 1
