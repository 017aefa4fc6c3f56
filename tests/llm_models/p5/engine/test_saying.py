"""Stars, clicks and texts against Hugging Face's T5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.models.world import small_world
from llm_models.p5.settings import P5Settings

TASKS = ("sequential", "direct", "rating", "click", "preference", "explanation", "feature-explanation", "headline")


@pytest.mark.parametrize(("task", "prompt"), [("rating", None), ("rating", "1-10"), ("preference", None)])
def test_stars_are_expected_over_the_likelihoods_of_writing_each(make, ask, task: str, prompt: str | None) -> None:
    engine, world = make(prompt=prompt), small_world()
    reference, requests = ask.HuggingFace(engine), ask.few(world.requests(task))
    said = engine.rate(requests)
    assert said.dtype == np.float32
    stars = {star: engine.writer.tokenizer.word(f"{star}") for star in (1, 2, 3, 4, 5)}
    for prompt_, value in zip(ask.prompts_of(engine, requests), said, strict=True):
        chances = np.exp([reference.likelihood(prompt_, tokens) for tokens in stars.values()])
        assert value == pytest.approx(float(chances @ list(stars) / chances.sum()), abs=1e-4)


def test_a_click_is_the_chance_of_like(make, ask) -> None:
    engine, world = make(), small_world()
    reference, requests = ask.HuggingFace(engine), ask.few(world.requests("click"))
    for prompt, value in zip(ask.prompts_of(engine, requests), engine.rate(requests), strict=True):
        like, dislike = (
            np.exp(reference.likelihood(prompt, engine.writer.tokenizer.word(word))) for word in ("like", "dislike")
        )
        assert value == pytest.approx(like / (like + dislike), abs=1e-5)


@pytest.mark.parametrize("task", ["explanation", "feature-explanation", "rated-explanation", "headline"])
@pytest.mark.parametrize(("beams", "shortest", "longest"), [(1, 1, 10), (3, 4, 12)])
def test_texts_are_those_of_hugging_face(make, ask, task: str, beams: int, shortest: int, longest: int) -> None:
    engine = make(text_beams=beams, shortest_text=shortest, longest_text=longest)
    reference, requests = ask.HuggingFace(engine), ask.few(small_world().requests(task))
    how = {"num_beams": beams, "min_new_tokens": shortest, "max_new_tokens": longest}
    expected = [reference.said(reference.text(prompt, **how)) for prompt in ask.prompts_of(engine, requests)]
    assert engine.write(requests) == expected
    assert len(set(expected)) > 1


def test_a_sentence_is_what_follows_its_stars(make, ask, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, requests = make(prompt="3-8"), ask.few(small_world().requests("explanation"), 3)
    said = ["4 , good strings , loud", "no stars at all", "5 ,"]
    monkeypatch.setattr(engine._speaker, "texts", lambda prompts, **how: said)
    assert engine.write(requests) == ["good strings , loud", "no stars at all", ""]


def test_stars_read_greedily_are_numbers_or_nothing(make, ask, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = ask.few(small_world().requests("rating"))
    said = ["4", "5", "five", "", "9", "2.5"]
    for quirks, five in (((), 5.0), (("dropped-five",), np.nan)):
        engine = make(stars="greedy", quirks=quirks)
        monkeypatch.setattr(engine._speaker, "texts", lambda prompts, **how: said)
        np.testing.assert_array_equal(engine.rate(requests), [4, five, np.nan, np.nan, np.nan, 2.5])


def test_greedy_stars_are_the_text_of_hugging_face(make, ask) -> None:
    engine = make(stars="greedy")
    reference, requests = ask.HuggingFace(engine), ask.few(small_world().requests("rating"))
    for prompt, value in zip(ask.prompts_of(engine, requests), engine.rate(requests), strict=True):
        text = reference.said(reference.text(prompt, max_new_tokens=8))
        assert (f"{value:g}" if value == value else None) == (text if text in {"1", "2", "3", "4", "5"} else None)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("changes", [{}, {"text_beams": 2, "sequential": "yes-no", "direct": "yes-no"}])
def test_neither_order_nor_batches_matter(make, ask, monkeypatch: pytest.MonkeyPatch, task: str, changes) -> None:
    from llm_models.p5 import engine as of_engine
    from llm_models.p5 import speaking

    requests = ask.few(small_world().requests(task), 10)

    def answers(rows: np.ndarray) -> list[tuple[list[object], np.ndarray]]:
        engine, asked = make(**changes), requests.take(rows)
        if task in {"sequential", "direct"}:
            lists = engine.rank(asked, 4, ask.nothing(asked))
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


def test_the_network_is_left_as_it_was(make, ask) -> None:
    engine, requests = make(quirks=("no-whole-words",)), ask.few(small_world().requests("rating"), 2)
    engine.network.train()
    engine.rate(requests)
    assert engine.network.training
    assert engine.network.whole_words == "always"
    engine.network.eval()


def test_what_cannot_be_spelled_is_left_out_as_hugging_face_does(
    make, ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch
    from transformers import T5Tokenizer

    from llm_models.p5 import speaking

    engine, requests = make(), ask.few(small_world().requests("headline"), 2)
    tokenizer = engine.writer.tokenizer
    (unknown,) = tokenizer.word("\N{SNOWMAN}")[1:]
    plot, voice = tokenizer.word("plot"), tokenizer.word("voice")
    said = [[unknown, *plot, unknown, unknown, *voice, 1, 0], [*plot[:1], unknown, *plot[1:], *voice, 1, 0, 0]]
    width = max(map(len, said))
    rows = torch.tensor([one + [0] * (width - len(one)) for one in said])
    monkeypatch.setattr(speaking, "write", lambda step, **how: rows)
    (tmp_path / "spiece.model").write_bytes(tokenizer.model)
    reference = T5Tokenizer.from_pretrained(tmp_path)
    assert "<unk>" in reference.decode(said[0])
    assert sorted(engine.write(requests)) == sorted(reference.decode(one, skip_special_tokens=True) for one in said)


@pytest.mark.parametrize("task", [*TASKS, "rated-explanation"])
def test_what_cannot_matter_to_a_task_does_not(make, ask, task: str) -> None:
    changes = {
        "stars": "greedy", "decode": "exhaustive", "beams": 3, "text_beams": 3, "shortest_text": 4, "longest_text": 12,
        "sequential": "yes-no",
    }  # fmt: skip
    assert set(P5Settings.asking_of) == set(changes)
    idle = {name: value for name, value in changes.items() if task not in P5Settings.asking_of[name]}
    assert P5Settings(**idle).putting(task) == P5Settings()
    requests = ask.few(small_world().requests(task))
    said = []
    for engine in (make(), make(**idle)):
        if task in {"sequential", "direct"}:
            lists = engine.rank(requests, 4, ask.nothing(requests))
            said.append((lists.items.values.tolist(), lists.scores.tolist()))
        elif task in {"rating", "click", "preference"}:
            said.append(engine.rate(requests).tolist())
        else:
            said.append(engine.write(requests))
    assert said[0] == said[1]
