"""The network: late interaction from parts computed alone, tasks mixed in one batch, and what training may change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.data.ragged import Ragged  # noqa: E402
from llm_models.backbones.stack import stack_of  # noqa: E402
from llm_models.m6.network import SEGMENT_KINDS, Batch, M6Network, last_of, segment_kinds  # noqa: E402
from llm_models.m6.packing import Packer, buckets  # noqa: E402
from llm_models.m6.tuning import METHODS, Tuning  # noqa: E402

DEPTH, WIDTH = 3, 16


def _stack(kind="bert"):
    torch.manual_seed(1)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 24}
    if kind == "bert":
        return stack_of(hf.BertModel(hf.BertConfig(**sizes, vocab_size=50, max_position_embeddings=64)))
    specials = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return stack_of(hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **specials, vocab_size=50, num_key_value_heads=1)))


def _tuning(stack, method="option-adapter", *, prompts=3, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    tuning = Tuning(stack, method, classes=2, prompts=prompts, rank=4, begin=1, end=2, generator=generator, **options)
    for name, weight in tuning.named_parameters():  # adapters start at 0, which would hide them
        if name.startswith("adapters"):
            torch.nn.init.normal_(weight, std=0.3)
    return tuning


def _network(kind="bert", *, late=0):
    stack = _stack(kind)
    network = M6Network(stack, {"a": _tuning(stack), "b": _tuning(stack, prompts=5, seed=1)}, late=late)
    if late:
        torch.nn.init.normal_(network.segments)
    return network


TEXTS = Ragged.from_lists([[5, 6, 7], [8], [9, 10], [11, 12, 13, 14], [15, 16]])
USER = Ragged.from_lists([[0, 1, 2], [3], [0, 2]])
TARGET = Ragged.from_lists([[4], [1], [3, 4]])


def _packer(**options):
    return Packer(TEXTS, begin=1, end=2, **{"max_tokens": 64, **options})


def test_rows_are_written_as_sources_and_targets_between_their_special_tokens():
    batch = _packer().pack(USER, TARGET, [("a", 3)])
    assert batch.tokens[0].tolist() == [1, 5, 6, 7, 2, 1, 8, 2, 1, 9, 10, 2, 1, 15, 16, 2] + [2] * 3
    assert batch.special[0].tolist() == [0, -1, -1, -1, 1, 0, -1, 1, 0, -1, -1, 1, 2, -1, -1, 3] + [-1] * 3
    assert batch.layout.segment[1].tolist() == [0] * 6 + [1] * 3 + [-1] * 10
    assert batch.layout.target[2].tolist() == [False] * 9 + [True] * 10
    assert _packer().lengths(USER, TARGET).tolist() == [16, 9, 19]


def test_a_row_that_is_too_long_loses_its_oldest_clicks_and_keeps_the_profile():
    assert _packer(max_tokens=14).fitting(USER, TARGET)[0].tolist() == [0, 2]
    assert _packer(max_tokens=9).fitting(USER, TARGET)[0].tolist() == [0]
    assert _packer().fitting(USER, TARGET).values.tolist() == USER.values.tolist()


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 60), st.booleans())
def test_buckets_hold_every_row_once_and_no_more_tokens_than_allowed(lengths, tokens, shuffled):
    lengths = np.array(lengths, dtype=np.int64)
    found = list(buckets(lengths, tokens=tokens, rng=np.random.default_rng(0) if shuffled else None))
    assert sorted(np.concatenate([*found, np.empty(0, int)]).tolist()) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= tokens for rows in found)


def test_segment_kinds_count_from_the_latest_click_back():
    batch = _packer().pack(USER, TARGET, [("a", 3)])
    kinds = segment_kinds(batch.layout.prepended(2), 2)
    assert kinds[0].tolist() == [0, 0] + [2] * 5 + [4] * 3 + [3] * 4 + [1] * 4 + [0] * 3
    assert kinds.max() < SEGMENT_KINDS


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("late", range(1, DEPTH + 1))
@torch.inference_mode()
def test_segments_computed_alone_give_what_the_block_mask_gives_in_one_pass(kind, late):
    network, packer = _network(kind, late=late), _packer()
    batch = packer.pack(USER, TARGET, [("a", 3)])
    whole, layout = network(batch)
    embedded = network.embed(batch)
    parts = torch.zeros_like(embedded.vectors)
    for row in range(3):  # each segment by itself, without the others and without padding
        for segment in range(int(layout.segment[row].max()) + 1):
            places = layout.segment[row] == segment
            positions = torch.arange(int(places.sum()))[None]
            hidden = network.stack.begin(embedded.vectors[row, places][None], positions)
            tokens = positions.shape[1]
            causal = torch.ones(1, tokens, tokens, dtype=torch.bool).tril()
            visible = causal if layout.target[row, places].all() else None
            run = network.stack.run(hidden, visible, positions, last=late, adapters=network.adapters((("a", 1),)))
            parts[row, places] = run.hidden[0]
    found = network.upper(parts, layout, embedded.prompts, batch.tasks)
    torch.testing.assert_close(found[layout.real], whole[layout.real], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_where_the_end_alone_reads_the_user_a_candidates_other_tokens_do_not_depend_on_the_user():
    stack, packer = _stack("llama"), _packer()
    network = M6Network(stack, {"a": _tuning(stack)}, late=1, reading="end")
    of = [
        network(packer.pack(Ragged.from_lists([user]), Ragged.from_lists([[3]]), [("a", 1)])) for user in ([0, 1], [2])
    ]
    (one, other) = (states[0, layout.target[0]] for states, layout in of)
    torch.testing.assert_close(one[:-1], other[:-1], atol=1e-5, rtol=1e-5)
    assert (one[-1] - other[-1]).abs().max() > 1e-3


def test_reading_by_the_end_alone_needs_segments_that_are_read_alone():
    stack = _stack()
    with pytest.raises(ValueError, match="late of at least 1"):
        M6Network(stack, {"a": _tuning(stack)}, reading="end")


@pytest.mark.parametrize("late", [0, 2])
@pytest.mark.parametrize("kind", ["bert", "llama"])
@torch.inference_mode()
def test_rows_of_two_tasks_in_one_batch_are_the_rows_of_each_alone(kind, late):
    network, packer = _network(kind, late=late), _packer()
    mixed = packer.pack(USER, TARGET, [("a", 2), ("b", 1)])
    states, layout = network(mixed)
    ends = last_of(states, layout, target=True)
    sources = last_of(states, layout, target=False)
    for name, rows, of in (("a", [0, 1], slice(0, 2)), ("b", [2], slice(2, 3))):
        alone, its = network(packer.pack(USER.take(rows), TARGET.take(rows), [(name, len(rows))]))
        torch.testing.assert_close(last_of(alone, its, target=True), ends[of], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(last_of(alone, its, target=False), sources[of], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_two_candidates_in_one_row_are_the_candidates_in_rows_of_their_own():
    network, packer = _network(), _packer()
    both, layout = network(packer.pack(USER.take([2]), Ragged.from_lists([[3, 4]]), [("a", 1)]))
    for number, text in ((2, 3), (3, 4)):
        alone, its = network(packer.pack(USER.take([2]), Ragged.from_lists([[text]]), [("a", 1)]))
        places = (layout.segment[0] == number + 1).nonzero().squeeze(1)
        torch.testing.assert_close(both[0, places], alone[0, its.target[0]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_training_changes_the_declared_parameters_and_nothing_else(method):
    stack = _stack()
    network = M6Network(stack, {"a": _tuning(stack, method)}, late=1)
    if method == "full":
        stack.requires_grad_(True)
    declared = network.trained()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(declared.values(), lr=0.01)
    states, layout = network(_packer().pack(USER, TARGET, [("a", 3)]))
    logits = network.tuning("a").classify(last_of(states, layout, target=True))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1])).backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= set(declared)
    own = {name for name in declared if not name.startswith("stack.")}
    assert own <= changed
    assert any(name.startswith("stack.") for name in changed) == (method == "full")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4))
def test_options_are_the_last_soft_prompts_themselves(seed):
    tuning = _tuning(_stack(), "option", prompts=3, seed=seed)
    hidden = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(seed))
    expected = hidden @ tuning.prompts[1:].T * WIDTH**-0.5
    torch.testing.assert_close(tuning.classify(hidden), expected)


def test_more_options_than_soft_prompts_are_refused():
    with pytest.raises(ValueError, match="1 soft prompts cannot hold 2 options"):
        _tuning(_stack(), "option", prompts=1)


def test_a_batch_needs_no_soft_prompts_at_all():
    stack = _stack()
    network = M6Network(stack, {"a": _tuning(stack, "head")})
    batch = _packer().pack(USER, TARGET, [("a", 3)])
    assert isinstance(batch, Batch)
    states, _ = network(batch)
    assert states.shape[1] == batch.tokens.shape[1]
