"""Serving: every scheme gives the numbers of the one-pass network, and a new click costs one segment."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.data.ragged import Ragged  # noqa: E402
from llm_models.backbones.segment_cache import MemorySegments, SegmentCache  # noqa: E402
from llm_models.backbones.stack import stack_of  # noqa: E402
from llm_models.m6.late import FullPass, Serving, score_pairs  # noqa: E402
from llm_models.m6.network import M6Network, last_of  # noqa: E402
from llm_models.m6.packing import Packer  # noqa: E402
from llm_models.m6.serving.segments import fingerprint  # noqa: E402
from llm_models.m6.tuning import Tuning  # noqa: E402

DEPTH, WIDTH = 3, 16
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 24}
SPECIALS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _bert():
    return hf.BertModel(hf.BertConfig(**SIZES, vocab_size=60, max_position_embeddings=80))


def _modernbert():
    local = {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8, "global_attn_every_n_layers": 2}
    return hf.ModernBertModel(hf.ModernBertConfig(**SIZES, **SPECIALS, **local, vocab_size=60))


def _gpt2():
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(n_embd=WIDTH, n_layer=DEPTH, n_head=2, vocab_size=60, n_positions=80, **SPECIALS)
    )


def _llama():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, **SPECIALS, vocab_size=60, num_key_value_heads=1))


def _mistral():
    window = {"sliding_window": 5, "num_key_value_heads": 1}
    return hf.MistralForCausalLM(hf.MistralConfig(**SIZES, **SPECIALS, **window, vocab_size=60))


MADE = {"bert": _bert, "modernbert": _modernbert, "gpt2": _gpt2, "llama": _llama, "mistral": _mistral}
SCHEMES = [(0, "all")] + [(late, reading) for late in range(1, DEPTH + 1) for reading in ("all", "end")]


def _network(kind="bert", *, late, reading="all", method="option-adapter", seed=0):
    torch.manual_seed(1)
    made = MADE[kind]()
    for name, weight in made.named_parameters():  # biases and norms start at 0 and 1, which would hide a slip
        torch.nn.init.normal_(weight, 1.0 if "norm" in name.lower() or "ln_" in name else 0.0, 0.2)
    stack = stack_of(made)
    generator = torch.Generator().manual_seed(seed)
    tuning = Tuning(stack, method, classes=2, prompts=3, rank=4, begin=1, end=2, generator=generator)
    for name, weight in tuning.named_parameters():  # adapters start at 0, which would hide them
        if name.startswith("adapters"):
            torch.nn.init.normal_(weight, std=0.3)
    network = M6Network(stack, {"click": tuning}, late=late, reading=reading)
    torch.nn.init.normal_(network.segments)
    return network.eval()


def _packer(**options):
    rng = np.random.default_rng(3)
    texts = [rng.integers(3, 60, size) for size in (3, 1, 2, 4, 2, 9, 5, 12, 7, 3, 0)]
    return Packer(Ragged.from_lists(texts), begin=1, end=2, **{"max_tokens": 70, **options})


USERS = Ragged.from_lists([[0, 1, 2], [3], [5, 7, 8, 0], []])
CANDIDATES = Ragged.from_lists([[4, 5, 6, 7, 4], [9, 10], [], [6, 1]])


def _one_pass(network, packer, users, candidates):
    """The network's own forward pass, a row at a time."""
    found = []
    for user, row in zip(users, candidates, strict=True):
        for candidate in row:
            batch = packer.pack(Ragged.from_lists([user]), Ragged.from_lists([[candidate]]), [("click", 1)])
            states, layout = network(batch)
            found.append(network.tuning("click").classify(last_of(states, layout, target=True)))
    return torch.cat(found)


@pytest.mark.parametrize(("late", "reading"), SCHEMES)
@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("tokens", [4096, 20])
@torch.inference_mode()
def test_cached_segments_and_cached_users_give_the_numbers_of_one_pass(kind, late, reading, tokens):
    network, packer = _network(kind, late=late, reading=reading), _packer()
    expected = _one_pass(network, packer, USERS, CANDIDATES)
    for scorer in (FullPass(network, "click", packer, tokens=tokens), Serving(network, "click", packer, tokens=tokens)):
        for _ in range(2):  # cold, then warm
            found = scorer.score(scorer.read(USERS), CANDIDATES)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert expected.std(dim=0).min() > 1e-3  # scores differ at all


@pytest.mark.parametrize("method", ["head", "prompt", "full"])
@pytest.mark.parametrize("late", [0, 1, 2])
@torch.inference_mode()
def test_it_holds_for_every_method_of_tuning(method, late):
    network, packer = _network(late=late, method=method), _packer()
    scorer = Serving(network, "click", packer)
    expected = _one_pass(network, packer, USERS, CANDIDATES)
    torch.testing.assert_close(scorer.score(scorer.read(USERS), CANDIDATES), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("late", "reading"), [(1, "all"), (1, "end"), (2, "all")])
@torch.inference_mode()
def test_more_candidates_than_may_be_kept_ready_are_made_ready_in_turns(late, reading):
    network, packer = _network(late=late, reading=reading), _packer()
    scorer = Serving(network, "click", packer, max_bytes=5000)
    expected = _one_pass(network, packer, USERS, CANDIDATES)
    torch.testing.assert_close(scorer.score(scorer.read(USERS), CANDIDATES), expected, atol=1e-5, rtol=1e-5)
    assert scorer.ready.cost(np.arange(11)).sum() > 5000


@pytest.mark.parametrize(("late", "reading"), [(0, "all"), (1, "end"), (1, "all"), (2, "all")])
@pytest.mark.parametrize("max_tokens", [70, 24])
@torch.inference_mode()
def test_pairs_are_scored_in_their_order_whatever_users_they_share(late, reading, max_tokens):
    network, packer = _network(late=late, reading=reading), _packer(max_tokens=max_tokens)
    rng = np.random.default_rng(0)
    owner, candidate = rng.integers(0, 4, 25), rng.integers(0, 11, 25)
    user = USERS.take(owner)
    target = Ragged.from_lists([[number] for number in candidate])
    expected = _one_pass(network, packer, packer.fitting(user, target), target)
    found = score_pairs(network, "click", packer, user, candidate, tokens=16)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_no_pair_at_all_gives_no_score():
    none = np.empty(0, np.int64)
    assert score_pairs(_network(late=1), "click", _packer(), Ragged.empty(0), none).shape == (0, 2)


def test_a_new_click_costs_one_segment():
    network, packer = _network(late=2), _packer()
    scorer = Serving(network, "click", packer)
    scorer.score(scorer.read(Ragged.from_lists([[0, 1, 2]])), Ragged.from_lists([[5, 6]]))
    assert (scorer.lower.segments, scorer.lower.computed_tokens) == (5, 5 + 3 + 4 + 11 + 7)
    user = scorer.read(Ragged.from_lists([[0, 1, 2, 3]]))
    assert (scorer.lower.segments, scorer.lower.computed_tokens) == (6, 30 + 6)
    scorer.score(user, Ragged.from_lists([[6, 5]]))
    assert scorer.lower.segments == 6


def test_segments_are_shared_between_scorers_and_computed_anew_when_weights_below_change(tmp_path):
    packer = _packer()

    def computed(network, folder):
        with SegmentCache(folder, space=fingerprint(network, "click"), width=WIDTH) as cache:
            scorer = Serving(network, "click", packer, cache=cache)
            scorer.score(scorer.read(USERS), CANDIDATES)
            return scorer.lower.segments

    network = _network(late=2)
    assert computed(network, tmp_path) == 14  # seven distinct texts as sources, seven as targets
    assert computed(network, tmp_path) == 0
    with torch.no_grad():
        network.segments.add_(1.0)
        network.tuning("click").prompts.add_(1.0)
        network.stack.blocks[2].layer.output.dense.weight.add_(0.1)
    assert computed(network, tmp_path) == 0  # above L'
    with torch.no_grad():
        network.tuning("click").adapters["1"].scale.add_(0.1)
    assert computed(network, tmp_path) == 14
    with torch.no_grad():
        network.stack.blocks[1].layer.output.dense.weight.add_(0.1)
    assert computed(network, tmp_path) == 14
    assert computed(_network(late=1), tmp_path) == 14


def test_a_cache_in_half_precision_gives_nearly_the_same():
    network, packer = _network(late=2), _packer()
    exact, half = (
        Serving(network, "click", packer, cache=MemorySegments(width=WIDTH, dtype=kind))
        for kind in ("float32", "bfloat16")
    )
    expected, found = (scorer.score(scorer.read(USERS), CANDIDATES) for scorer in (exact, half))
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.05)
    assert not torch.equal(found, expected)


@pytest.mark.parametrize(("late", "reading"), [(0, "all"), (1, "all"), (1, "end"), (3, "all")])
def test_half_precision_weights_are_served_too(late, reading):
    network, packer = _network(late=late, reading=reading), _packer()
    scorer = Serving(network, "click", packer)
    expected = scorer.score(scorer.read(USERS), CANDIDATES)
    network.stack.bfloat16()
    scorer = Serving(network, "click", packer)
    found = scorer.score(scorer.read(USERS), CANDIDATES)
    torch.testing.assert_close(found, expected, atol=0.25, rtol=0.1)
