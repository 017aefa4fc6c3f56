from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UsageError
from llm_models.p5.model import P5
from llm_models.prompts import load_prompts

GOOD = """\
version: 1
families:
  sequential:
    seen:
      - id: s1
        input: "{user} had {history} , next ?"
        target: "{target}"
      - id: s2
        input: "after {history} comes"
        target: "{target}"
    unseen: {id: s3, input: "{history} then", target: "{target}"}
  direct:
    seen:
      - id: d1
        input: "something for {user}"
        target: "{target}"
    unseen: {id: d2, input: "serve {user}", target: "{target}"}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "prompts.yaml"
    path.write_text(text)
    return path


def test_shipped_collection_holds_one_prompt_out_and_serves_strangers() -> None:
    prompts = P5.prompts()
    for family in ("sequential", "direct"):
        seen = [template.id for template in prompts.seen[family]]
        assert 5 <= len(seen) <= 6
        assert prompts.unseen[family].id not in seen
        assert prompts.answering(family, "seen").id == seen[0]
        assert prompts.answering(family, "unseen") == prompts.unseen[family]
        assert len({template.input for template in prompts.seen[family]}) == len(seen)
    assert prompts.answering("sequential", "seen").names_user
    assert not prompts.nameless.names_user
    assert prompts.nameless in prompts.seen["sequential"]


def test_render(tmp_path: Path) -> None:
    prompts = load_prompts(write(tmp_path, GOOD))
    assert prompts.seen["sequential"][0].render(user="u7", history="12 34") == "u7 had 12 34 , next ?"
    assert prompts.nameless.id == "s2"


def test_digest_follows_content_not_layout(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    original = load_prompts(write(tmp_path, GOOD)).digest
    relaid = "# a remark\n" + GOOD.replace("id: s1", "id:  's1'")
    assert load_prompts(write(tmp_path / "a", relaid)).digest == original
    assert load_prompts(write(tmp_path / "b", GOOD.replace("serve", "Serve"))).digest != original


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("after {history} comes", "after {histroy} comes", 9, "template 's2': unknown field {histroy}"),
        ("something for {user}", "something for {history}", 15, "template 'd1': unknown field {history}"),
        ("after {history} comes", "after all comes", 9, "template 's2': the field {history} is missing"),
        ('target: "{target}"\n      - id: s2', 'target: "it"\n      - id: s2', 7, "template 's1': the field {target}"),
        ("id: s2", "id: s1", 8, "template 's1' occurs twice"),
        ('        input: "something', '        inputs: "something', 15, "unknown key 'inputs'"),
        ("after {history} comes", "after {history comes", 9, "template 's2': "),
        ("after {history} comes", "after {user} {history}", 4, "no seen template without {user}"),
        ("  direct:", "  directly:", 12, "families: unknown key 'directly'"),
    ],
)
def test_errors_name_file_line_and_template(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as error:
        load_prompts(path)
    message = str(error.value)
    assert says in message
    assert str(path) in message
    assert f"line {line}:" in message


def test_broken_yaml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        load_prompts(write(tmp_path, GOOD + "  : ]"))
