"""Which prompts serve which task, and what follows for what P5 declares."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.runs.plan import put_as
from bench.tasks import TaskName
from llm_models.p5.asking import QUESTIONS, abilities, collection, tasks_of, templates_for
from llm_models.p5.model import P5
from llm_models.p5.settings import P5Settings, Sampling
from llm_models.prompts import Template
from llm_models.prompts.families import FAMILIES

LISTS = Sampling(sequential=(1, 1, 1), direct=(1, 1, 1), rating=1, explanation=1, review=1)


def first(task: TaskName, **settings) -> str | None:
    """The prompt that asks a request which gives all that the task can."""
    asked = P5Settings(**settings)
    found = templates_for(task, collection(asked.prompts, asked.extra), asked)
    return found[0].id if found else None


def able(**settings):
    return abilities(P5Settings(**settings))


@pytest.mark.parametrize(
    ("task", "usual", "held_out"),
    [
        ("sequential", "2-1", "2-13"),
        ("direct", "5-n1", None),
        ("rating", "1-1", "1-10"),
        ("click", "1-4", None),
        ("explanation", "3-1", None),
        ("feature-explanation", "3-9", None),
        ("rated-explanation", "3-11", "3-12"),
        ("headline", "4-1", None),
        ("preference", "4-2", "4-4"),
    ],
)
def test_each_task_is_asked_by_its_family(task: TaskName, usual: str, held_out: str | None) -> None:
    assert first(task) == usual
    assert first(task, prompt="held-out") == held_out
    assert first(task, families=("rating",) if task not in {"rating", "click"} else ("direct",)) is None


def test_a_named_prompt_serves_what_it_can_and_nothing_else() -> None:
    for prompt, tasks in {
        "2-3": {"sequential"},
        "2-11": {"sequential"},
        "5-1": {"direct"},
        "1-4": {"click"},
        "1-3": set(),
        "3-2": set(),
        "3-3": {"rated-explanation"},
        "3-8": {"explanation"},
        "3-p2": {"feature-explanation"},
        "4-4": {"preference"},
        "Z-1": {"click"},
        "Z-2": {"rating"},
    }.items():
        assert able(prompt=prompt).tasks == tasks
    with pytest.raises(UsageError, match=r"unknown prompt of 'amazon' '2-33'.*2-3"):
        able(prompt="2-33")
    with pytest.raises(UsageError, match="stands for several entries"):
        able(prompt="each")


def test_yes_or_no_where_the_settings_say_so() -> None:
    assert first("sequential", sequential="yes-no") == "2-11"
    assert first("direct", direct="yes-no") == "5-1"
    assert first("sequential", direct="yes-no") == "2-1"
    # A named prompt decides for itself.
    assert first("direct", direct="yes-no", prompt="5-n1") == "5-n1"


def test_kinds_that_are_not_trained_on_do_not_ask() -> None:
    assert first("direct", sampling=LISTS) == "5-5"
    assert first("direct", sampling=LISTS, prompt="held-out") == "5-8"
    assert first("direct", sampling=Sampling(direct=(1, 0, 0))) is None
    assert able(sampling=Sampling(rating=1)).tasks == {"rating", "click"}


def test_a_template_serves_one_task() -> None:
    # Whatever a collection holds: a fit report names one task a prompt.
    every = [
        Template("x", family, " ".join(f"{{{name}}}" for name in shown), target, "seen")
        for family, questions in FAMILIES.items()
        for target, question in questions.items()
        for size in range(len(question.fields) + 1)
        for shown in combinations(sorted(question.fields), size)
    ]
    assert {len(tasks_of(template)) for template in every} == {0, 1}
    for name in ("amazon", "yelp", "movielens"):
        served = {task for template in collection(name, True).templates for task in tasks_of(template)}
        lacking = {"yelp": {"headline"}, "movielens": set(QUESTIONS) - {"sequential", "direct", "rating", "click"}}
        assert served == set(QUESTIONS) - lacking.get(name, set())


def test_what_is_declared_follows_the_settings() -> None:
    assert P5.capabilities == P5.capable(P5Settings()) == able()
    assert able().tasks == set(QUESTIONS)
    assert (able().answers_with, able().draws, able().needs_text) == ("lists", True, False)
    assert able(prompts="movielens").tasks == {"sequential", "direct", "rating", "click"}
    assert able(families=("sequential", "review")).tasks == {"sequential", "headline", "preference"}


def test_newcomers_are_served_where_every_task_can_do_without_their_ids() -> None:
    assert able().cold_users == "prompt without the user"
    assert able(extra=False).cold_users is None
    assert able(prompt="2-3").cold_users is None
    assert able(prompt="2-n1").cold_users == "prompt without the user"
    assert able(families=("direct",)).cold_users is None

    assert able().cold_items is None
    assert able(index="collaborative").cold_items is None
    assert able(index="semantic").cold_items == "semantic id"
    assert able(index="semantic").needs_text
    assert able(index="sequential").cold_items == "id at a random place"
    titled = {"direct": "yes-no", "sequential": "yes-no"}
    assert able(families=("sequential", "direct"), **titled).cold_items == "title prompt"
    assert able(families=("direct",)).cold_items is None
    for prompt, how in {"5-4": "title prompt", "5-1": None, "2-n3": "title prompt", "1-2": "title prompt"}.items():
        assert able(prompt=prompt).cold_items == how


def test_each_prompt_becomes_an_entry() -> None:
    each = P5Settings(prompt="each", beams=7)
    found = P5.expand(each, ["sequential", "rating"])
    ids = [*(f"1-{n}" for n in (1, 2, 5, 6, 7)), "1-n1", "1-10", *(f"1-p{n}" for n in (1, 2, 4, 5, 7))]
    ids += [*(f"2-{n}" for n in range(1, 7)), "2-n1", "2-n2", "2-13", *(f"2-p{n}" for n in (1, 2, 4, 5, 7, 9))]
    assert set(found) == {*ids, "Z-2", "Z-3"} | {id_ for id_ in found if id_.startswith("Z-p")}
    for name, settings in found.items():
        assert settings == each.model_copy(update={"prompt": name})
        assert settings.fitting() == P5Settings()
        assert abilities(settings).tasks & {"sequential", "rating"}
    yes = P5.expand(P5Settings(prompt="each", direct="yes-no"), ["direct"])
    assert {"5-1", "5-2", "5-3", "5-4", "5-p1"} <= set(yes)
    assert "5-n1" not in yes
    assert "5-8" in P5.expand(P5Settings(prompt="each", sampling=LISTS), ["direct"])
    assert P5.expand(P5Settings(), ["sequential"]) == {"": P5Settings()}


def test_a_collection_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nfamilies:\n  direct:\n    seen:\n"
        '      - id: mine\n        input: "something for {user} :"\n        target: "{item}"\n'
    )
    assert able(prompts=str(path)).tasks == {"direct"}
    assert first("direct", prompts=str(path)) == "mine"


def test_a_collection_that_was_edited_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (
        "version: 1\nfamilies:\n  direct:\n    seen:\n"
        '      - id: mine\n        input: "something for {user} :"\n        target: "{item}"\n'
    )
    path.write_text(text)
    asked = P5Settings(prompts=str(path))
    before = P5.identity(asked)
    assert P5.identity(asked) == before
    path.write_text(text.replace("something for", "a thing that suits"))
    assert P5.identity(asked) != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "random ids"),
        ({"index": "semantic"}, "semantic ids (k-means)"),
        ({"index": "semantic", "method": "rq-vae", "embedder": "minilm"}, "semantic ids (RQ-VAE, MiniLM)"),
        ({"index": "sequential-original"}, "original sequential ids (leaking)"),
        ({"index": "collaborative", "user_index": "sequential"}, "collaborative ids, sequential user ids"),
        ({"families": ("rating", "direct")}, "random ids, rating and direct only"),
        ({"sampling": "released", "windows": "original"}, "random ids, released sampling, original windows"),
        ({"sampling": LISTS, "extra": False}, "random ids, no extra prompts"),
        ({"prompt": "2-3"}, "random ids, prompt 2-3"),
        ({"prompt": "2-13"}, "random ids, prompt 2-13 held out"),
        ({"prompt": "2-p1"}, "random ids, prompt 2-p1 unseen"),
        ({"prompt": "held-out"}, "random ids, held-out prompts"),
        ({"sequential": "yes-no", "direct": "yes-no"}, "random ids, yes/no"),
        ({"direct": "yes-no", "yes_no_items": 9}, "random ids, direct by yes/no"),
        ({"decode": "exhaustive", "beams": 5}, "random ids, exhaustive"),
        ({"beams": 5}, "random ids, 5 beams"),
        ({"stars": "greedy", "quirks": ("dropped-five",)}, "random ids, greedy stars, quirks: dropped-five"),
        (
            {"text_beams": 4, "shortest_text": 9, "longest_text": 20},
            "random ids, texts by 4 beams, texts of 9 to 20 tokens",
        ),
    ],
)
def test_labels_say_what_is_not_as_usual(settings: dict[str, object], said: str) -> None:
    label = P5.label(P5Settings(**settings))
    assert label.startswith("P5 (T5-scratch ")
    assert label.endswith(f" M, {said})")


def test_label_of_a_checkpoint() -> None:
    assert P5.label(P5Settings(pretrained="google/t5-small")) == "P5 (t5-small, pretrained, random ids)"
    started = P5Settings(checkpoint="snap/beauty-small.pth", tokenizer="t5-small", beams=5)
    assert P5.label(started) == "P5 (checkpoint beauty-small.pth, random ids, 5 beams)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quirks": ("dropped-five",)}, "set stars: greedy"),
        ({"quirks": ("second-step", "second-step")}, "one is named twice"),
        ({"shortest_text": 5, "longest_text": 5}, "shortest_text must be below longest_text"),
        ({"sampling": {"sequential": -1}}, "greater than or equal to 0"),
        ({"sampling": {"direct": (1, 0, -2)}}, "greater than or equal to 0"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        P5Settings(**settings)


def test_where_candidates_are_drawn_for_each_row_every_setting_counts() -> None:
    settings = P5Settings(stars="greedy")
    assert put_as(settings, P5.capable(settings), "sequential") == P5Settings()
    fresh = settings.model_copy(update={"quirks": ("fresh-negatives",)})
    assert put_as(fresh, P5.capable(fresh), "sequential") == fresh
