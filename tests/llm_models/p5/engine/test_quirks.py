"""What the original does when it answers, one switch each."""

from __future__ import annotations

import numpy as np
import pytest

from bench.models.world import small_world


def test_the_second_step_is_a_quirk(make, ask) -> None:
    engine, world = make(direct="yes-no", quirks=("second-step",)), small_world()
    reference, requests = ask.HuggingFace(engine), ask.few(world.requests("direct"), 2)
    lists = engine.rank(requests, 4, ask.nothing(requests))
    yes, no = (engine.writer.tokenizer.word(word)[0] for word in ("yes", "no"))
    phrasing, [(template, _)] = engine.phrase(requests)
    for row, listed in enumerate(lists.items):
        for code, score in zip(listed, lists.scores[lists.items.offsets[row] :], strict=False):
            asked = phrasing.write(template, row, ask.place_of(phrasing, code))
            begun = int(reference.logits(asked, []).argmax())
            pair = reference.logits(asked, [begun])[[yes, no]].softmax(0)
            assert float(np.exp(score)) == pytest.approx(float(pair[0]), abs=1e-5)


def test_whole_words_are_left_out_by_a_quirk_alone(make, ask) -> None:
    requests = ask.few(small_world().requests("rating"))
    usual, quirk = make(), make(quirks=("no-whole-words",))
    reference = ask.HuggingFace(quirk, whole_words=False)
    stars = {star: quirk.writer.tokenizer.word(f"{star}") for star in (1, 2, 3, 4, 5)}
    for prompt, value in zip(ask.prompts_of(quirk, requests), quirk.rate(requests), strict=True):
        chances = np.exp([reference.likelihood(prompt, tokens) for tokens in stars.values()])
        assert value == pytest.approx(float(chances @ list(stars) / chances.sum()), abs=1e-4)
    assert np.abs(usual.rate(requests) - quirk.rate(requests)).max() > 1e-2


def test_beams_without_a_mask_lose_places_to_what_was_met(make, ask) -> None:
    world = small_world()
    requests = world.requests()
    free = make().rank(requests, 8, ask.nothing(requests))
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
