from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.ragged import Ragged
from llm_models.decoding import Trie

END = 0
#: Distinct sequences, ended by a mark so that none begins another.
catalogues = st.sets(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=40).map(
    lambda sequences: [(*sequence, END) for sequence in sorted(sequences)]
)


def walk(trie: Trie, node: int = 0, prefix: tuple[int, ...] = ()) -> dict[tuple[int, ...], int]:
    children = range(trie.first_child[node], trie.first_child[node + 1])
    tokens = trie.token[children.start : children.stop].tolist()
    assert tokens == sorted(set(tokens))
    if not tokens:
        return {prefix: int(trie.entry[node])}
    assert trie.entry[node] == -1
    found: dict[tuple[int, ...], int] = {}
    for child, token in zip(children, tokens, strict=True):
        found |= walk(trie, child, (*prefix, token))
    return found


@given(catalogues, st.randoms())
@settings(deadline=None)
def test_a_trie_is_its_set_of_sequences(sequences: list[tuple[int, ...]], random) -> None:
    random.shuffle(sequences)
    trie = Trie.build(sequences)
    assert walk(trie) == {sequence: entry for entry, sequence in enumerate(sequences)}
    assert len(trie) == len(sequences)
    assert trie.depth == max(map(len, sequences))
    inner = [{sequence[:level] for sequence in sequences if len(sequence) > level} for level in range(1, trie.depth)]
    assert trie.width == max([1, *map(len, inner)])


@given(catalogues, st.data())
@settings(max_examples=60, deadline=None)
def test_remaining_counts_what_may_be_answered_below_each_node(sequences: list[tuple[int, ...]], data) -> None:
    trie = Trie.build(sequences)
    entries = st.integers(0, len(sequences) - 1)
    barred = data.draw(st.lists(st.lists(entries, max_size=50), min_size=1, max_size=4))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(sequences), max_size=len(sequences))))
    counts = trie.remaining(allowed, Ragged.from_lists(barred))
    for request, out in enumerate(barred):
        left = [entry for entry in range(len(sequences)) if allowed[entry] and entry not in out]
        assert counts[request, 0] == len(left)
        expected = np.zeros(trie.nodes, int)
        for entry in left:
            expected[trie.path[entry][trie.path[entry] >= 0]] += 1
        np.testing.assert_array_equal(counts[request, 1:], expected[1:])


@given(catalogues, st.data())
@settings(max_examples=60, deadline=None)
def test_remaining_among_candidates_is_remaining_without_the_others(sequences: list[tuple[int, ...]], data) -> None:
    trie = Trie.build(sequences)
    some = st.lists(st.integers(0, len(sequences) - 1), max_size=30)
    candidates, barred = (data.draw(st.lists(some, min_size=3, max_size=3)) for _ in range(2))
    counts = trie.remaining_among(Ragged.from_lists(candidates), Ragged.from_lists(barred))
    everything = np.ones(len(trie), bool)
    others = [
        sorted(set(range(len(trie))) - set(drawn) | set(out)) for drawn, out in zip(candidates, barred, strict=True)
    ]
    np.testing.assert_array_equal(counts, trie.remaining(everything, Ragged.from_lists(others)))


@pytest.mark.parametrize("sequences", [[], [()], [(1, 2), (1, 2)], [(1,), (1, 2)], [(1, 2), (3, 4), (1,)]])
def test_ambiguous_sequences_are_refused(sequences: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="sequence"):
        Trie.build(sequences)
