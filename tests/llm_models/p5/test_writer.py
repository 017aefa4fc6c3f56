from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.models import Ragged, Training
from llm_models.indexing import IdIndex, WordTokenizer, load_tokenizer, train_tokenizer
from llm_models.p5.writer import IGNORED, World, Writer, available_fields, kind_of
from llm_models.prompts import Template, load_prompts

pytest.importorskip("sentencepiece")

DATA = Path(os.environ.get("BENCH_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
END = 1


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return train_tokenizer(["what will user_0001 choose after 1 , 2 -> 3 ? loud bright yes no"] * 9, digits=2, size=320)


@pytest.fixture
def writer(tiny, tokenizer: WordTokenizer) -> Writer:
    return Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items))


def template(shown: str, target: str = "{item}", family: str = "sequential") -> Template:
    return Template("t", family, shown, target, "seen")


#: Of every template of the original one of each kind of input and target: input, what it is filled with, text; target,
#: what it is answered with, text. Users 0, 1 and items 0 (a title), 1 (a title, no brand), 2 (a price alone).
FILLED = [
    ("{user} on {item}", {"user": 0, "item": 1}, "user_31 on 1305", "{star}", {"star": "5"}, "5"),
    ("{user} on {title} ?", {"user": 1, "item": 1}, "user_08 on Blue Horn ?", "{star}", {"star": "3.5"}, "3.5"),
    ("{star} by {user} for {item}", {"user": 0, "item": 2, "star": "2"}, "2 by user_31 for 1406", "{yes_no}",
     {"yes_no": "no"}, "no"),
    ("{user} , {item} : {title}", {"user": 0, "item": 0}, "user_31 , 1200 : Red Drum", "{like}", {"like": "like"},
     "like"),
    ("{name} on {item}", {"user": 0, "item": 0}, "Ann Baker on 1200", "{star}", {"star": "1"}, "1"),
    ("{name} on {title}", {"user": 1, "item": 0}, "user_08 on Red Drum", "{like}", {"like": "dislike"}, "dislike"),
    ("{user} : {history} .", {"user": 0, "history": [1, 0]}, "user_31 : 1305 , 1200 .", "{item}", {"item": 3}, "1511"),
    ("{name} : {history}", {"user": 0, "history": np.array([1, 0, 3]), "arrow": True},
     "Ann Baker : 1305 -> 1200 -> 1511", "{item}", {"item": 0}, "1200"),
    ("after {history} which of {candidates} ?", {"history": [4], "candidates": np.array([0, 3]), "arrow": True},
     "after 1620 which of 1200 , 1511 ?", "{item}", {"item": 3}, "1511"),
    ("{history} , then {item} ?", {"history": [4, 0], "item": 1}, "1620 , 1200 , then 1305 ?", "{yes_no}",
     {"yes_no": "yes"}, "yes"),
    ("{history_titles} , then {title} ?", {"history": [4, 2], "item": 1},
     "Bell , an item without a title , then Blue Horn ?", "{yes_no}", {"yes_no": "yes"}, "yes"),
    ("{user} of {title} :", {"user": 0, "item": 0}, "user_31 of Red Drum :", "{explanation}",
     {"explanation": "it is loud ."}, "it is loud ."),
    ("{headline} , {user} , {item}", {"user": 0, "item": 0, "headline": "Loud !"}, "Loud ! , user_31 , 1200",
     "{explanation}", {"explanation": "a b"}, "a b"),
    ("{feature} , {star} , {name} , {item}", {"user": 0, "item": 0, "feature": "tone", "star": "4"},
     "tone , 4 , Ann Baker , 1200", "{explanation}", {"explanation": "a"}, "a"),
    ("{feature} : {user} {item}", {"user": 0, "item": 0, "feature": "tone"}, "tone : user_31 1200",
     "{star} , {explanation}", {"star": "4", "explanation": "good tone ."}, "4 , good tone ."),
    ("{user} wrote : {body}", {"user": 0, "body": "a {loud}\nsound"}, "user_31 wrote : a {loud}\nsound",
     "{headline}", {"headline": "Loud"}, "Loud"),
    ("{name} : {candidates}", {"user": 1, "candidates": [2, 0, 1]}, "user_08 : 1406 , 1200 , 1305", "{item}",
     {"item": 2}, "1406"),
    ("{user} , {title} , {brand} , {price}", {"user": 0, "item": 0}, "user_31 , Red Drum , Acme , 12.50", "{like}",
     {"like": "like"}, "like"),
    ("{title} , {brand} , {price} , {name}", {"user": 1, "item": 2},
     "an item without a title , unknown , 3.00 , user_08", "{star}", {"star": "2"}, "2"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "shown", "text", "target", "answer", "said"), FILLED)
def test_prompts_and_answers_say_what_is_known(writer: Writer, written, shown, text, target, answer, said) -> None:
    one = template(written, target)
    assert writer.fill(one, **shown) == text
    assert writer.target(one, **answer) == said


@pytest.mark.parametrize("name", ["amazon", "yelp", "movielens"])
def test_every_shipped_template_is_filled_in_whole(writer: Writer, name: str) -> None:
    shown = {"star": "4", "feature": "tone", "headline": "Loud", "body": "it is loud"}
    texts = {
        **shown, "user": "user_31", "name": "Ann Baker", "item": "1200", "title": "Red Drum", "brand": "Acme",
        "price": "12.50", "history": "1305 , 1511", "history_titles": "Blue Horn , Reed", "candidates": "1620 , 1200",
        "yes_no": "yes", "like": "like", "explanation": "good tone .",
    }  # fmt: skip
    for one in load_prompts(name).templates:
        filled = writer.fill(one, user=0, item=0, history=[1, 3], candidates=[4, 0], **shown)
        assert filled == one.input.format(**texts)
        answer = {field: texts[field] for field in one.target_fields - {"item"}}
        assert writer.target(one, item=0, **answer) == one.target.format(**texts)


def test_users_and_items_without_id_are_not_named(writer: Writer) -> None:
    assert writer.fill(template("after {history}"), history=[0]) == "after 1200"
    with pytest.raises(UsageError, match=r"shows \{user\}"):
        writer.fill(template("{user} after {history}"), history=[0])
    with pytest.raises(UsageError, match=r"shows \{item\}"):
        writer.fill(template("{user} on {item}"), user=0, item=-1)
    with pytest.raises(UsageError, match=r"shows \{title\}"):
        writer.fill(template("{user} on {title}"), user=0)


def test_kinds_of_answers() -> None:
    kinds = {
        target: kind_of(template("{user}", target))
        for target in (
            "{item}",
            "{star}",
            "{yes_no}",
            "{like}",
            "{explanation}",
            "{headline}",
            "{star} , {explanation}",
        )
    }
    assert list(kinds.values()) == ["items", "short", "short", "short", "texts", "texts", "texts"]


def test_a_body_loses_its_end_and_the_question_stays(tiny, tokenizer: WordTokenizer) -> None:
    writer = Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items), max_input=40)
    one = template("{user} wrote {body} . how many stars ?", "{star}", "review")
    body = " ".join(f"{n:02d}" for n in range(90))
    ids, _ = writer.encode([writer.fill(one, user=0, body=body)])
    text = tiny.decode(tokenizer, ids[0])
    around = writer.length("user_31 wrote . how many stars ?")
    assert text == f"user_31 wrote {body[: 3 * (40 - around) - 1]} . how many stars ?"
    assert ids.shape == (1, 40)


def test_a_history_loses_its_oldest_items(tiny, tokenizer: WordTokenizer) -> None:
    writer = Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items), max_input=40)
    one = template("{user} chose {history} , then ?")
    history = [0, 1, 2, 3] * 9 + [4]
    text = writer.fill(one, user=0, history=history, arrow=True)
    before, _, rest = text.partition("chose ")
    shown = rest.removesuffix(" , then ?").split(" -> ")
    assert before == "user_31 "
    assert shown == [writer.world.items.word[i] for i in history[-len(shown) :]]
    assert writer.length(text) <= 40 < writer.length(text.replace("chose ", "chose 1511 -> 1200 -> "))


def test_titles_of_a_history_are_the_latest(writer: Writer) -> None:
    text = writer.fill(template("{history_titles}", "{yes_no}"), history=[0, 1] + [3] * 9)
    assert text == " , ".join(["Blue Horn"] + ["Reed"] * 9)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("ab1 9\n,é"), max_size=40), min_size=1, max_size=5), most=st.integers(2, 30)
)
def test_encoding_many_is_encoding_each(tokenizer: WordTokenizer, texts: list[str], most: int) -> None:
    nobody = World(IdIndex(np.empty(0, np.int32), ()), IdIndex(np.empty(0, np.int32), ()), (), (), (), ())
    ids, words = Writer(tokenizer, nobody, max_input=most).encode(texts)
    assert ids.dtype == words.dtype == np.int64
    longest = 0
    for row, text in enumerate(texts):
        own, number = tokenizer.encode(text)
        if len(own) > most:
            own, number = [*own[: most - 1], END], [*number[: most - 1], 0]
        padding = [0] * (ids.shape[1] - len(own))
        assert ids[row].tolist() == own + padding
        assert words[row].tolist() == number + padding
        longest = max(longest, len(own))
    assert ids.shape[1] == longest


def test_whole_words_of_a_batch_are_those_of_p5() -> None:
    path, folder = DATA / "golden" / "p5_reference.json", DATA / "t5-tokenizer"
    if not (path.is_file() and folder.is_dir()):
        pytest.skip("needs golden/p5_reference.json and t5-tokenizer in BENCH_DATA_DIR")
    lines = json.loads(path.read_text())["whole_word"]
    nobody = World(IdIndex(np.empty(0, np.int32), ()), IdIndex(np.empty(0, np.int32), ()), (), (), (), ())
    ids, words = Writer(load_tokenizer(str(folder)), nobody).encode([line["text"] for line in lines])
    for row, line in enumerate(lines):
        length = len(line["input_ids"])
        assert ids[row, :length].tolist() == line["input_ids"]
        assert words[row, :length].tolist() == line["whole_word_ids"]
        assert not ids[row, length:].any()


def test_answers_become_labels(writer: Writer) -> None:
    labels = writer.labels([[[5, 6, 1]], [[7, 1], [8, 9, 1], [1]], []])
    n = IGNORED
    assert labels.dtype == np.int64
    assert labels.tolist() == [
        [[5, 6, 1], [n, n, n], [n, n, n]],
        [[7, 1, n], [8, 9, 1], [1, n, n]],
        [[n, n, n], [n, n, n], [n, n, n]],
    ]


def test_texts_are_cut_and_ids_end(tiny, tokenizer: WordTokenizer) -> None:
    writer = Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items), max_target=4)
    assert writer.sequence("12 34") == [*tokenizer.word("12"), *tokenizer.word("34"), END]
    assert writer.sequence("12 34 56 78") == [*tokenizer.encode("12 34 56")[0][:3], END]
    assert writer.item_tokens == [[*tokenizer.word(word), END] for word in tiny.items.word]


@pytest.mark.parametrize("history", [0, 4])
@pytest.mark.parametrize("most", [48, 64, 200])
def test_candidates_fit_beside_any_history(tiny, tokenizer: WordTokenizer, history: int, most: int) -> None:
    writer = Writer(tokenizer, World.of(tiny.training, tiny.users, tiny.items), max_input=most)
    one = template("{user} chose {history} . which of {candidates} is next ?")
    number = writer.candidates_that_fit(one, history)
    shown = {"user": 0, "history": [0] * history, "arrow": True}
    text = writer.fill(one, **shown, candidates=[1] * number)
    assert text.count("1305") == number
    assert text.count("1200") == history
    assert writer.length(text) <= most
    more = writer.fill(one, **shown, candidates=[1] * (number + 2))
    assert writer.length(more) > most or more.count("1200") < history


def test_a_world_is_kept_and_grows(tiny, tmp_path: Path) -> None:
    world = World.of(tiny.training, tiny.users, tiny.items)
    assert world.name == ("Ann Baker", None, None)
    assert world.title == ("Red Drum", "Blue Horn", None, "Reed", "Bell")
    assert world.price == ("12.50", None, "3.00", None, "1200.00")
    world.save(tmp_path)
    kept = World.load(tmp_path, tiny.users, tiny.items)
    assert (kept.name, kept.title, kept.brand, kept.price) == (world.name, world.title, world.brand, world.price)

    more = IdIndex(np.array([2, 4, 5, 6, 11, 20], np.int32), ("1200", "1701", "1305", "1406", "1511", "1620"))
    met = pl.DataFrame(
        {"item": [4, 2], "item_id": ["four", "two"], "title": ["New Lute", "Other"]},
        schema_overrides={"item": pl.Int32},
    )
    grown = world.extended(more, met)
    assert grown.title == ("Red Drum", "New Lute", "Blue Horn", None, "Reed", "Bell")
    assert grown.brand == ("Acme", None, None, None, None, "Sons")


def test_an_index_that_knows_more_than_training_is_no_harm(tiny) -> None:
    more = IdIndex(np.array([2, 3, 5, 6, 11, 20], np.int32), tuple("abcdef"))
    assert World.of(tiny.training, tiny.users, more).title == ("Red Drum", None, "Blue Horn", None, "Reed", "Bell")


def test_fields_that_data_has(tiny) -> None:
    ids = frozenset({"user", "name", "item", "history", "candidates", "yes_no"})
    whole = available_fields(World.of(tiny.training, tiny.users, tiny.items), tiny.training)
    texts = {"title", "brand", "price", "star", "like", "headline", "body", "feature", "explanation"}
    assert whole == ids | texts
    bare = Training(tiny.training.user, Ragged.empty(3), None, None, tiny.training.items.select("item", "item_id"))
    assert available_fields(World.of(bare, tiny.users, tiny.items), bare) == ids
