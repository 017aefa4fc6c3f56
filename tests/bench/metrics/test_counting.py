from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.data import Ragged
from bench.metrics import Counts, count_lists, count_scores

ITEMS = np.array([3, 5, 8, 13, 21, 34], np.int32)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Ragged]:
    rows = draw(st.integers(1, 6))
    # Few distinct values, so that ties are common; NaN for items the model does not know.
    values = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, float("nan")])
    scores = draw(hnp.arrays(np.float32, (rows, len(ITEMS)), elements=values.map(np.float32)))
    answer = np.array([draw(st.sampled_from(ITEMS.tolist())) for _ in range(rows)], np.int32)
    exclude = [
        sorted(draw(st.sets(st.sampled_from([*ITEMS.tolist(), 1, 99]), max_size=4)) - {int(item)}) for item in answer
    ]
    return scores, answer, Ragged.from_lists(exclude)


@given(blocks())
def test_equals_counting_by_hand(block: tuple[np.ndarray, np.ndarray, Ragged]) -> None:
    scores, answer, exclude = block
    counts = count_scores(scores.copy(), ITEMS, answer, exclude)
    for row, target in enumerate(answer):
        allowed = [place for place, item in enumerate(ITEMS) if item not in exclude[row]]
        own = scores[row, ITEMS.tolist().index(target)]
        others = [scores[row, place] for place in allowed if ITEMS[place] != target]
        assert counts.candidates[row] == len(allowed)
        assert counts.served[row] == (not np.isnan(own))
        assert counts.above[row] == sum(score > own for score in others)
        assert counts.tied[row] == sum(score == own for score in others)
        best = sorted((-scores[row, p], ITEMS[p]) for p in allowed if not np.isnan(scores[row, p]))
        assert counts.top[row].tolist() == [item for _, item in best]


@given(blocks(), st.randoms(use_true_random=False))
def test_blocks_join_to_the_whole(block: tuple[np.ndarray, np.ndarray, Ragged], random: object) -> None:
    scores, answer, exclude = block
    cut = random.randint(0, len(answer))  # type: ignore[attr-defined]
    parts = [np.arange(cut), np.arange(cut, len(answer))]
    whole = count_scores(scores.copy(), ITEMS, answer, exclude)
    joined = Counts.concatenate(count_scores(scores[p].copy(), ITEMS, answer[p], exclude.take(p)) for p in parts)
    for name in ("above", "tied", "candidates", "served", "top_scores"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(joined, name))
    np.testing.assert_array_equal(whole.top.values, joined.top.values)


def test_depth_bounds_what_is_kept() -> None:
    scores = np.arange(6, dtype=np.float32)[None]
    counts = count_scores(scores, ITEMS, ITEMS[:1], Ragged.empty(1), depth=2)
    assert counts.top[0].tolist() == [34, 21]
    assert count_scores(scores, ITEMS, ITEMS[:1], Ragged.empty(1), depth=0).top.values.size == 0


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_scores_are_refused(bad: float) -> None:
    scores = np.zeros((1, 6), np.float32)
    scores[0, 2] = bad
    with pytest.raises(ValueError, match="infinite"):
        count_scores(scores, ITEMS, ITEMS[:1], Ragged.empty(1))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        count_scores(np.zeros((1, 5), np.float32), ITEMS, ITEMS[:1], Ragged.empty(1))


def test_an_answer_outside_the_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="not among the candidates"):
        count_scores(np.zeros((1, 6), np.float32), ITEMS, np.array([4], np.int32), Ragged.empty(1))


def lists(*rows: list[int]) -> tuple[Ragged, np.ndarray]:
    ragged = Ragged.from_lists(rows)
    return ragged, np.linspace(0, -1, len(ragged.values), dtype=np.float32)


def test_lists_are_placed_by_their_order() -> None:
    ragged, scores = lists([5, 3], [8, 13, 3], [])
    served = np.array([True, True, False])
    counts = count_lists(
        ragged, scores, served, ITEMS, np.array([3, 34, 3], np.int32), Ragged.from_lists([[8], [], []])
    )
    assert counts.above.tolist() == [1, 5, 0]  # not listed: below every other of the 6 candidates
    assert counts.candidates.tolist() == [5, 6, 6]
    assert counts.served.tolist() == [True, True, False]
    assert counts.tied.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("row", "banned", "message"),
    [([3, 3], [], "twice"), ([4], [], "not in the catalogue"), ([3, 5], [5], "excluded")],
)
def test_lists_that_break_the_contract_are_refused(row: list[int], banned: list[int], message: str) -> None:
    ragged, scores = lists(row)
    with pytest.raises(ValueError, match=message):
        count_lists(ragged, scores, np.array([True]), ITEMS, ITEMS[-1:], Ragged.from_lists([banned]))


@given(st.integers(0, 2**32 - 1))
def test_a_draw_is_ranked_as_a_catalogue_of_its_own(seed):
    rng = np.random.default_rng(seed)
    items = np.sort(rng.choice(100, 30, replace=False)).astype(np.int32)
    drawn = [np.sort(rng.choice(items, int(rng.integers(2, 12)), replace=False)) for _ in range(6)]
    answer = np.array([rng.choice(row) for row in drawn], np.int32)
    scores = rng.integers(0, 5, (6, 30)).astype(np.float32)
    scores[rng.random((6, 30)) < 0.1] = np.nan
    nothing = Ragged.empty(6)
    found = count_scores(scores.copy(), items, answer, nothing, sampled=Ragged.from_lists(drawn))
    for row, own in enumerate(drawn):
        column = np.searchsorted(items, own)
        alone = count_scores(scores[row][None, column], own, answer[[row]], Ragged.empty(1))
        assert (found.above[row], found.tied[row], found.served[row]) == (
            alone.above[0],
            alone.tied[0],
            alone.served[0],
        )
        assert found.candidates[row] == len(own)
        assert found.top[row].tolist() == alone.top[0].tolist()


def test_what_is_masked_beside_the_candidates_forbids_nothing():
    # The first request masks an item whose code is larger than those of all candidates; the second lists the first one.
    items, answer = np.array([0, 1, 2, 3], np.int32), np.array([3, 3], np.int32)
    scores, served = np.array([2.0, 1.0], np.float32), np.array([True, True])
    lists, masked = Ragged.from_lists([[1], [0]]), Ragged.from_lists([[4], []])
    counts = count_lists(lists, scores, served, items, answer, masked)
    assert counts.candidates.tolist() == [4, 4]
    assert counts.above.tolist() == [3, 3]


def test_lists_must_keep_to_the_draw():
    items, answer = np.arange(5, dtype=np.int32), np.array([2], np.int32)
    drawn, scores, served = Ragged.from_lists([[1, 2, 4]]), np.array([2, 1], np.float32), np.array([True])
    found = count_lists(Ragged.from_lists([[4, 2]]), scores, served, items, answer, Ragged.empty(1), sampled=drawn)
    assert (found.above[0], found.candidates[0]) == (1, 3)
    unlisted = count_lists(Ragged.from_lists([[4, 1]]), scores, served, items, answer, Ragged.empty(1), sampled=drawn)
    assert unlisted.above[0] == 2
    with pytest.raises(ValueError, match="not drawn"):
        count_lists(Ragged.from_lists([[3, 2]]), scores, served, items, answer, Ragged.empty(1), sampled=drawn)
