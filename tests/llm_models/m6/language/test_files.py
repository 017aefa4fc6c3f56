"""Texts from a user's own files, and the command that tunes on them."""

from __future__ import annotations

import gzip
import json

import pytest

pytest.importorskip("torch")

from bench.errors import DataError, MissingInputError
from llm_models.m6.behaviour import Writer, load_behaviour
from llm_models.m6.language.__main__ import main
from llm_models.m6.language.files import read_conversations, read_products, read_queries, read_titles


@pytest.fixture
def lines(tmp_path):
    def write(*rows, name="mine.jsonl"):
        path = tmp_path / name
        content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        return path

    return write


def writer():
    return Writer(load_behaviour("plain"), None, window=10)


DRUM = {"title": "Red drum", "categories": [["Music", "Drums"], ["Toys"]], "description": ["A small", "red drum."]}


def test_product_texts_fill_category_and_title_slots(lines):
    path = lines(
        DRUM, {"title": "Old horn", "category": ["Music", "Horns"]}, {"description": "lost"}, name="a.jsonl.gz"
    )
    drum, horn = read_products(path)
    assert "Red drum" in drum.source
    assert "Music, Drums" in drum.source
    assert "Toys" not in drum.source
    assert drum.target == "A small red drum."
    assert "Old horn" in horn.source
    assert horn.target is None


def test_a_title_is_asked_for_without_showing_it(lines):
    drum, asked = read_titles(lines(DRUM, {"categories": ["Music"]}))
    assert "drum" not in drum.source.lower().replace("drums", "")
    assert (drum.target, asked.target) == ("Red drum", None)
    assert drum.target_prefix != read_products(lines(DRUM))[0].target_prefix


def test_searches_follow_what_was_chosen_and_searched_for(lines):
    rows = {"chosen": ["Red drum", "Sticks"], "searched": ["toy drum"], "query": "practice pad"}, {"chosen": ["Horn"]}
    told, asked = read_queries(lines(*rows), writer())
    places = [told.source.index(words) for words in ("Red drum", "Sticks", "toy drum")]
    assert places == sorted(places)
    assert (told.target, asked.target) == ("practice pad", None)


def test_turns_of_a_conversation_carry_the_tags_of_their_speakers(lines):
    turns = [("seeker", "something scary?"), ("Recommender", "Try @12"), ("seeker", "seen it")]
    told, asked = read_conversations(
        lines(
            {"turns": [dict(zip(("speaker", "text"), turn, strict=True)) for turn in turns], "titles": {"12": "Alien"}}
        )
    )
    assert told.target == "Try Alien"
    assert asked.target is None
    assert asked.source.index("something scary?") < asked.source.index("Try Alien") < asked.source.index("seen it")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not an object"),
        ({"turns": "hello"}, "`turns` must be a list"),
        ({"turns": [{"speaker": "robot", "text": "hi"}]}, "must be seeker or recommender"),
        ({"turns": [{"speaker": "seeker", "text": "like @3"}]}, "@3 has no title"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_what_it_should_look_like(lines, row, said):
    with pytest.raises(DataError, match=said) as raised:
        read_conversations(lines(row))
    assert '"speaker": "seeker"' in str(raised.value)


def test_files_that_teach_nothing_are_refused(lines, tmp_path):
    with pytest.raises(MissingInputError, match="no line has a query"):
        read_queries(lines({"chosen": ["Horn"]}), writer())
    with pytest.raises(MissingInputError, match="does not exist"):
        read_queries(tmp_path / "none.jsonl", writer())
    with pytest.raises(DataError, match="`title` must be text"):
        read_products(lines({**DRUM, "title": 3}))


def test_the_command_tunes_and_writes(lines, tmp_path, backbones, capsys):
    colours = ["red", "blue", "old", "new"]
    items = [{"categories": [kind], "title": f"{c} {kind}"} for c in colours for kind in ("drum", "horn", "bell")]
    out = tmp_path / "out.jsonl"
    common = ["--backbone", str(backbones["bert"]), "--tuned", "adapter", "--learning-rate", "0.02", "--longest", "5"]
    asked = ["--task", "title", "--file", str(lines(*items, {"categories": ["drum"]})), "--out", str(out)]
    assert main([*asked, *common, "--steps", "60"]) == 0
    (written,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert written["actual"] is None
    assert written["written"].split()[-1].lower() == "drum"
    assert "language-model head: trained here" in capsys.readouterr().out
    assert main(["--task", "query", "--file", str(tmp_path / "no.jsonl"), "--out", str(out)]) == 2
    assert '"searched"' in capsys.readouterr().err
