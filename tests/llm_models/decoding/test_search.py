"""Constrained search against exhaustive scoring and against Hugging Face's own beams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.ragged import Ragged
from llm_models.decoding import Trie, exact, search

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY, PAD, END = 24, 0, 1


@pytest.fixture(scope="module")
def network():
    from llm_models.p5.network import P5Network

    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_ff=32,
        d_kv=8,
        num_heads=2,
        num_layers=2,
        decoder_start_token_id=PAD,
        # Sharp distributions: answers that differ by more than rounding.
        initializer_factor=2.0,
    )
    network = P5Network(transformers.T5ForConditionalGeneration(config)).eval()
    torch.nn.init.zeros_(network.whole_word.weight)
    return network


def prompts(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (count, 9), generator=generator)
    ids[0, 5:] = PAD
    return ids


def ours(network, ids, trie: Trie, exclude: Ragged, *, beams: int, k: int):
    from llm_models.p5.network import TrieStepper

    remaining = trie.remaining(np.ones(len(trie), bool), exclude)
    with torch.inference_mode():
        memory = network.encode(ids, torch.zeros_like(ids))
        return search(TrieStepper(network, memory), trie, remaining, beams=beams, k=k)


def likelihood(network, ids, sequences: list[tuple[int, ...]]) -> np.ndarray:
    """Score every sequence by Hugging Face's own forward pass, one at a time, shape (prompts, sequences)."""
    scores = np.zeros((len(ids), len(sequences)))
    with torch.inference_mode():
        for column, sequence in enumerate(sequences):
            labels = torch.tensor([sequence] * len(ids))
            logits = network.t5(input_ids=ids, attention_mask=(ids != PAD).long(), labels=labels).logits
            gains = logits.log_softmax(-1).gather(2, labels[..., None])[..., 0]
            scores[:, column] = gains.sum(1).numpy()
    return scores


def generated(network, ids, trie: Trie, sequences, exclude: Ragged, k: int, *, ended: bool):
    """Hugging Face's constrained beams, dead branches removed by hand."""
    table = {sequence: entry for entry, sequence in enumerate(sequences)}
    barred = [set(row.tolist()) for row in exclude]

    def allowed(request: int, prefix: torch.Tensor) -> list[int]:
        so_far = tuple(prefix.tolist()[1:])
        follow = {
            sequence[len(so_far)]
            for sequence, entry in table.items()
            if entry not in barred[request] and sequence[: len(so_far)] == so_far and len(sequence) > len(so_far)
        }
        return sorted(follow) or [PAD]

    out = network.t5.generate(
        input_ids=ids,
        attention_mask=(ids != PAD).long(),
        num_beams=k,
        num_return_sequences=k,
        length_penalty=0.0,
        early_stopping=False,
        do_sample=False,
        max_new_tokens=trie.depth,
        prefix_allowed_tokens_fn=allowed,
        output_scores=True,
        return_dict_in_generate=True,
    )
    entries = []
    for row in out.sequences.tolist():
        written = row[1:]
        if ended:
            written = written[: written.index(END) + 1]
        entries.append(table.get(tuple(written), -1))
    return np.array(entries).reshape(len(ids), k), out.sequences_scores.reshape(len(ids), k).numpy()


def fixed_catalogue(count: int, depth: int, seed: int) -> list[tuple[int, ...]]:
    generator = np.random.default_rng(seed)
    drawn = {tuple(generator.integers(2, VOCABULARY, depth).tolist()) for _ in range(count)}
    return sorted(drawn)


def exclusions(count: int, entries: int, seed: int) -> Ragged:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(0, entries, count).tolist()
    return Ragged.from_lists([generator.choice(entries, size, replace=False) for size in sizes])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_with_beams_enough_the_answer_is_exact(network, depth: int) -> None:
    sequences = fixed_catalogue(60, depth, depth)
    trie, ids = Trie.build(sequences), prompts(5, depth)
    exclude = exclusions(5, len(trie), depth)
    entries, scores = ours(network, ids, trie, exclude, beams=trie.width, k=len(trie))
    full = likelihood(network, ids, sequences)
    for request, barred in enumerate(exclude):
        left = np.setdiff1d(np.arange(len(trie)), barred)
        expected = left[np.argsort(-full[request, left], kind="stable")]
        np.testing.assert_array_equal(entries[request, : len(left)], expected)
        np.testing.assert_allclose(scores[request, : len(left)], full[request, expected], atol=1e-4)
        assert (entries[request, len(left) :] == -1).all()
        assert np.isneginf(scores[request, len(left) :]).all()


@given(depth=st.integers(1, 4), k=st.integers(1, 60), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_exact_search_is_exhaustive_search(network, depth: int, k: int, seed: int) -> None:
    from llm_models.p5.network import TrieStepper

    sequences = fixed_catalogue(300, depth, seed)
    trie, ids = Trie.build(sequences), prompts(4, seed)
    k = min(k, len(trie))
    exclude = exclusions(4, len(trie), seed)
    remaining = trie.remaining(np.ones(len(trie), bool), exclude)
    with torch.inference_mode():
        memory = network.encode(ids, torch.zeros_like(ids))
        entries, scores = exact(lambda: TrieStepper(network, memory), trie, remaining, k=k)
    expected, expected_scores = ours(network, ids, trie, exclude, beams=trie.width, k=k)
    np.testing.assert_array_equal(entries, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4)


def test_exact_search_looks_at_a_part_of_the_catalogue(network) -> None:
    """At most 1 / p prefixes of a length can be as likely as p."""
    from llm_models.p5.network import TrieStepper

    sequences = fixed_catalogue(4000, 3, 7)
    trie, ids = Trie.build(sequences), prompts(1, 7)
    widths = []

    class Counting(TrieStepper):
        def __call__(self, tokens, parents):
            widths.append(1 if tokens is None else tokens.shape[1])
            return super().__call__(tokens, parents)

    with torch.inference_mode():
        memory = network.encode(ids, torch.zeros_like(ids))
        exact(lambda: Counting(network, memory), trie, trie.remaining(np.ones(len(trie), bool), Ragged.empty(1)), k=5)
    assert trie.width > 400
    assert max(widths) < trie.width / 4


def test_candidates_alone_are_scored(network) -> None:
    sequences = fixed_catalogue(200, 3, 3)
    trie, ids = Trie.build(sequences), prompts(4, 3)
    generator = np.random.default_rng(3)
    candidates = Ragged.from_lists([generator.choice(len(trie), 15, replace=False) for _ in range(4)])
    from llm_models.p5.network import TrieStepper

    remaining = trie.remaining_among(candidates, Ragged.empty(4))
    with torch.inference_mode():
        memory = network.encode(ids, torch.zeros_like(ids))
        entries, scores = search(TrieStepper(network, memory), trie, remaining, beams=15, k=15)
    full = likelihood(network, ids, sequences)
    for request, drawn in enumerate(candidates):
        expected = drawn[np.argsort(-full[request, drawn])]
        np.testing.assert_array_equal(entries[request], expected)
        np.testing.assert_allclose(scores[request], full[request, expected], atol=1e-4)


def test_ids_of_different_lengths_are_exact_too(network) -> None:
    generator = np.random.default_rng(1)
    drawn = {tuple(generator.integers(2, 8, int(n)).tolist()) for n in generator.integers(1, 4, 60)}
    sequences = [(*sequence, END) for sequence in sorted(drawn)]
    trie, ids = Trie.build(sequences), prompts(4, 1)
    exclude = exclusions(4, len(trie), 1)
    entries, scores = ours(network, ids, trie, exclude, beams=len(trie), k=10)
    full = likelihood(network, ids, sequences)
    for request, barred in enumerate(exclude):
        full[request, barred] = -np.inf
        best = np.argsort(-full[request])[: min(10, len(trie) - len(barred))]
        np.testing.assert_array_equal(entries[request, : len(best)], best)
        np.testing.assert_allclose(scores[request, : len(best)], full[request, best], atol=1e-4)


@given(
    depth=st.integers(2, 4),
    k=st.integers(2, 6),
    ended=st.booleans(),
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.0, 0.3, 0.9]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_below_that_the_beams_are_those_of_hugging_face(
    network, depth: int, k: int, ended: bool, seed: int, share: float
) -> None:
    """Random tries, random prompts, random sets of items seen before."""
    sequences = fixed_catalogue(300, depth, seed)
    if ended:
        sequences = [(*sequence, END) for sequence in sequences]
    trie, ids = Trie.build(sequences), prompts(3, seed)
    assert trie.width > k
    exclude = exclusions(3, len(trie), seed)
    exclude = exclude.keep(np.random.default_rng(seed).random(len(exclude.values)) < share)
    entries, scores = ours(network, ids, trie, exclude, beams=k, k=k)
    expected, expected_scores = generated(network, ids, trie, sequences, exclude, k, ended=ended)
    np.testing.assert_array_equal(entries, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4)


class Table:
    """A decoder whose log-probabilities depend on the prefix through a hash."""

    def __init__(self, requests: int, vocabulary: int, seed: int) -> None:
        self.vocabulary, self.seed = vocabulary, seed
        self.prefix = torch.zeros(requests, 1, dtype=torch.int64)

    def __call__(self, tokens, parents):
        vocabulary = self.vocabulary
        if tokens is not None:
            self.prefix = self.prefix.gather(1, parents) * vocabulary + tokens + 1
        key = self.prefix[..., None] * 7919 + torch.arange(vocabulary) * 104729 + self.seed
        return (torch.sin(key.double()) * 3).log_softmax(-1).float()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_duplicates_no_excluded_no_dead_ends(data) -> None:
    sequences = data.draw(
        st.sets(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=30).map(sorted), label="sequences"
    )
    entries = st.integers(0, len(sequences) - 1)
    barred = data.draw(st.lists(st.lists(entries, max_size=40), min_size=1, max_size=4))
    k = data.draw(st.integers(1, 12))
    beams = data.draw(st.integers(1, 12))
    trie, exclude = Trie.build(sequences), Ragged.from_lists(barred)
    remaining = trie.remaining(np.ones(len(trie), bool), exclude)
    found, scores = search(Table(len(barred), 5, 3), trie, remaining, beams=beams, k=k)
    for request, out in enumerate(barred):
        answered = found[request][found[request] >= 0].tolist()
        left = len(set(range(len(trie))) - set(out))
        assert len(set(answered)) == len(answered)
        assert not set(answered) & set(out)
        # Every beam ends in an answer: as many as beams, or as remain, at the least.
        assert len(answered) >= min(k, beams, left)
        assert len(answered) <= min(k, left)
        assert (np.diff(scores[request, : len(answered)]) <= 0).all()


def test_a_mask_is_not_evidence(network) -> None:
    sequences = fixed_catalogue(80, 2, 5)
    trie, ids = Trie.build(sequences), prompts(3, 5)
    free, _ = ours(network, ids, trie, Ragged.empty(3), beams=trie.width, k=len(trie))
    exclude = exclusions(3, len(trie), 5)
    masked, _ = ours(network, ids, trie, exclude, beams=trie.width, k=len(trie))
    for request, barred in enumerate(exclude):
        expected = free[request][~np.isin(free[request], barred)]
        np.testing.assert_array_equal(masked[request, : len(expected)], expected)
