"""Lists against Hugging Face's T5: ids by their likelihood, yes against no."""

from __future__ import annotations

import numpy as np
import pytest

from bench.models.world import small_world


@pytest.mark.parametrize("task", ["sequential", "direct"])
def test_a_candidate_is_scored_by_the_likelihood_of_its_id(make, ask, task: str) -> None:
    engine, world = make(), small_world()
    reference, requests = ask.HuggingFace(engine), ask.drawn(ask.few(world.requests(task)), world)
    lists = engine.rank(requests, 12, ask.nothing(requests))
    words, items = engine.writer.world.items.word, engine.writer.world.items
    for prompt, listed, candidates, start in zip(
        ask.prompts_of(engine, requests), lists.items, requests.candidates, lists.items.offsets, strict=False
    ):
        likelihood = {
            int(code): reference.likelihood(prompt, engine.writer.tokenizer.word(words[int(items.rows([code])[0])]))
            for code in candidates
        }
        assert listed.tolist() == sorted(likelihood, key=likelihood.get, reverse=True)
        expected = sorted(likelihood.values(), reverse=True)
        np.testing.assert_allclose(lists.scores[start : start + 12], expected, atol=1e-4)


def test_exhaustive_decoding_scores_the_whole_catalogue(make, ask) -> None:
    engine, world = make(decode="exhaustive"), small_world()
    reference, requests = ask.HuggingFace(engine), ask.few(world.requests())
    exclude = requests.history
    lists = engine.rank(requests, 30, exclude)
    items = engine.writer.world.items
    for prompt, listed, barred in zip(ask.prompts_of(engine, requests), lists.items, exclude, strict=True):
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
def test_yes_is_compared_with_no_at_the_first_step(make, ask, task: str, prompt: str) -> None:
    engine, world = make(prompt=prompt), small_world()
    reference, requests = ask.HuggingFace(engine), ask.few(world.requests(task), 3)
    lists = engine.rank(requests, 40, ask.nothing(requests))
    yes, no = (engine.writer.tokenizer.word(word) for word in ("yes", "no"))
    assert len(yes) == len(no) == 1
    phrasing, [(template, _)] = engine.phrase(requests)
    served = world.items["item"].to_list() if "title" in template.fields else world.training().item.tolist()
    assert all(sorted(listed.tolist()) == served for listed in lists.items)
    for row, listed in enumerate(lists.items):
        for code, score in zip(listed, lists.scores[lists.items.offsets[row] :], strict=False):
            asked = phrasing.write(template, row, ask.place_of(phrasing, code))
            pair = reference.logits(asked, [])[[yes[0], no[0]]].softmax(0)
            assert float(np.exp(score)) == pytest.approx(float(pair[0]), abs=1e-5)
    assert (np.diff(lists.scores.reshape(3, -1)) <= 0).all()


def test_large_catalogues_are_not_asked_about_item_by_item(make, ask) -> None:
    world = small_world()
    requests = ask.few(world.requests("direct"))
    engine = make(direct="yes-no", yes_no_items=35)
    lists = engine.rank(requests, 5, ask.nothing(requests))
    assert not lists.served.any()
    assert not len(lists.items.values)
    sampled = ask.drawn(requests, world)
    lists = engine.rank(sampled, 12, ask.nothing(requests))
    assert lists.served.all()
    for found, candidates in zip(lists.items, sampled.candidates, strict=True):
        assert sorted(found.tolist()) == candidates.tolist()
