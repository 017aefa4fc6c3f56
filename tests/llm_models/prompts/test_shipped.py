"""The collections that come with the package, against the inventory of P5's templates."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_models import prompts as package
from llm_models.prompts import PromptCollection, load_prompts, shipped, words

# What the original template of the same id shows and asks for: "user" is the id, "name" the name of the same person.
RATING = {
    "1-1": "user item -> star",
    "1-2": "user title -> star",
    "1-3": "user item star -> yes_no",
    "1-4": "user item -> like",
    "1-5": "user item title -> star",
    "1-6": "name item -> star",
    "1-7": "name title -> star",
    "1-8": "name star title -> yes_no",
    "1-9": "name title -> like",
    "1-10": "name title -> star",
}
SEQUENTIAL = {
    "2-1": "user history -> item",
    "2-2": "user history -> item",
    "2-3": "user history -> item",
    "2-4": "name history -> item",
    "2-5": "name history -> item",
    "2-6": "name history -> item",
    "2-7": "user history candidates -> item",
    "2-8": "name history candidates -> item",
    "2-9": "user history candidates -> item",
    "2-10": "name history candidates -> item",
    "2-11": "user history item -> yes_no",
    "2-12": "name history item -> yes_no",
    "2-13": "name history -> item",
}
AMAZON_EXPLANATION = {
    "3-1": "user title -> explanation",
    "3-2": "headline user item -> explanation",
    "3-3": "user star title -> explanation",
    "3-4": "name title -> explanation",
    "3-5": "headline name title -> explanation",
    "3-6": "name star item -> explanation",
    "3-7": "feature user item -> star explanation",
    "3-8": "name item -> star explanation",
    "3-9": "feature user title -> explanation",
    "3-10": "feature name title -> explanation",
    "3-11": "feature star user item -> explanation",
    "3-12": "feature star name item -> explanation",
}
YELP_EXPLANATION = {
    "3-1": "user title -> explanation",
    "3-2": "user star title -> explanation",
    "3-3": "name title -> explanation",
    "3-4": "name star item -> explanation",
    "3-5": "feature user item -> star explanation",
    "3-6": "name item -> star explanation",
    "3-7": "feature user title -> explanation",
    "3-8": "feature name title -> explanation",
    "3-9": "feature star user item -> explanation",
    "3-10": "feature star name item -> explanation",
}
AMAZON_REVIEW = {
    "4-1": "user body -> headline",
    "4-2": "user body -> star",
    "4-3": "name body -> headline",
    "4-4": "name body -> star",
}
YELP_REVIEW = {"4-1": "user body -> star", "4-2": "user body -> star", "4-3": "name body -> star"}
DIRECT = {
    "5-1": "user item -> yes_no",
    "5-2": "item name -> yes_no",
    "5-3": "name title -> yes_no",
    "5-4": "user title -> yes_no",
    "5-5": "name candidates -> item",
    "5-6": "name candidates -> item",
    "5-7": "user candidates -> item",
    "5-8": "user candidates -> item",
}
CROSS_DOMAIN = {
    "Z-1": "user title brand price -> like",
    "Z-2": "name title brand price -> star",
    "Z-3": "user title brand price -> star",
    "Z-4": "name title brand price -> like",
    "Z-5": "name title brand price -> explanation",
    "Z-6": "feature user star title price brand -> explanation",
    "Z-7": "title name -> explanation",
}
INVENTORY = {
    "amazon": {
        "rating": RATING,
        "sequential": SEQUENTIAL,
        "explanation": AMAZON_EXPLANATION,
        "review": AMAZON_REVIEW,
        "direct": DIRECT,
        "cross-domain": CROSS_DOMAIN,
    },
    "yelp": {
        "rating": RATING,
        "sequential": SEQUENTIAL,
        "explanation": YELP_EXPLANATION,
        "review": YELP_REVIEW,
        "direct": DIRECT,
    },
    "movielens": {"rating": RATING, "sequential": SEQUENTIAL, "direct": DIRECT},
}
# Beyond the original: users whom, and items that, training never saw, and direct questions about the whole catalogue.
EXTRA = {
    "1-n1": "item -> star",
    "1-n2": "item -> like",
    "2-n1": "history -> item",
    "2-n2": "history -> item",
    "2-n3": "history_titles title -> yes_no",
    "3-n1": "item -> explanation",
    "3-n2": "item feature -> explanation",
    "3-n3": "item feature star -> explanation",
    "4-n1": "body -> headline",
    "4-n2": "body -> star",
    "5-n1": "user -> item",
}
#: Yelp has no headlines, MovieLens no reviews.
EXTRAS = {
    "amazon": EXTRA,
    "yelp": {name: code for name, code in EXTRA.items() if name != "4-n2"} | {"4-n1": "body -> star"},
    "movielens": {name: code for name, code in EXTRA.items() if name[0] in "125"},
}
EACH = pytest.mark.parametrize("name", list(INVENTORY))


def split(code: str) -> tuple[set[str], set[str]]:
    shown, _, asked = code.partition(" -> ")
    return set(shown.split()), set(asked.split())


def test_these_are_all() -> None:
    assert shipped() == tuple(sorted(INVENTORY))


@EACH
def test_templates_show_and_ask_what_the_original_ones_do(name: str) -> None:
    collection = load_prompts(name)
    assert collection.families == tuple(INVENTORY[name])
    for family, table in INVENTORY[name].items():
        own = [t for t in collection.without_extra().templates if t.family == family and t.of is None]
        assert [t.id for t in own] == list(table)
        for template in own:
            assert (template.fields, template.target_fields) == split(table[template.id]), template.id
        assert {t.group for t in own[:-1]} == {"seen"}
        assert collection.held_out(family) == own[-1]
        assert own[-1].group == "held-out"


@EACH
def test_extras_are_marked_seen_and_serve_strangers(name: str) -> None:
    collection = load_prompts(name)
    extra = [t for t in collection.templates if t.extra]
    assert [t.id for t in extra] == list(EXTRAS[name])
    for template in extra:
        assert (template.fields, template.target_fields) == split(EXTRAS[name][template.id])
        assert template in collection.seen(template.family)
    assert not [t for t in collection.without_extra().templates if t.extra]


@EACH
def test_paraphrases_of_every_distance_ask_the_same_as_a_seen_template(name: str) -> None:
    collection = load_prompts(name)
    for family in collection.families:
        paraphrases = collection.paraphrases(family)
        assert len(paraphrases) >= 8
        for distance in ("word", "structure", "register"):
            of = [t.of for t in paraphrases if t.group == distance]
            assert len(of) >= 2
        assert {t.group for t in paraphrases} == {"word", "structure", "register"}
        for template in paraphrases:
            original = collection.template(template.of)
            assert original in collection.seen(family)
            assert template.fields == original.fields
            assert template.target == original.target


@EACH
def test_distances_are_distances(name: str) -> None:
    """Shared words, as share of all words of the two: most where words were exchanged, fewest in another register."""
    collection = load_prompts(name)
    shared: dict[str, list[float]] = {"word": [], "structure": [], "register": []}
    for template in (t for t in collection.templates if t.of is not None):
        ours, theirs = words(template), words(collection.template(template.of))
        shared[template.group].append(len(ours & theirs) / len(ours | theirs))
    assert mean(shared["word"]) > 0.6 > 0.4 > mean(shared["structure"]) > mean(shared["register"])
    assert min(shared["word"]) > 0.4


@EACH
def test_word_changes_keep_the_frame(name: str) -> None:
    """Number and place of the fields stay; a few content words differ."""
    collection = load_prompts(name)
    for template in (t for t in collection.templates if t.group == "word"):
        ours, theirs = template.input.split(), collection.template(template.of).input.split()
        assert len(ours) == len(theirs), template.id
        changed = [place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        assert 1 <= len(changed) <= 4, template.id
        assert not [place for place in changed if "{" in ours[place] + theirs[place]], template.id


@EACH
def test_untrained_words_are_no_matter_of_distance_alone(name: str) -> None:
    """At every distance some paraphrases use trained words only and some do not, so the two can be told apart."""
    collection = load_prompts(name)
    trained = frozenset().union(*(words(t) for family in collection.families for t in collection.seen(family)))
    for distance in ("word", "register"):
        known = {words(t) <= trained for t in collection.templates if t.group == distance}
        assert known == {True, False}, distance
    assert sum(words(t) <= trained for t in collection.templates if t.group == "structure") >= 9


@EACH
def test_texts_differ_and_are_plain(name: str) -> None:
    collection = load_prompts(name)
    texts = [" ".join(t.input.split()) for t in collection.templates]
    assert len(set(texts)) == len(texts)
    for template, text in zip(collection.templates, texts, strict=True):
        assert text.isascii()
        assert text == text.lower()
        for word in words(template):
            assert re.fullmatch(r"[a-z]+|[0-9]+|[^a-z0-9 ]+", word), f"{template.id}: {word!r} is word and mark in one"


def test_collections_are_worded_for_their_own_things() -> None:
    texts = {name: {t.input for t in load_prompts(name).templates} for name in INVENTORY}
    assert not texts["amazon"] & texts["yelp"]
    assert not texts["amazon"] & texts["movielens"]
    assert not texts["yelp"] & texts["movielens"]


@EACH
def test_digest_does_not_depend_on_layout(name: str, tmp_path: Path) -> None:
    original = Path(package.__file__).parent / f"{name}.yaml"
    content = yaml.load(original.read_text(), Loader=yaml.BaseLoader)
    copy = tmp_path / f"{name}.yaml"
    copy.write_text(yaml.safe_dump(content, width=40, indent=4, sort_keys=True, default_style='"'))
    assert load_prompts(copy) == load_prompts(name)


COLLECTIONS: dict[str, PromptCollection] = {name: load_prompts(name) for name in INVENTORY}
EVERY = [template for collection in COLLECTIONS.values() for template in collection.templates]
# No character of a template's own words and no space, so that a rendered text can be split again.
VALUES = st.text("ABCXYZ{}_<>", min_size=1)


@settings(deadline=None)
@given(data=st.data())
def test_rendering_is_the_inverse_of_splitting_by_fields(data: st.DataObject) -> None:
    template = data.draw(st.sampled_from(EVERY))
    values = {name: data.draw(VALUES) for name in sorted(template.fields)}
    pattern, met = "", set()
    for literal, name in re.findall(r"([^{]*)(?:\{(\w+)\})?", template.input):
        pattern += re.escape(literal)
        if name:
            pattern += f"(?P={name})" if name in met else f"(?P<{name}>.+?)"
            met.add(name)
    found = re.fullmatch(pattern, template.render(**values, more="not shown"))
    assert found is not None
    assert found.groupdict() == values
