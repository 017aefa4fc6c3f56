"""Answers of P5 against Hugging Face's T5 with the same weights and the same prompts."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from bench.models import Ragged, Requests
from bench.models.world import SmallWorld, small_world
from bench.tasks.requests import Catalogue
from llm_models.p5.asking import collection
from llm_models.p5.settings import P5Settings, Sampling

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

PAD, END = 0, 1
LISTS = Sampling(sequential=(1, 1, 1), direct=(1, 1, 1), rating=1, explanation=1, review=1)
SIZE = {"d_model": 16, "d_ff": 32, "d_kv": 8, "heads": 2, "max_history": 6, "longest_text": 10}
TASKS = ("sequential", "direct", "rating", "click", "preference", "explanation", "feature-explanation", "headline")


@pytest.fixture(scope="module")
def parts():
    """World, writer and network, whose answers differ from prompt to prompt by more than rounding."""
    from llm_models.p5.artefacts import make_indexes, scratch_network, stars_of
    from llm_models.p5.corpus import make_tokenizer
    from llm_models.p5.writer import World, Writer, available_fields

    torch.manual_seed(1)
    settings = P5Settings(**SIZE)
    training = small_world().training()
    users, items = make_indexes(settings, training, seed=0, device="cpu")
    world = World.of(training, users, items)
    tokenizer = make_tokenizer(settings, collection("amazon", True), training, world)
    network = scratch_network(settings, rows=len(tokenizer)).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "layer_norm" not in name:
                weight.mul_(3.5)
    return Writer(tokenizer, world), network, available_fields(world, training), stars_of(training)


@pytest.fixture
def make(parts):
    """Make an engine with these settings."""
    from llm_models.p5.engine import Engine

    writer, network, fields, stars = parts

    def make_engine(**changes) -> Engine:
        settings = P5Settings(**SIZE | changes)
        prompts = collection(settings.prompts, settings.extra).usable(fields)
        return Engine(network, writer, prompts, settings, stars)

    return make_engine


class HuggingFace:
    """The same T5 by Hugging Face's own forward pass and generation, one prompt at a time."""

    def __init__(self, engine, *, whole_words: bool = True) -> None:
        self.writer, self.network, self.whole_words = engine.writer, engine.network, whole_words

    def _read(self, prompt: str) -> dict[str, torch.Tensor]:
        pieces, words = self.writer.tokenizer.encode(prompt)
        embedded = self.network.t5.shared(torch.tensor([pieces]))
        if self.whole_words:
            embedded = embedded + self.network.whole_word(torch.tensor([words]))
        return {"inputs_embeds": embedded, "attention_mask": torch.ones(1, len(pieces), dtype=torch.int64)}

    @torch.no_grad()
    def likelihood(self, prompt: str, tokens: list[int]) -> float:
        """Sum of the log-probabilities of an answer's tokens."""
        labels = torch.tensor([tokens])
        logits = self.network.t5(**self._read(prompt), labels=labels).logits
        return float(logits.log_softmax(-1)[0].gather(1, labels[0][:, None]).sum())

    @torch.no_grad()
    def logits(self, prompt: str, written: list[int]) -> torch.Tensor:
        """Logits of the token that follows the start mark and ``written``, shape (vocabulary,)."""
        start = torch.tensor([[PAD, *written]])
        return self.network.t5(**self._read(prompt), decoder_input_ids=start).logits[0, -1]

    @torch.no_grad()
    def text(self, prompt: str, **how) -> list[int]:
        """Generated tokens up to the end mark."""
        out = self.network.t5.generate(**self._read(prompt), do_sample=False, pad_token_id=PAD, eos_token_id=END, **how)
        tokens = out[0, 1:].tolist()
        return tokens[: tokens.index(END)] if END in tokens else tokens

    def said(self, tokens: list[int]) -> str:
        """Pieces as text, special ones left out."""
        tokenizer = self.writer.tokenizer
        shown = tokenizer.pieces(token for token in tokens if END < token < len(tokenizer))
        return " ".join("".join(shown).replace("▁", " ").split())


def prompts_of(engine, requests: Requests) -> list[str]:
    """What is asked, in the order of the requests; all of them must be."""
    phrasing, chosen = engine.phrase(requests)
    asked = {int(row): phrasing.write(template, int(row)) for template, rows in chosen for row in rows}
    return [asked[row] for row in range(len(requests))]


def place_of(phrasing, code: int) -> int:
    """Position of an item in the world of some requests."""
    return int(phrasing.known.writer.world.items.rows([code])[0])


def few(requests: Requests, count: int = 6) -> Requests:
    return requests.take(np.arange(count))


def drawn(requests: Requests, world: SmallWorld, size: int = 12) -> Requests:
    """With a draw of candidates for each request."""
    generator = np.random.default_rng(0)
    rows = [np.sort(generator.choice(world.training().item, size, replace=False)) for _ in range(len(requests))]
    return dataclasses.replace(requests, candidates=Ragged.from_lists(rows))


def nothing(requests: Requests) -> Ragged:
    return Ragged.empty(len(requests))


@pytest.mark.parametrize("task", ["sequential", "direct"])
def test_a_candidate_is_scored_by_the_likelihood_of_its_id(make, task: str) -> None:
    engine, world = make(), small_world()
    reference, requests = HuggingFace(engine), drawn(few(world.requests(task)), world)
    lists = engine.rank(requests, 12, nothing(requests))
    words, items = engine.writer.world.items.word, engine.writer.world.items
    for prompt, listed, candidates, start in zip(
        prompts_of(engine, requests), lists.items, requests.candidates, lists.items.offsets, strict=False
    ):
        likelihood = {
            int(code): reference.likelihood(prompt, engine.writer.tokenizer.word(words[int(items.rows([code])[0])]))
            for code in candidates
        }
        assert listed.tolist() == sorted(likelihood, key=likelihood.get, reverse=True)
        expected = sorted(likelihood.values(), reverse=True)
        np.testing.assert_allclose(lists.scores[start : start + 12], expected, atol=1e-4)


def test_exhaustive_decoding_scores_the_whole_catalogue(make) -> None:
    engine, world = make(decode="exhaustive"), small_world()
    reference, requests = HuggingFace(engine), few(world.requests())
    exclude = requests.history
    lists = engine.rank(requests, 30, exclude)
    items = engine.writer.world.items
    for prompt, listed, barred in zip(prompts_of(engine, requests), lists.items, exclude, strict=True):
        left = np.setdiff1d(items.code, barred)
        scores = [reference.likelihood(prompt, engine.writer.tokenizer.word(items.word[r])) for r in items.rows(left)]
        assert listed.tolist() == left[np.argsort(scores)[::-1]].tolist()


def test_beams_are_an_approximation_of_it(make) -> None:
    world = small_world()
    requests = world.requests()
    wide, exact, narrow = (
        make(**how).rank(requests, 5, requests.history)
        for how in ({"beams": 40}, {"decode": "exhaustive"}, {"beams": 5})
    )
    np.testing.assert_array_equal(wide.items.values, exact.items.values)
    best, found = exact.scores.reshape(-1, 5), narrow.scores.reshape(-1, 5)
    assert (found <= best + 1e-4).all()
    assert (found[:, -1] < best[:, -1] - 1e-3).any()


@pytest.mark.parametrize(("task", "prompt"), [("direct", "5-1"), ("direct", "5-4"), ("sequential", "2-12")])
def test_yes_is_compared_with_no_at_the_first_step(make, task: str, prompt: str) -> None:
    engine, world = make(prompt=prompt), small_world()
    reference, requests = HuggingFace(engine), few(world.requests(task), 3)
    lists = engine.rank(requests, 40, nothing(requests))
    yes, no = (engine.writer.tokenizer.word(word) for word in ("yes", "no"))
    assert len(yes) == len(no) == 1
    phrasing, [(template, _)] = engine.phrase(requests)
    served = world.items["item"].to_list() if "title" in template.fields else world.training().item.tolist()
    assert all(sorted(listed.tolist()) == served for listed in lists.items)
    for row, listed in enumerate(lists.items):
        for code, score in zip(listed, lists.scores[lists.items.offsets[row] :], strict=False):
            asked = phrasing.write(template, row, place_of(phrasing, code))
            pair = reference.logits(asked, [])[[yes[0], no[0]]].softmax(0)
            assert float(np.exp(score)) == pytest.approx(float(pair[0]), abs=1e-5)
    assert (np.diff(lists.scores.reshape(3, -1)) <= 0).all()


def test_the_second_step_is_a_quirk(make) -> None:
    engine, world = make(direct="yes-no", quirks=("second-step",)), small_world()
    reference, requests = HuggingFace(engine), few(world.requests("direct"), 2)
    lists = engine.rank(requests, 4, nothing(requests))
    yes, no = (engine.writer.tokenizer.word(word)[0] for word in ("yes", "no"))
    phrasing, [(template, _)] = engine.phrase(requests)
    for row, listed in enumerate(lists.items):
        for code, score in zip(listed, lists.scores[lists.items.offsets[row] :], strict=False):
            asked = phrasing.write(template, row, place_of(phrasing, code))
            begun = int(reference.logits(asked, []).argmax())
            pair = reference.logits(asked, [begun])[[yes, no]].softmax(0)
            assert float(np.exp(score)) == pytest.approx(float(pair[0]), abs=1e-5)


@pytest.mark.parametrize(("task", "prompt"), [("rating", None), ("rating", "1-10"), ("preference", None)])
def test_stars_are_expected_over_the_likelihoods_of_writing_each(make, task: str, prompt: str | None) -> None:
    engine, world = make(prompt=prompt), small_world()
    reference, requests = HuggingFace(engine), few(world.requests(task))
    said = engine.rate(requests)
    assert said.dtype == np.float32
    stars = {star: engine.writer.tokenizer.word(f"{star}") for star in (1, 2, 3, 4, 5)}
    for prompt_, value in zip(prompts_of(engine, requests), said, strict=True):
        chances = np.exp([reference.likelihood(prompt_, tokens) for tokens in stars.values()])
        assert value == pytest.approx(float(chances @ list(stars) / chances.sum()), abs=1e-4)


def test_a_click_is_the_chance_of_like(make) -> None:
    engine, world = make(), small_world()
    reference, requests = HuggingFace(engine), few(world.requests("click"))
    for prompt, value in zip(prompts_of(engine, requests), engine.rate(requests), strict=True):
        like, dislike = (
            np.exp(reference.likelihood(prompt, engine.writer.tokenizer.word(word))) for word in ("like", "dislike")
        )
        assert value == pytest.approx(like / (like + dislike), abs=1e-5)


@pytest.mark.parametrize("task", ["explanation", "feature-explanation", "rated-explanation", "headline"])
@pytest.mark.parametrize(("beams", "shortest", "longest"), [(1, 1, 10), (3, 4, 12)])
def test_texts_are_those_of_hugging_face(make, task: str, beams: int, shortest: int, longest: int) -> None:
    engine = make(text_beams=beams, shortest_text=shortest, longest_text=longest)
    reference, requests = HuggingFace(engine), few(small_world().requests(task))
    how = {"num_beams": beams, "min_new_tokens": shortest, "max_new_tokens": longest}
    expected = [reference.said(reference.text(prompt, **how)) for prompt in prompts_of(engine, requests)]
    assert engine.write(requests) == expected
    assert len(set(expected)) > 1


def test_a_sentence_is_what_follows_its_stars(make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, requests = make(prompt="3-8"), few(small_world().requests("explanation"), 3)
    said = ["4 , good strings , loud", "no stars at all", "5 ,"]
    monkeypatch.setattr(engine._speaker, "texts", lambda prompts, **how: said)
    assert engine.write(requests) == ["good strings , loud", "no stars at all", ""]


def test_stars_read_greedily_are_numbers_or_nothing(make, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = few(small_world().requests("rating"))
    said = ["4", "5", "five", "", "9", "2.5"]
    for quirks, five in (((), 5.0), (("dropped-five",), np.nan)):
        engine = make(stars="greedy", quirks=quirks)
        monkeypatch.setattr(engine._speaker, "texts", lambda prompts, **how: said)
        np.testing.assert_array_equal(engine.rate(requests), [4, five, np.nan, np.nan, np.nan, 2.5])


def test_greedy_stars_are_the_text_of_hugging_face(make) -> None:
    engine = make(stars="greedy")
    reference, requests = HuggingFace(engine), few(small_world().requests("rating"))
    for prompt, value in zip(prompts_of(engine, requests), engine.rate(requests), strict=True):
        text = reference.said(reference.text(prompt, max_new_tokens=8))
        assert (f"{value:g}" if value == value else None) == (text if text in {"1", "2", "3", "4", "5"} else None)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("changes", [{}, {"text_beams": 2, "sequential": "yes-no", "direct": "yes-no"}])
def test_neither_order_nor_batches_matter(make, monkeypatch: pytest.MonkeyPatch, task: str, changes) -> None:
    from llm_models.p5 import engine as of_engine
    from llm_models.p5 import speaking

    requests = few(small_world().requests(task), 10)

    def answers(rows: np.ndarray) -> list[tuple[list[object], np.ndarray]]:
        engine, asked = make(**changes), requests.take(rows)
        if task in {"sequential", "direct"}:
            lists = engine.rank(asked, 4, nothing(asked))
            scores = np.split(lists.scores, lists.items.offsets[1:-1])
            return [(items.tolist(), own) for items, own in zip(lists.items, scores, strict=True)]
        if task in {"rating", "click", "preference"}:
            return [([], value) for value in engine.rate(asked)]
        return [([text], np.empty(0)) for text in engine.write(asked)]

    def same(left: list[tuple[list[object], np.ndarray]], right: list[tuple[list[object], np.ndarray]]) -> None:
        assert [said for said, _ in left] == [said for said, _ in right]
        np.testing.assert_allclose([number for _, number in left], [number for _, number in right], atol=1e-4)

    order = np.random.default_rng(0).permutation(10)
    whole = answers(np.arange(10))
    same(answers(order), [whole[row] for row in order])
    monkeypatch.setattr(speaking, "CHARACTERS", {"cpu": 150})
    monkeypatch.setattr(speaking, "LOGITS", {"cpu": 4000})
    monkeypatch.setattr(of_engine, "PAIRS", 50)
    same(answers(np.arange(10)), whole)


def test_the_network_is_left_as_it_was(make) -> None:
    engine, requests = make(quirks=("no-whole-words",)), few(small_world().requests("rating"), 2)
    engine.network.train()
    engine.rate(requests)
    assert engine.network.training
    assert engine.network.whole_words == "always"
    engine.network.eval()


def test_whole_words_are_left_out_by_a_quirk_alone(make) -> None:
    requests = few(small_world().requests("rating"))
    usual, quirk = make(), make(quirks=("no-whole-words",))
    reference = HuggingFace(quirk, whole_words=False)
    stars = {star: quirk.writer.tokenizer.word(f"{star}") for star in (1, 2, 3, 4, 5)}
    for prompt, value in zip(prompts_of(quirk, requests), quirk.rate(requests), strict=True):
        chances = np.exp([reference.likelihood(prompt, tokens) for tokens in stars.values()])
        assert value == pytest.approx(float(chances @ list(stars) / chances.sum()), abs=1e-4)
    assert np.abs(usual.rate(requests) - quirk.rate(requests)).max() > 1e-2


def test_beams_without_a_mask_lose_places_to_what_was_met(make) -> None:
    world = small_world()
    requests = world.requests()
    free = make().rank(requests, 8, nothing(requests))
    lists = make(quirks=("unmasked-beams",)).rank(requests, 8, requests.history)
    for found, every, barred in zip(lists.items, free.items, requests.history, strict=True):
        assert found.tolist() == [code for code in every.tolist() if code not in barred]
    assert (lists.items.lengths < 8).any()
    assert (make().rank(requests, 8, requests.history).items.lengths == 8).all()


@pytest.mark.parametrize("task", ["preference", "headline", "rating"])
def test_the_original_scores_the_first_rows_of_a_set(make, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    from llm_models.p5 import engine as of_engine

    monkeypatch.setattr(of_engine, "ORIGINAL_ROWS", 7)
    requests = small_world().requests(task)
    engine = make(quirks=("first-816-rows",))
    answered = []
    # A set comes in blocks; another set begins anew.
    for block in (requests.take(np.arange(5)), requests.take(np.arange(5, 10)), small_world().requests(task)):
        said = engine.write(block) if task == "headline" else engine.rate(block)
        answered += [text is not None and text == text for text in said]
    limited = [True] * 7 + [False] * 3 + [True] * 7 + [False] * 33
    assert answered == (limited if task != "rating" else [True] * 50)


def test_candidates_are_listed_where_training_lists_them(make) -> None:
    world = small_world()
    requests = drawn(few(world.requests("direct")), world)
    [plain] = [template.id for template, _ in make().phrase(requests)[1]]
    phrasing, [(template, _)] = make(sampling=LISTS).phrase(requests)
    assert (plain, template.id) == ("5-n1", "5-5")
    index = phrasing.known.writer.world.items
    shown = [word for word in phrasing.write(template, 0).split() if word in index.code_of]
    assert [index.code_of[word] for word in shown] == requests.candidates[0].tolist()
    # Where they would not fit, a prompt that lists none asks.
    short = make(sampling=LISTS)
    short.writer.max_input, usual = 40, short.writer.max_input
    try:
        assert [template.id for template, _ in short.phrase(requests)[1]] == ["5-n1"]
    finally:
        short.writer.max_input = usual


def test_large_catalogues_are_not_asked_about_item_by_item(make) -> None:
    world = small_world()
    requests = few(world.requests("direct"))
    engine = make(direct="yes-no", yes_no_items=35)
    lists = engine.rank(requests, 5, nothing(requests))
    assert not lists.served.any()
    assert not len(lists.items.values)
    sampled = drawn(requests, world)
    lists = engine.rank(sampled, 12, nothing(requests))
    assert lists.served.all()
    for found, candidates in zip(lists.items, sampled.candidates, strict=True):
        assert sorted(found.tolist()) == candidates.tolist()


def test_who_and_what_is_new(make) -> None:
    world = small_world()
    engine = make()
    for task, prompt in {"sequential": "2-n1", "rating": "1-n1", "explanation": "3-n1", "headline": "4-n1"}.items():
        [(template, rows)] = engine.phrase(world.requests(task, cold_users=True))[1]
        assert (template.id, len(rows)) == (prompt, len(world.cold_users))
    assert not engine.phrase(world.requests("direct", cold_users=True))[1]
    assert not engine.phrase(world.requests("rating", cold_items=True))[1]
    # Nobody is named without the extra prompts, and then nobody new is served.
    assert not make(extra=False).phrase(world.requests("sequential", cold_users=True))[1]

    title = make(prompt="1-2").phrase(few(world.requests("rating", cold_items=True), 1))
    text = title[0].write(title[1][0][0], 0)
    assert f"The {world.genre[int(world.cold[0])]} story part {world.cold[0]}" in text


def test_items_without_a_title_are_asked_about_by_id(make) -> None:
    world = small_world()
    requests = world.requests("rating")
    blank = world.items.with_columns(pl.lit(None, pl.String).alias("title"))
    bare = dataclasses.replace(
        requests,
        item=np.resize(world.cold, len(requests)).astype(np.int32),
        text=blank,
        catalogue=Catalogue(requests.catalogue.items, blank),
    )
    assert not make(prompt="1-2").phrase(bare)[1]
    assert make(prompt="1-2").phrase(dataclasses.replace(bare, item=requests.item))[1]


def test_histories_show_what_has_an_id(make) -> None:
    world = small_world()
    cold, warm = world.cold[:1].tolist(), world.training().item[:9].tolist()
    requests = dataclasses.replace(
        few(world.requests(), 3), history=Ragged.from_lists([cold, [*warm, *cold], [*cold, *warm[:2]]])
    )
    engine = make()
    phrasing, [(template, rows)] = engine.phrase(requests)
    assert rows.tolist() == [1, 2]
    index = engine.writer.world.items
    for row, expected in ((1, warm[-6:]), (2, warm[:2])):
        words = [word for word in phrasing.write(template, row).split() if word in index.code_of]
        assert [index.code_of[word] for word in words] == expected
    lists = engine.rank(requests, 5, nothing(requests))
    assert lists.served.tolist() == [False, True, True]
    # By title the new one is shown too.
    phrasing, [(template, rows)] = make(prompt="2-n3").phrase(requests)
    assert rows.tolist() == [0, 1, 2]
    assert f"story part {cold[0]}" in phrasing.write(template, 0, 0)


def test_every_prompt_of_every_task_can_ask(make) -> None:
    from llm_models.p5.asking import tasks_of

    world = small_world()
    asked = [
        (task, template.id)
        for template in collection("amazon", True).templates
        for task in tasks_of(template)
        if template.family != "cross-domain" and "candidates" not in template.fields
    ]
    assert len(asked) > 60
    for task, prompt in asked:
        chosen = make(prompt=prompt).phrase(few(world.requests(task)))[1]
        assert [(template.id, len(rows)) for template, rows in chosen] == [(prompt, 6)]
