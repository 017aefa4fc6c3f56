from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.hashing import digest_frame
from bench.data.triples import RECIPE, Extractor
from bench.data.triples.match import match
from bench.data.triples.tokens import flag, split_sentences, tokenise
from bench.data.triples.words import CLOSED, Word
from bench.errors import DataError, MissingInputError

pytest.importorskip("yake")
pytest.importorskip("vaderSentiment")

NOUNS = ("guitar", "stand", "strings", "price", "smell", "case", "zipper", "sound", "strap")


@pytest.fixture(scope="module")
def reviews() -> pl.Series:
    """Reviews of a small grammar: enough of it to learn nouns, with words of every kind in their usual places."""
    draw = random.Random(0)
    shapes = (
        "I bought this {a} last year. The {a} is {x} and the {b} is {y}.",
        "My {a} came with a {x} {b}. The {b} of the {a} is {y}!",
        "Very {y}. The {a} is very {x}, but the {b} was too {z}. I use the {a} for the {b}.",
        "It is a {x} and {y} {a}. The {a} was for my {b}. I love the {b}.",
        "The {a} looks {x}. I am happy with the {b}. The {b} is for a {a}.",
    )
    good, bad = ("good", "great", "sturdy", "perfect"), ("bad", "awful", "ugly", "flimsy")
    words = [draw.sample(NOUNS, 2) + draw.sample(good, 2) + draw.sample(bad, 1) for _ in range(400)]
    return pl.Series([draw.choice(shapes).format(a=a, b=b, x=x, y=y, z=z) for a, b, x, y, z in words])


@pytest.fixture(scope="module")
def extractor(reviews: pl.Series) -> Extractor:
    return Extractor.learn(reviews, 7)


def by_hand() -> dict[str, int]:
    """A vocabulary set by hand."""
    words = {word: int(kind) for word, kind in CLOSED.items()}
    extra = dict.fromkeys((*NOUNS, "pedal"), Word.NOUN | Word.FEATURE) | {
        **dict.fromkeys(("good", "great", "bright", "love", "like", "happy", "recommend"), Word.GOOD),
        "perfectly": Word.GOOD | Word.ADVERB,
        "bad": Word.BAD,
        "hesitate": Word.BAD,
        "quality": Word.NOUN,
    }
    for word, kind in extra.items():
        words[word] = words.get(word, 0) | int(kind)
    for word in ("smell", "sound"):  # nouns in a noun's place only, as they are learned
        words[word] &= ~int(Word.NOUN)
    return words


WORDS = by_hand()


def found(*sentences: str) -> list[tuple[str, str, int]]:
    """Triples of sentences with the vocabulary set by hand."""
    tokens = flag(tokenise(pl.Series(sentences)), WORDS)
    return match(tokens, ["sound quality"]).select("feature", "opinion", "polarity").rows()


@pytest.mark.parametrize(
    ("sentence", "triples"),
    [
        ("A great little stand.", [("stand", "great", 1)]),
        ("Great guitar strap!", [("strap", "great", 1)]),  # the last of a run of nouns is its head
        ("The sound quality is great.", [("sound quality", "great", 1)]),
        ("I love this old case.", [("case", "love", 1)]),
        ("I would recommend the strings.", [("strings", "recommend", 1)]),
        ("I am very happy with the price.", [("price", "happy", 1)]),
        ("The strings on it are good.", []),  # a preposition stands between
        ("The strings still sound great.", [("strings", "great", 1)]),
        ("The sound is great.", [("sound", "great", 1)]),
        ("It sounds great.", [("sounds", "great", 1)]),
        ("I feel great.", []),  # a person's feeling is no feature
        ("The zipper works perfectly.", [("zipper", "perfectly", 1)]),
        ("The strap is not very good.", [("strap", "good", -1)]),
        ("It doesn't have a good zipper.", [("zipper", "good", -1)]),
        ("Not only a great price.", [("price", "great", 1)]),
        ("The case is not bad.", [("case", "bad", 1)]),
        ("The strings are too bright.", [("strings", "bright", -1)]),
        ("The strings are not too bright.", [("strings", "bright", 1)]),
        ("I don't hesitate to recommend this pedal.", [("pedal", "recommend", 1)]),
        ("It works like a guitar.", []),
        ("I like the guitar.", [("guitar", "like", 1)]),
        ("The case is here, good night.", []),  # a comma parts them
        ("With this guitar is good.", []),  # what a preposition holds is no subject
        ("The price of the guitar is good.", [("price", "good", 1)]),
        ("All of the strings are good.", [("strings", "good", 1)]),
        ("A good price and a bad zipper.", [("price", "good", 1), ("zipper", "bad", -1)]),
        ("GREAT PRICE", [("price", "great", 1)]),
        ("The zipper isn\u2019t good", [("zipper", "good", -1)]),
        ("A great guitar tutorial.", []),  # of what may be the head, nothing is known
        ("Good", []),
        ("", []),
    ],
)
def test_clauses_by_hand(sentence, triples):
    assert found(sentence) == triples


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([*sorted(WORDS), "slowly", "."]), max_size=8), min_size=2, max_size=4))
def test_no_sentence_looks_at_another(lines):
    sentences = [" ".join(words) for words in lines]
    assert found(*sentences) == [triple for sentence in sentences for triple in found(sentence)]


SHORT = [
    "the",
    "of",
    "a",
    "with",
    "is",
    "it",
    "not",
    "too",
    "smells",
    "sound",
    "stand",
    "price",
    "great",
    "bad",
    "like",
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.sampled_from(SHORT), min_size=1, max_size=5), min_size=2, max_size=3))
def test_no_sentence_looks_at_another_where_triples_are_dense(lines):
    sentences = [" ".join(words) for words in lines]
    assert found(*sentences) == [triple for sentence in sentences for triple in found(sentence)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is quite affordable.I did not know.", ["It is quite affordable.", "I did not know."]),
        ("About 2.5 in. wide, e.g. the red one. Good", ["About 2.5 in.", "wide, e.g. the red one.", "Good"]),
        ("Well... maybe. So", ["Well... maybe.", "So"]),
        ('He said "no." Then left :) Fine. :) Bye', ['He said "no."', "Then left :) Fine. :)", "Bye"]),
        ("a\n\nb<br />c", ["a", "b", "c"]),
        ("two  spaces\there", ["two spaces here"]),
        ("Mr. X has 5 oz. of it, etc. The end", ["Mr. X has 5 oz. of it, etc.", "The end"]),
        ("  ", []),
        (None, []),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(pl.Series([text], dtype=pl.String))["sentence"].to_list() == sentences


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=5))
def test_sentences_hold_all_that_was_written(texts):
    table = split_sentences(pl.Series(texts, dtype=pl.String))
    for row, text in enumerate(texts):
        joined = "".join(table.filter(row=row)["sentence"])
        # Line breaks, their mark-up and the two control characters used inside are white space.
        kept = "".join((text or "").replace("\x1f", " ").replace("\x1e", " ").split())
        assert "".join(joined.split()) == kept
    assert table["row"].is_sorted()


def test_what_was_learned(extractor):
    assert {"guitar", "strings", "price", "case"} <= set(extractor.features)
    assert extractor.opinions["good"] == 1
    assert extractor.opinions["awful"] == -1
    assert "sturdy" not in extractor.features
    assert extractor.opinions["sturdy"] == 1, "learned from the good words that it is joined to"


def test_a_review_gets_one_of_its_triples_and_rows_stay_aligned(extractor, reviews):
    texts = pl.concat([reviews, pl.Series([None, "", "Nothing to say here."], dtype=pl.String)])
    every, one = extractor.extract_all(texts), extractor.extract(texts)
    assert one.schema == pl.Schema(
        {"feature": pl.String, "opinion": pl.String, "sentence": pl.String, "polarity": pl.Int8}
    )
    assert one.height == len(texts)
    assert one[-3:].null_count().row(0) == (3, 3, 3, 3)
    assert set(one["polarity"].drop_nulls()) == {1, -1}
    allowed = every.group_by("row").agg(pl.struct("feature", "opinion", "sentence", "polarity").alias("all"))
    offered = dict(allowed.iter_rows())
    for row, triple in enumerate(one.iter_rows(named=True)):
        if triple["feature"] is None:
            assert row not in offered
        else:
            assert triple in offered[row]
            assert triple["feature"] in triple["sentence"].lower()
            assert triple["opinion"] in triple["sentence"].lower()
            assert triple["sentence"] in texts[row]
    several = Counter(every["row"]).most_common(1)[0]
    assert several[1] > 1, "the draw has something to choose from"


def test_the_triple_of_a_text_depends_on_nothing_beside_it(extractor, reviews):
    alone = pl.concat([extractor.extract(reviews.slice(row, 1)) for row in range(30)])
    assert alone.equals(extractor.extract(reviews).head(30))
    assert extractor.extract(reviews.reverse()).reverse().equals(extractor.extract(reviews))


def test_the_seed_draws_the_triple(extractor, reviews):
    other = Extractor(8, extractor.features, extractor.opinions, extractor.nouns, extractor.weak_nouns)
    assert other.extract_all(reviews).equals(extractor.extract_all(reviews))
    assert not other.extract(reviews).equals(extractor.extract(reviews))
    assert other.digest != extractor.digest


def test_learning_ignores_the_order_of_rows_and_repeats(extractor, reviews):
    again = Extractor.learn(pl.concat([reviews.reverse(), reviews.head(50)]), 7)
    assert again.digest == extractor.digest


def test_learning_sees_training_reviews_only(reviews):
    train, test = reviews.head(300), pl.Series(["The xylophone is great and the xylophone is good. A great xylophone."])
    extractor = Extractor.learn(train, 7)
    before = extractor.digest
    assert extractor.extract(test)["feature"].to_list() == [None]
    assert extractor.digest == before
    assert "xylophone" not in extractor.features + extractor.nouns + extractor.weak_nouns


def test_the_triples_of_this_version_of_the_recipe(reviews):
    """When this fails, other triples come out: raise the version of the recipe and set the digest anew."""
    opinions = {"good": 1, "great": 1, "sturdy": 1, "perfect": 1, "love": 1, "happy": 1, "bad": -1, "awful": -1}
    fixed = Extractor(3, NOUNS, opinions, tuple(word for word in NOUNS if word not in ("smell", "sound")), ("sound",))
    assert RECIPE["version"] == 1
    assert digest_frame(fixed.extract(reviews)) == "5e055ae003bbd649f4566d2129286f34fee99cfeb810f3025238504db0f992c1"


def test_saved_and_loaded(extractor, reviews, tmp_path):
    path = tmp_path / "triples.json"
    extractor.save(path)
    loaded = Extractor.load(path)
    assert loaded.digest == extractor.digest
    assert loaded.extract(reviews).equals(extractor.extract(reviews))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recipe": 1}', "\x00"])
def test_what_is_no_extractor_is_refused(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"x\.json: no extractor"):
        Extractor.load(path)


def test_an_extractor_of_another_recipe_is_refused(extractor, tmp_path):
    path = tmp_path / "x.json"
    extractor.save(path)
    content = json.loads(path.read_bytes())
    content["recipe"]["version"] = RECIPE["version"] + 1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="another recipe"):
        Extractor.load(path)


def test_the_report_counts_what_extract_finds(extractor, reviews):
    report = extractor.yield_report(reviews)
    every = extractor.extract_all(reviews)
    assert report["reviews"] == len(reviews)
    assert report["with_triple"] == pytest.approx(extractor.extract(reviews)["feature"].is_not_null().mean())
    assert report["triples_per_review"] == pytest.approx(every.height / len(reviews))
    assert report["vocabulary"] == len(extractor.features)
    assert report["positive"] == pytest.approx(every["polarity"].to_list().count(1) / every.height)
    counts = Counter(every["feature"])
    assert [count for _, count in report["top_features"]] == [count for _, count in counts.most_common(10)]
    assert all(counts[feature] == count for feature, count in report["top_features"])


def test_no_reviews(extractor):
    none = pl.Series([], dtype=pl.String)
    assert extractor.extract(none).height == 0
    assert extractor.yield_report(none)["with_triple"] == 0
    with pytest.raises(DataError, match="no review text"):
        Extractor.learn(pl.Series([None, " ", "123"]), 0)


@pytest.mark.parametrize("package", ["yake", "vaderSentiment.vaderSentiment"])
def test_a_missing_package_is_named_with_its_remedy(package, reviews, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingInputError, match=r"pip install 'llm-rec-bench\[text\]'"):
        Extractor.learn(reviews, 0)


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_text_can_be_read(extractor, texts):
    series = pl.Series(texts, dtype=pl.String)
    assert extractor.extract(series).height == len(texts)


def test_the_module_imports_no_tool():
    code = "import sys, bench.data.triples; sys.exit(any(m in sys.modules for m in ('yake', 'vaderSentiment', 'nltk')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "features"),
    [
        ("reviews_Musical_Instruments_part.json.gz", 0.55, {"strings", "sound", "price", "tone"}),
        ("All_Beauty_5.json.gz", 0.5, {"product", "scent", "smells", "shampoo"}),
    ],
)
def test_real_reviews(shared_data: Path, name, least, features):
    with gzip.open(shared_data / "amazon" / name) as lines:
        texts = pl.Series([json.loads(line).get("reviewText") for line in lines])
    half = pl.Series(range(len(texts))) % 2 == 0
    extractor = Extractor.learn(texts.filter(half), 0)
    report = extractor.yield_report(texts.filter(~half))
    assert report["with_triple"] > least
    assert features <= {feature for feature, _ in report["top_features"]}
    assert 0.8 < report["positive"] < 0.99, "reviews praise more often than they blame"
