"""Draws of candidates that are made anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data import Ragged, load_dataset
from bench.models import Capabilities, RankedLists
from bench.runs.predict import measure
from bench.splits import LeaveOneOut, make_split
from bench.tasks import RequestSet, request_sets
from bench.tasks.fresh import redrawn

ROWS = [(f"u{u}", f"i{(u * 3 + i) % 20}", 3.0, i) for u in range(30) for i in range(8)]


@pytest.fixture
def sets(make_card: Callable[..., Path]) -> dict[str, RequestSet]:
    split = make_split(load_dataset(make_card(ROWS)), LeaveOneOut(sampled=5))
    return {asked.name: asked for asked in request_sets(split, ["direct"])}


def test_another_draw_of_the_same_kind(sets: dict[str, RequestSet]) -> None:
    for part in ("valid", "test"):
        asked = sets[f"{part}/direct/warm-warm/sampled"]
        fresh = redrawn(asked, "mine").requests.candidates
        stored = asked.requests.candidates
        assert fresh.lengths.tolist() == stored.lengths.tolist()
        for row, candidates in enumerate(fresh):
            assert (np.diff(candidates) > 0).all()
            assert asked.answers.item[row] in candidates
            assert not set(candidates.tolist()) & set(asked.answers.exclude[row].tolist())
        assert (fresh.values != stored.values).any()
        np.testing.assert_array_equal(fresh.values, redrawn(asked, "mine").requests.candidates.values)
        assert (fresh.values != redrawn(asked, "other").requests.candidates.values).any()


def test_draws_are_uniform(sets: dict[str, RequestSet]) -> None:
    asked = sets["test/direct/warm-warm/sampled"]
    rows = [redrawn(asked, str(salt)).requests.candidates[0] for salt in range(600)]
    counts = np.bincount(np.concatenate(rows), minlength=20)
    free = np.setdiff1d(np.arange(20), [*asked.answers.exclude[0], asked.answers.item[0]])
    assert counts[asked.answers.item[0]] == 600
    assert counts.sum() == counts[free].sum() + 600
    expected = 600 * 5 / len(free)
    # Four standard errors of a binomial.
    assert np.abs(counts[free] - expected).max() < 4 * np.sqrt(expected)


def test_what_is_ranked_whole_stays(sets: dict[str, RequestSet]) -> None:
    asked = sets["test/direct/warm-warm/all"]
    assert redrawn(asked, "mine") is asked


@pytest.mark.parametrize("fresh", [False, True])
def test_models_that_say_so_are_asked_with_them(sets: dict[str, RequestSet], fresh: bool) -> None:
    asked, seen = sets["test/direct/warm-warm/sampled"], []

    def rank(requests, k, *, exclude) -> RankedLists:
        seen.append(requests.candidates.values)
        return RankedLists(Ragged.empty(len(requests)), np.empty(0, np.float32), np.ones(len(requests), bool))

    able = Capabilities(answers_with="lists", draws=True, fresh_draws=fresh)
    model = SimpleNamespace(capable=lambda settings: able, settings=None, label=lambda settings: "mine", rank=rank)
    measure(model, asked, k=5)
    expected = redrawn(asked, "mine") if fresh else asked
    np.testing.assert_array_equal(np.concatenate(seen), expected.requests.candidates.values)
