"""Templates and collections at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from llm_models.prompts import FIELDS, PromptCollection, Template, load_prompts, words

SMALL = """\
version: 1
families:
  cross-domain:
    seen:
      - {id: c1, input: "{user} , {title} , {brand} ?", target: "{star}"}
      - {id: c2, input: "{user} , {title} , {price} ?", target: "{star}"}
    paraphrases:
      - {id: c3, of: c2, distance: structure, input: "{price} , {title} : {user} ?"}
  explanation:
    seen:
      - {id: e1, input: "why {item} , {user} ?", target: "{star} , {explanation}", extra: true}
    held_out: {id: e2, input: "say why {item} , {name} ?", target: "{explanation}"}
"""


@pytest.fixture
def small(tmp_path: Path) -> PromptCollection:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return load_prompts(path)


def test_render(small: PromptCollection) -> None:
    template = small.template("e1")
    shown = {"user": "u7", "item": "{12}", "star": "4", "explanation": "it {just} works", "body": "unused"}
    assert template.render(**shown) == "why {12} , u7 ?"
    assert template.render_target(**shown) == "4 , it {just} works"
    with pytest.raises(UsageError, match=r"prompt 'e1' shows \{item\}, which was not given"):
        template.render(user="u7")
    with pytest.raises(UsageError, match=r"prompt 'e1' shows \{explanation\}"):
        template.render_target(star="4")


def test_template_by_id_names_the_nearest(small: PromptCollection) -> None:
    with pytest.raises(UsageError, match="unknown prompt of 'small' 'c11': did you mean 'c1'"):
        small.template("c11")


def test_words_are_what_stands_between_spaces_and_fields() -> None:
    template = Template("x", "rating", 'so "{title}" is\n what, {star} ? {{so}}', "{yes_no}", "seen")
    assert words(template) == {"so", '"', "is", "what,", "?", "{so}"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("why {item} , {user} ?", "why {item} , {user} ??"),
        ("{star} , {explanation}", "{explanation}"),
        ("id: c3", "id: c4"),
        ("distance: structure", "distance: word"),
        (", extra: true", ""),
        ("{id: c1,", "{id: z,"),
    ],
)
def test_digest_follows_content(small: PromptCollection, tmp_path: Path, old: str, new: str) -> None:
    assert SMALL.count(old) == 1
    changed = tmp_path / "small.yaml"
    changed.write_text(SMALL.replace(old, new))
    assert load_prompts(changed).digest != small.digest


def test_digest_follows_neither_name_nor_comments(small: PromptCollection, tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text("# a remark\n" + SMALL.replace("id: c1", "id:   'c1'"))
    assert load_prompts(copy).digest == small.digest
    assert load_prompts(copy).name == "copy"


def test_without_extra_drops_families_that_have_nothing_else(small: PromptCollection) -> None:
    assert [t.id for t in small.without_extra().templates] == ["c1", "c2", "c3"]


def test_all_fields_make_all_usable() -> None:
    amazon = load_prompts("amazon")
    assert amazon.usable(FIELDS) == amazon
    assert amazon.missing(FIELDS) == {}


def test_interactions_alone_leave_ids(small: PromptCollection) -> None:
    amazon = load_prompts("amazon")
    usable = amazon.usable(())
    assert usable.families == ("sequential", "direct")
    assert [t.id for t in usable.seen("direct")] == ["5-1", "5-2", "5-5", "5-6", "5-7", "5-n1"]
    assert "2-n3" not in [t.id for t in usable.seen("sequential")]
    assert all(t.of != "5-4" for t in usable.templates)
    assert usable.digest != amazon.digest


def test_ratings_without_titles_leave_the_held_out_prompt_behind() -> None:
    usable = load_prompts("movielens").usable({"star"})
    assert [t.id for t in usable.seen("rating")] == ["1-1", "1-3", "1-4", "1-6", "1-n1", "1-n2"]
    with pytest.raises(UsageError, match="hold no template of the family 'rating' out"):
        usable.held_out("rating")


def test_missing_says_what_each_family_lacks(small: PromptCollection) -> None:
    amazon = load_prompts("amazon")
    missing = amazon.missing({"star", "title"})
    assert set(missing) == set(amazon.families) - set(amazon.usable({"star", "title"}).families)
    assert missing["review"] == (
        "the review prompts of 'amazon' cannot be filled in: all of them need {body} (a review's text), "
        "which the data does not have"
    )
    assert "all of them need {explanation} (the sentence of a review" in missing["explanation"]
    assert set(missing) == {"explanation", "review", "cross-domain"}
    several = small.missing({"star", "title", "explanation"})["cross-domain"]
    assert "each of them needs one or more of {brand} (an item's brand) and {price} (an item's price)" in several
    assert small.usable({"star", "title", "explanation", "price"}).families == ("explanation", "cross-domain")
    assert "{star} (the stars of a rating)" in load_prompts("yelp").missing({"title"})["rating"]
