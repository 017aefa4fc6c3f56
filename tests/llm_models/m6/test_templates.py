from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from bench.errors import UsageError
from llm_models.m6.settings import M6Settings
from llm_models.m6.templates import Template, load_template, template_names


@pytest.fixture
def rows():
    return pl.DataFrame(
        {
            "item": [3, 4, 5],
            "item_id": ["B003", "B004", "B005"],
            "title": ["Nuts &amp;  Bolts", None, "Plain"],
            "categories": [["Tools", "Home"], ["Garden"], None],
            "year": ["1995", None, None],
        }
    )


def test_parts_appear_only_where_an_item_has_their_fields(rows):
    template = Template(item=("{title}", "({year})", "by {brand}", "in {categories}"), user="{items}", separator=" ")
    assert template.write_items(rows) == ["Nuts & Bolts (1995) in Tools, Home", "in Garden", "Plain"]


def test_a_part_needs_all_its_fields(rows):
    template = Template(item=("{title}, {year}",), user="{items}", separator=" ")
    assert template.write_items(rows) == ["Nuts & Bolts, 1995", "", ""]


@pytest.mark.parametrize("name", template_names())
def test_shipped_templates_write_titles_and_no_ids(name, rows):
    texts = load_template(name).write_items(rows)
    assert "Nuts & Bolts" in texts[0]
    assert "1995" in texts[0]
    assert not any(shown in text for text in texts for shown in ("B003", "B004", "B005"))
    user = load_template(name).write_user(["new one", "old one"])
    assert user.index("new one") < user.index("old one")


@pytest.mark.parametrize("field", ["item", "item_id", "user", "user_id", "id", "parent_id"])
def test_a_template_that_would_show_an_id_is_refused(field):
    with pytest.raises(ValidationError, match="would show the id"):
        Template(item=("{title}", f"({{{field}}})"), user="{items}", separator=" ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"item": []},
        {"item": ["no field"]},
        {"item": ["{title.upper}"]},
        {"item": ["{title!r}"]},
        {"item": ["{}"]},
        {"user": "nothing"},
        {"user": "{items} and {name}"},
        {"colour": "red"},
    ],
)
def test_a_malformed_template_is_refused(wrong):
    with pytest.raises(ValidationError):
        Template(**{"item": ["{title}"], "user": "{items}", "separator": " ", **wrong})


def test_an_unknown_template_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'labelled'"):
        M6Settings(template="labeled")


def test_a_digest_follows_the_wording():
    first = load_template("plain")
    assert first.digest == first.model_copy().digest
    assert first.digest != first.model_copy(update={"separator": " / "}).digest
