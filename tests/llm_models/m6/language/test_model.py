"""Likelihoods and texts: the same numbers as Hugging Face, cached or not, alone or in mixed batches."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bench.errors import UsageError  # noqa: E402
from bench.models import Budget, Ragged  # noqa: E402
from llm_models.m6.language.generation import Decoding, generate  # noqa: E402
from llm_models.m6.language.model import TUNED, LanguageModel  # noqa: E402
from llm_models.m6.language.rows import Rows  # noqa: E402
from llm_models.m6.language.scoring import compare  # noqa: E402
from llm_models.m6.language.training import fit_rows  # noqa: E402

SOURCES = ["the user likes drum and horn", "item bell", "red reed . new string . old horn . loud"]
PREFIXES = ["they chose it because", "they chose it because", "headline :"]
TARGETS = ["the tone", "it sound warm and bright", "great"]
DECODERS = ("gpt2", "llama")


def language(stack, tokenizer, tasks=("a", "b"), **options):
    options = {"max_source": 24, "max_target": 16, "prompts": 3, "rank": 4} | options
    model = LanguageModel(stack, tokenizer, tasks, **options)
    with torch.no_grad():  # adapters start at 0, which would hide them
        for name, weight in model.network.tunings.named_parameters():
            if ".adapters." in name:
                weight.normal_(std=0.3)
    return model


def rows_of(model, tasks=("a", "a", "b"), targets=TARGETS):
    return [
        model.rows.rows(task, [source], [prefix], [target])[0]
        for task, source, prefix, target in zip(tasks, SOURCES, PREFIXES, targets, strict=True)
    ]


@pytest.mark.parametrize("kind", DECODERS)
@torch.inference_mode()
def test_the_likelihood_of_a_text_is_hugging_faces_own_loss(decoder, tokenizer, kind):
    theirs, stack = decoder(kind)
    model = language(stack, tokenizer, tuned="zero-shot")
    for row in rows_of(model):
        given = [1, *row.source, *row.prefix]
        ids = torch.tensor([[*given, *row.target, 2]])
        labels = ids.clone()
        labels[:, : len(given)] = -100
        expected = -theirs(input_ids=ids, labels=labels).loss
        torch.testing.assert_close(model.mean_likelihoods([row])[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
@torch.inference_mode()
def test_the_prefix_reading_is_hugging_face_under_the_prefix_mask(decoder, tokenizer, kind):
    theirs, stack = decoder(kind)
    model = language(stack, tokenizer, tuned="zero-shot", reading="prefix")
    row = rows_of(model)[1]
    source = [1, *row.source, 2]
    ids = torch.tensor([[*source, 1, *row.prefix, *row.target, 2]])
    count = ids.shape[1]
    seen = torch.ones(count, count).tril().bool()
    seen[:, : len(source)] = True
    seen[: len(source), len(source) :] = False
    mask = torch.zeros(count, count).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
    logits = theirs(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    first = len(source) + 1 + len(row.prefix)
    expected = logits[0, torch.arange(first - 1, count - 1), ids[0, first:]].mean()
    torch.testing.assert_close(model.mean_likelihoods([row])[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_greedy_texts_are_hugging_faces_own(decoder, tokenizer, kind):
    theirs, stack = decoder(kind)
    model = language(stack, tokenizer, tuned="zero-shot")
    rows = rows_of(model)
    found = generate(model, rows, Decoding(longest=12))
    # Neither is to write a special token; ours never does.
    never = hf.GenerationConfig(
        max_new_tokens=12, do_sample=False, suppress_tokens=[0, 1, 3], pad_token_id=0, eos_token_id=2, use_cache=True
    )
    for row, text in zip(rows, found, strict=True):
        ids = torch.tensor([[1, *row.source, *row.prefix]])
        with torch.inference_mode():
            expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), generation_config=never)
        expected = expected[0, ids.shape[1] :].tolist()
        assert text == (expected[: expected.index(2)] if 2 in expected else expected)
    assert len({tuple(text) for text in found}) > 1


def every_kind(decoder, encoder, tokenizer, kind, **options):
    stack = encoder() if kind == "bert" else decoder(kind)[1]
    return language(stack, tokenizer, tuned="prompt-adapter", reading="prefix", **options)


@pytest.mark.parametrize("kind", [*DECODERS, "bert"])
@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_written_with_kept_keys_is_what_reading_everything_again_gives(
    decoder, encoder, tokenizer, kind, beams
):
    model = every_kind(decoder, encoder, tokenizer, kind)
    rows = rows_of(model)
    found = generate(model, rows, Decoding(beams=beams, longest=6))
    for row, text in zip(rows, found, strict=True):
        assert generate(model, [row], Decoding(beams=beams, longest=6)) == [text]
        if beams > 1:
            continue
        written = []
        with torch.inference_mode():
            while len(written) < 6:
                hidden, _ = model.network(model.rows.pack([row._replace(target=written)], closed=False).batch)
                logits = model.head(hidden[0, -1])
                logits[[0, 1, 3]] = -torch.inf
                if int(logits.argmax()) == 2:
                    break
                written.append(int(logits.argmax()))
        assert text == written


@pytest.mark.parametrize("kind", [*DECODERS, "bert"])
def test_candidates_after_a_kept_user_score_as_whole_rows_do(decoder, encoder, tokenizer, kind):
    model = every_kind(decoder, encoder, tokenizer, kind)
    users = model.rows.rows("a", SOURCES, [PREFIXES[0]] * 3, [""] * 3)
    sentences = model.rows.rows("a", [""] * 4, [PREFIXES[0]] * 4, [*TARGETS, ""])
    asked = Ragged.from_lists([[0, 1, 2, 3], [2], []])
    found = compare(model, users, sentences, asked, tokens=8)
    assert np.isnan(found[3])
    with torch.inference_mode():
        for place, (user, sentence) in enumerate([(0, 0), (0, 1), (0, 2), (1, 2)]):
            whole = users[user]._replace(target=sentences[sentence].target)
            values, _ = model.token_likelihoods(model.rows.pack([whole]))
            kept = found[[0, 1, 2, 4][place]]
            np.testing.assert_allclose(kept, float(values[:-1].mean()), atol=1e-5)


def test_rows_of_two_tasks_in_one_batch_are_read_as_each_alone(encoder, tokenizer):
    model = language(encoder(), tokenizer, tuned="prompt-adapter")
    rows = rows_of(model)
    with torch.inference_mode():
        values, row = model.token_likelihoods(model.rows.pack(rows))
        for number, own in enumerate(rows):
            alone, _ = model.token_likelihoods(model.rows.pack([own]))
            torch.testing.assert_close(values[row == number], alone, atol=1e-5, rtol=1e-5)
        other = model.token_likelihoods(model.rows.pack([rows[0]._replace(task="b")]))[0]
    assert not torch.allclose(other, values[row == 0], atol=1e-3)


@settings(deadline=None, max_examples=15)
@given(top_p=st.floats(0.05, 1.0), seed=st.integers(0, 3))
def test_drawn_texts_belong_to_their_row_alone(tokenizer, top_p, seed):
    model = language(_bert(), tokenizer, tuned="prompt")
    decoding = Decoding(by="top-p", top_p=top_p, seed=seed, longest=6)
    rows = rows_of(model)
    together = generate(model, rows, decoding)
    assert generate(model, rows[::-1], decoding)[::-1] == together
    assert generate(model, rows[1:2], decoding) == together[1:2]


def _bert():
    torch.manual_seed(3)
    config = hf.BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    from llm_models.backbones.stack import stack_of

    return stack_of(hf.BertModel(config))


@pytest.mark.parametrize(("size", "beams"), [(1, 1), (3, 1), (2, 2)])
def test_so_many_tokens_in_a_row_are_written_once(decoder, tokenizer, size, beams):
    model = language(decoder("llama")[1], tokenizer, tuned="zero-shot")
    rows, shape = rows_of(model), {"beams": beams, "shortest": 24, "longest": 30}
    free = generate(model, rows, Decoding(**shape))
    found = generate(model, rows, Decoding(**shape, no_repeat=size))

    def repeats(text):
        runs = [tuple(text[start : start + size]) for start in range(len(text) - size + 1)]
        return len(runs) - len(set(runs))

    assert any(repeats(text) for text in free)
    assert not any(repeats(text) for text in found)


def test_a_tiny_top_p_is_greedy(encoder, tokenizer):
    model = language(encoder(), tokenizer, tuned="prompt")
    rows = rows_of(model)
    assert generate(model, rows, Decoding(by="top-p", top_p=1e-6, longest=6)) == generate(
        model, rows, Decoding(longest=6)
    )


def trained_on(model, rows, steps=150, rate=0.02):
    return fit_rows(
        model,
        rows,
        learning_rate=rate,
        budget=Budget(max_steps=steps, eval_every_steps=steps // 3, patience=0),
        seed=0,
        validate=lambda: float(model.mean_likelihoods(rows).mean()),
        progress=lambda done, total, note="": None,
    )


@pytest.mark.parametrize("tuned", ["head", "prompt", "adapter", "prompt-adapter"])
def test_a_trained_head_learns_a_few_texts_by_heart(encoder, tokenizer, tuned):
    model = LanguageModel(
        encoder(), tokenizer, ["a", "b"], tuned=tuned, max_source=24, max_target=16, prompts=3, rank=8
    )
    rows = rows_of(model)
    selection = trained_on(model, rows)
    losses = [row["loss"] for row in selection.curve]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 3
    # Random layers that rest make much the same of all texts: only adapters can tell them apart.
    assert -float(model.mean_likelihoods(rows).mean()) < (0.1 if "adapter" in tuned else 1.5)
    if "adapter" in tuned:
        assert generate(model, rows, Decoding(longest=8)) == [row.target for row in rows]


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize("tuned", TUNED[1:])
def test_training_changes_what_is_declared_and_nothing_else(decoder, encoder, tokenizer, kind, tuned):
    if kind == "gpt2" and tuned == "head":
        pytest.skip("nothing to train: a test of its own")
    stack = encoder() if kind == "bert" else decoder(kind)[1]
    model = language(stack, tokenizer, tuned=tuned)
    declared = model.trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained_on(model, rows_of(model), steps=3)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in declared if ".stack." not in name} <= changed
    alias = {"network.stack.head.weight"}  # GPT-2's head is its word vectors
    assert changed - alias <= set(declared)
    assert any(".stack." in name for name in changed) == (tuned == "full")


def test_weights_that_were_kept_make_the_same_model(encoder, tokenizer):
    model = language(encoder(), tokenizer, tuned="prompt-adapter")
    rows = rows_of(model)
    trained_on(model, rows, steps=6)
    again = LanguageModel(
        encoder(),
        tokenizer,
        ["a", "b"],
        tuned="prompt-adapter",
        max_source=24,
        max_target=16,
        prompts=3,
        rank=4,
        seed=9,
    )
    again.use(model.weights())
    torch.testing.assert_close(again.mean_likelihoods(rows), model.mean_likelihoods(rows), atol=0, rtol=0)


def test_what_cannot_be_is_refused(decoder, encoder, tokenizer):
    with pytest.raises(UsageError, match="no zero-shot likelihood"):
        language(encoder(), tokenizer, tuned="zero-shot")
    with pytest.raises(UsageError, match="would train nothing"):
        language(decoder("gpt2")[1], tokenizer, tuned="head")
    with pytest.raises(UsageError, match="this backbone reads 128"):
        language(decoder("gpt2")[1], tokenizer, tuned="prompt", max_source=120)


@pytest.mark.parametrize("reading", ["prefix", "causal"])
def test_long_sources_lose_their_beginning_and_long_targets_their_end(tokenizer, reading):
    rows = Rows(tokenizer, reading=reading, max_source=3, max_target=6)
    (row,) = rows.rows("a", ["the old drum and the new bell"], ["they chose it because"], ["the tone good and warm"])
    assert tokenizer.decode(row.source) == "the new bell"
    assert tokenizer.decode(row.prefix) == "they chose it because"
    assert tokenizer.decode(row.target) == "the tone"
    assert rows.length(row) == rows.pack([row]).labels.shape[1]
    assert (rows.pack([row]).labels >= 0).sum() == len(row.target) + 1


@pytest.mark.parametrize("reading", ["prefix", "causal"])
def test_parts_that_are_missing_leave_the_others_whole(tokenizer, reading):
    rows = Rows(tokenizer, reading=reading, max_source=8, max_target=8)
    (row,) = rows.rows("a", [""], [""], ["the tone"])
    assert (row.source, row.prefix, tokenizer.decode(row.target)) == ([], [], "the tone")
    (row,) = rows.rows("a", ["red drum"], [""], [""])
    assert (tokenizer.decode(row.source), row.prefix, row.target) == ("red drum", [], [])
