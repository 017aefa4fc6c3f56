from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from baselines.sasrec.windows import Windows, batches, cut, right_padded
from bench.models import Ragged

lengths = st.lists(st.integers(0, 40), min_size=1, max_size=12)


def numbered(sizes: list[int]) -> Ragged:
    """Every value is its own place in the flat array."""
    return Ragged.from_lengths(sizes, np.arange(sum(sizes)))


@given(lengths, st.integers(1, 12), st.integers(0, 5))
def test_every_item_but_the_first_is_a_target_exactly_once(sizes, max_length, seed):
    sequences = numbered(sizes)
    windows = cut(sequences, max_length, np.random.default_rng(seed))
    targets = [
        place + 1 for w in range(len(windows.start)) for place in windows.start[w] + np.arange(windows.length[w])
    ]
    assert sorted(targets) == [place for row in sequences for place in row[1:]]
    assert ((windows.length >= 1) & (windows.length <= max_length)).all()


@given(lengths, st.integers(1, 12), st.integers(0, 5))
def test_no_window_crosses_into_another_sequence(sizes, max_length, seed):
    sequences = numbered(sizes)
    windows = cut(sequences, max_length, np.random.default_rng(seed))
    owner = sequences.row_of
    assert (owner[windows.start] == owner[windows.start + windows.length]).all()


def test_borders_of_long_sequences_move():
    sequences, rng = numbered([100, 5]), np.random.default_rng(0)
    starts = {tuple(cut(sequences, 10, rng).start.tolist()) for _ in range(20)}
    assert len(starts) > 5
    assert all(100 in start for start in starts), "a sequence that fits is left whole"


@given(st.lists(st.integers(1, 30), min_size=1, max_size=80), st.integers(30, 100), st.integers(0, 3))
def test_batches_deal_each_window_once_and_keep_to_their_size(sizes, targets, seed):
    windows = Windows(np.zeros(len(sizes), np.int64), np.array(sizes, np.int64))
    dealt = batches(windows, targets, np.random.default_rng(seed))
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(sizes)))
    assert max(windows.length[chosen].sum() for chosen in dealt) < targets + 30


def test_windows_of_like_length_share_a_batch():
    rng = np.random.default_rng(0)
    windows = Windows(np.zeros(4000, np.int64), rng.geometric(0.15, 4000).clip(max=50))
    dealt = batches(windows, 1000, rng)
    places = sum(len(chosen) * windows.length[chosen].max() for chosen in dealt)
    assert places < 1.4 * windows.length.sum(), "unsorted batches hold more than four times the real places"
    again = batches(windows, 1000, rng)
    assert {tuple(chosen.tolist()) for chosen in dealt} != {tuple(chosen.tolist()) for chosen in again}


def test_right_padded():
    windows = Windows(np.array([4, 1]), np.array([2, 3]))
    rectangle, real = right_padded(np.arange(10, 20, dtype=np.int32), windows)
    assert rectangle.tolist() == [[14, 15, 0], [11, 12, 13]]
    assert real.tolist() == [[True, True, False], [True, True, True]]
    assert windows.take(np.array([1])).start.tolist() == [1]
