"""Which prompt asks a request, and what it shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from bench.models import Ragged
from bench.models.world import small_world
from bench.tasks.requests import Catalogue
from llm_models.p5.asking import collection


def test_candidates_are_listed_where_training_lists_them(make, ask) -> None:
    world = small_world()
    requests = ask.drawn(ask.few(world.requests("direct")), world)
    [plain] = [template.id for template, _ in make().phrase(requests)[1]]
    phrasing, [(template, _)] = make(sampling=ask.LISTS).phrase(requests)
    assert (plain, template.id) == ("5-n1", "5-5")
    index = phrasing.known.writer.world.items
    shown = [word for word in phrasing.write(template, 0).split() if word in index.code_of]
    assert [index.code_of[word] for word in shown] == requests.candidates[0].tolist()
    # Where they would not fit, a prompt that lists none asks.
    short = make(sampling=ask.LISTS)
    short.writer.max_input, usual = 40, short.writer.max_input
    try:
        assert [template.id for template, _ in short.phrase(requests)[1]] == ["5-n1"]
    finally:
        short.writer.max_input = usual


def test_who_and_what_is_new(make, ask) -> None:
    world = small_world()
    engine = make()
    for task, prompt in {"sequential": "2-n1", "rating": "1-n1", "explanation": "3-n1", "headline": "4-n1"}.items():
        [(template, rows)] = engine.phrase(world.requests(task, cold_users=True))[1]
        assert (template.id, len(rows)) == (prompt, len(world.cold_users))
    assert not engine.phrase(world.requests("direct", cold_users=True))[1]
    assert not engine.phrase(world.requests("rating", cold_items=True))[1]
    # Nobody is named without the extra prompts, and then nobody new is served.
    assert not make(extra=False).phrase(world.requests("sequential", cold_users=True))[1]

    title = make(prompt="1-2").phrase(ask.few(world.requests("rating", cold_items=True), 1))
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


def test_histories_show_what_has_an_id(make, ask) -> None:
    world = small_world()
    cold, warm = world.cold[:1].tolist(), world.training().item[:9].tolist()
    requests = dataclasses.replace(
        ask.few(world.requests(), 3), history=Ragged.from_lists([cold, [*warm, *cold], [*cold, *warm[:2]]])
    )
    engine = make()
    phrasing, [(template, rows)] = engine.phrase(requests)
    assert rows.tolist() == [1, 2]
    index = engine.writer.world.items
    for row, expected in ((1, warm[-6:]), (2, warm[:2])):
        words = [word for word in phrasing.write(template, row).split() if word in index.code_of]
        assert [index.code_of[word] for word in words] == expected
    lists = engine.rank(requests, 5, ask.nothing(requests))
    assert lists.served.tolist() == [False, True, True]
    # By title the new one is shown too.
    phrasing, [(template, rows)] = make(prompt="2-n3").phrase(requests)
    assert rows.tolist() == [0, 1, 2]
    assert f"story part {cold[0]}" in phrasing.write(template, 0, 0)


def test_every_prompt_of_every_task_can_ask(make, ask) -> None:
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
        chosen = make(prompt=prompt).phrase(ask.few(world.requests(task)))[1]
        assert [(template.id, len(rows)) for template, rows in chosen] == [(prompt, 6)]


def test_no_stars_at_all_are_stars_too(make, ask) -> None:
    requests = ask.few(small_world().requests("rated-explanation"), 1)
    nothing = dataclasses.replace(requests, given=requests.given.with_columns(pl.lit(0.0, pl.Float32).alias("rating")))
    phrasing, [(template, _)] = make(prompt="3-3").phrase(nothing)
    assert " 0 of 5 stars" in phrasing.write(template, 0)


@pytest.mark.parametrize("unknown", [None, np.nan])
def test_a_request_without_stars_is_not_asked_with_them(make, ask, unknown: float | None) -> None:
    requests = ask.few(small_world().requests("rated-explanation"), 2)
    stars = pl.Series("rating", [unknown, 2.0], dtype=pl.Float32)
    some = dataclasses.replace(requests, given=requests.given.with_columns(stars))
    phrasing, [(template, rows)] = make(prompt="3-3").phrase(some)
    assert rows.tolist() == [1]
    assert " 2 of 5 stars" in phrasing.write(template, 1)
