"""Files of one's own: what they may leave out, and what is refused where."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from bench.errors import UsageError
from llm_models.prompts import load_prompts, loading

GOOD = """\
version: 1
families:
  direct:
    seen:
      - id: d1
        input: "something out of {candidates} for {user}"
        target: "{item}"
    held_out: {id: d2, input: "serve {user}", target: "{item}"}
  sequential:
    seen:
      - id: s1
        input: "{user} had {history} , next ?"
        target: "{item}"
      - id: s2
        input: "after {history} comes"
        target: "{item}"
        extra: true
    paraphrases:
      - id: p1
        of: s1
        distance: word
        input: "{user} had {history} , now ?"
  rating:
    seen:
      - {id: r1, input: "{title} has a {star} , no ?", target: "{yes_no}"}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_a_file_may_have_some_families_and_leave_out_what_is_held_out(tmp_path: Path) -> None:
    mine = load_prompts(write(tmp_path, GOOD))
    assert mine.name == "mine"
    assert mine.families == ("rating", "sequential", "direct")
    assert [t.id for t in mine.templates] == ["r1", "s1", "s2", "p1", "d1", "d2"]
    assert [t.id for t in mine.seen("sequential")] == ["s1", "s2"]
    assert [t.extra for t in mine.seen("sequential")] == [False, True]
    assert mine.seen("review") == ()
    assert mine.held_out("direct").id == "d2"
    (paraphrase,) = mine.paraphrases("sequential")
    assert (paraphrase.of, paraphrase.group, paraphrase.target) == ("s1", "word", "{item}")
    with pytest.raises(UsageError, match="'mine' hold no template of the family 'rating' out"):
        mine.held_out("rating")


def test_path_as_text_loads_too(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_prompts(str(path)) == load_prompts(path)


def test_the_example_in_the_documentation_loads(tmp_path: Path) -> None:
    example = re.search(r"::\n\n(.*?)\n\n``held_out``", loading.__doc__, re.DOTALL)
    assert example is not None
    mine = load_prompts(write(tmp_path, textwrap.dedent(example[1])))
    assert mine.families == ("rating", "sequential")
    assert mine.template("after-1").of == "after"


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        # Fields.
        (
            "after {history} comes",
            "after {histroy} comes",
            15,
            "template 's2': unknown field {histroy}: did you mean {",
        ),
        (
            "after {history} comes",
            "after {qqq} comes",
            15,
            "template 's2': unknown field {qqq}: known: {body}, {brand}",
        ),
        ("after {history} comes", "after {} comes", 15, "template 's2': unknown field {}"),
        ("after {history} comes", "after {history.x} comes", 15, "template 's2': unknown field {history.x}: did you"),
        ("after {history} comes", "after {history!r} comes", 15, "{history} must stand alone in its braces"),
        ("after {history} comes", "after {history:>9} comes", 15, "{history} must stand alone in its braces"),
        ("after {history} comes", "after {history comes", 15, "template 's2': "),
        ("after {history} comes", "after ({history}) comes", 15, "{history} must stand between spaces"),
        ("after {history} comes", "after all comes", 15, "the field {history} or {history_titles} is missing"),
        ("after {history} comes", "after {history} comes {body}", 15, "the field {body} is not given with the target"),
        ("after {history} comes", "after {history} {item}", 15, "the field {item} is what it asks for"),
        ('for {user}"', 'for everybody"', 6, "template 'd1': the field {name} or {user} is missing"),
        ("{title} has a", "this has a", 25, "template 'r1': the field {item} or {title} is missing"),
        ("has a {star} ,", "is good ,", 25, "template 'r1': the field {star} is missing"),
        # Targets.
        ('target: "{item}"\n        extra', 'target: "it"\n        extra', 16, "template 's2': a sequential target is"),
        (
            'target: "{item}"\n        extra',
            'target: "{star}"\n        extra',
            16,
            "'{item}' or '{yes_no}', not '{star}'",
        ),
        ('target: "{item}"\n        extra', 'target: "{itme}"\n        extra', 16, "unknown field {itme}"),
        # Paraphrases.
        ("of: s1", "of: s3", 20, "template 'p1': unknown seen template of the family 'sequential' 's3'"),
        ("of: s1", "of: d1", 20, "template 'p1': unknown seen template of the family 'sequential' 'd1'"),
        ("distance: word", "distance: wrod", 21, "template 'p1': unknown distance 'wrod': did you mean 'word'?"),
        ("{history} , now ?", "{history_titles} , now ?", 22, "but 's1', which it varies, {history}, {user}"),
        ("{history} , now ?", "{history} ,  Next ?", 22, "template 'p1': has the same text as 's1'"),
        # Structure.
        ("id: s2", "id: s1", 14, "template 's1' occurs twice"),
        ("id: p1", "id: d2", 8, "template 'd2' occurs twice"),
        ("id: s2", "id: [s2]", 14, "a template: 'id' must be text"),
        ("extra: true", "extra: maybe", 17, "template 's2': 'extra' must be true or false, not 'maybe'"),
        (
            '        input: "something',
            '        inputs: "something',
            6,
            "a seen template: unknown key 'inputs', known: extra",
        ),
        ("        distance: word\n", "", 19, "a paraphrase: 'distance' is missing"),
        ("        of: s1\n", "        of: s1\n        of: s2\n", 21, "a paraphrase: 'of' occurs twice"),
        ("  direct:", "  directly:", 3, "families: unknown key 'directly', known: cross-domain, direct"),
        ("    paraphrases:", "    paraphrase:", 18, "family 'sequential': unknown key 'paraphrase'"),
        ("      - {id: r1,", "      {id: r1,", 25, "family 'rating': 'seen' must be a list of templates"),
        ("version: 1", "version: 2", 1, "version '2' of prompt files is not known, only 1"),
        ("version: 1\n", "", 1, "the file: 'version' is missing"),
    ],
)
def test_errors_name_file_line_and_template(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as error:
        load_prompts(path)
    message = str(error.value)
    assert says in message
    assert message.startswith(f"{path}, line {line}:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "  : ]", "not valid YAML"),
        ("", "line 1: the file must be a mapping with families, version"),
        ("version: 1\nfamilies: {}", "line 2: families: there is none"),
    ],
)
def test_files_that_are_no_collection(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        load_prompts(write(tmp_path, text))


def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown prompt collection 'amazn': did you mean 'amazon'\?.*YAML file"):
        load_prompts("amazn")
    with pytest.raises(UsageError, match=r"gone\.yaml: no such file"):
        load_prompts(tmp_path / "gone.yaml")
