"""Text metrics against sacrebleu, rouge-score and nltk, and what holds for any texts."""

from __future__ import annotations

import itertools
import sys
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DataError, MissingInputError, UsageError
from bench.metrics import TextMetric, Written, parse
from bench.metrics.text import TEXT_METRICS

sacrebleu = pytest.importorskip("sacrebleu")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
meteor_score = pytest.importorskip("nltk.translate.meteor_score")

# Few words, so that texts overlap; capitals, stems, punctuation and marks that tokenisers differ about.
WORDS = (
    "the",
    "The",
    "string",
    "strings",
    "sound",
    "sounds",
    "good",
    "isn't",
    "price,",
    "amp.",
    "$15",
    "&quot;",
    "é",
    "-",
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=8)
FEATURES = ("sound", "strings", "price", "bass sound")
# METEOR's synonyms need data that may not be here; it is tested by itself.
METRICS = tuple(metric for metric in TEXT_METRICS if metric.name != "METEOR")
ROWS = tuple(metric for metric in METRICS if not metric.descriptive)


def written(pairs, features=None):
    actual, text = zip(*pairs, strict=True)
    about = None if features is None else pl.Series(features, dtype=pl.String)
    return Written(pl.Series(actual, dtype=pl.String), pl.Series(text, dtype=pl.String), about)


def value(name, pairs, features=None, **rest):
    return float(parse(name).per_request(written(pairs, features), **rest).mean())


def of_all(pairs):
    """The same with a feature for each row, in turn."""
    return written(pairs, list(itertools.islice(itertools.cycle(FEATURES), len(pairs))))


@given(PAIRS)
def test_bleu_is_the_corpus_bleu_of_sacrebleu(pairs):
    actual, texts = [one for one, _ in pairs], [text or "" for _, text in pairs]
    for order in (1, 2, 4):
        theirs = sacrebleu.BLEU(max_ngram_order=order).corpus_score(texts, [actual]).score
        assert value(f"BLEU-{order}", pairs) == pytest.approx(theirs, abs=1e-9)
    assert value("BLEU-4", pairs) == pytest.approx(sacrebleu.corpus_bleu(texts, [actual]).score, abs=1e-9)


@given(PAIRS)
def test_the_original_bleu_knows_white_space_and_no_smoothing(pairs):
    actual, texts = [one for one, _ in pairs], [text or "" for _, text in pairs]
    for order in (1, 2, 4):
        peer = sacrebleu.BLEU(tokenize="none", smooth_method="none", max_ngram_order=order)
        assert value(f"P5-BLEU-{order}", pairs) == pytest.approx(peer.corpus_score(texts, [actual]).score, abs=1e-9)


@given(PAIRS)
def test_rouge_is_that_of_rouge_score(pairs):
    for kind in ("rouge1", "rouge2", "rougeL"):
        scorer = rouge_scorer.RougeScorer([kind])
        theirs = np.mean([scorer.score(actual, text or "")[kind].fmeasure for actual, text in pairs])
        assert value(f"ROUGE-{kind[-1]}", pairs) == pytest.approx(100 * theirs)


def by_stages(actual, text):
    """METEOR of exact words, then stems, put together from nltk's stages."""
    exact, left, right = meteor_score.exact_match(text, actual)
    stems, *_ = meteor_score.stem_match([word for _, word in left], [word for _, word in right])
    pairs = sorted(exact + [(left[one][0], right[other][0]) for one, other in stems])
    if not pairs:
        return 0.0
    steps = itertools.pairwise(pairs)
    chunks = 1 + sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in steps)
    precision, recall = len(pairs) / len(text), len(pairs) / len(actual)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    return 100 * mean * (1 - 0.5 * (chunks / len(pairs)) ** 3)


@given(PAIRS)
def test_meteor_of_stems_is_made_of_the_stages_of_nltk(pairs):
    cut = sacrebleu.BLEU().tokenizer
    theirs = [by_stages(cut(actual).split(), cut(text or "").split()) for actual, text in pairs]
    assert value("METEOR-stem", pairs) == pytest.approx(np.mean(theirs))


def test_meteor_needs_wordnet_and_says_so(monkeypatch, tmp_path):
    from nltk.corpus import CorpusReader, WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    # A loader of its own: the shared one remembers that it was loaded.
    loader = LazyCorpusLoader("wordnet", WordNetCorpusReader, LazyCorpusLoader("omw-2.0", CorpusReader, r".*\.tab"))
    monkeypatch.setattr("nltk.corpus.wordnet", loader)
    monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    pairs = [("a fine guitar for the stage", "a fine axe for the stage")]
    with pytest.raises(MissingInputError, match=r"nltk\.downloader wordnet.*METEOR-stem"):
        value("METEOR", pairs)
    small_wordnet(tmp_path / "corpora" / "wordnet")
    assert value("METEOR", pairs) == pytest.approx(100 * (1 - 0.5 / 6**3))
    for stream in loader._data_file_map.values():  # nltk leaves them open
        stream.close()
    # Without synonyms five of six words match, in two chunks.
    assert value("METEOR-stem", pairs) == pytest.approx(100 * 5 / 6 * (1 - 0.5 * (2 / 5) ** 3))


def small_wordnet(folder):
    """A WordNet with two words, in its file format."""
    folder.mkdir(parents=True)
    kinds = ("noun", "verb", "adj", "adv")
    for name in ("cntlist.rev", "index.sense", *(f"{part}.{kind}" for part in ("index", "data") for kind in kinds)):
        (folder / name).write_text("")
    for kind in kinds:
        (folder / f"{kind}.exc").write_text("")
    (folder / "lexnames").write_text("0\tnoun.artifact\t1\n")
    (folder / "data.noun").write_text("00000000 00 n 02 guitar 0 axe 0 000 | it has strings  \n")
    (folder / "index.noun").write_text("axe n 1 0 1 0 00000000  \nguitar n 1 0 1 0 00000000  \n")
    (folder / "data.adj").write_text("  1 WordNet 3.0 Copyright\n")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(MissingInputError, match=r"rouge_score.*llm-rec-bench\[text\]"):
        value("ROUGE-1", [("never scored before", "never said before")])


def test_the_original_rouge_by_hand():
    # Sets: "so" counts once. Common subsequence: "so good".
    pairs = [("so so good", "so very good so")]
    assert value("P5-ROUGE-1-P", pairs) == pytest.approx(100 * 2 / 3)
    assert value("P5-ROUGE-1-R", pairs) == pytest.approx(100)
    assert value("P5-ROUGE-1", pairs) == pytest.approx(80)
    assert value("P5-ROUGE-2", pairs) == 0
    precision, recall = Fraction(2, 4), Fraction(2, 3)
    square = (precision / recall) ** 2
    weighed = (1 + square) * precision * recall / (recall + square * precision)
    assert value("P5-ROUGE-L", pairs) == pytest.approx(float(100 * weighed))


@given(PAIRS)
def test_the_longest_common_subsequence_is_that_of_rouge_score(pairs):
    class Pieces:
        @staticmethod
        def tokenize(text):
            return text.split()

    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Pieces)
    scores = [scorer.score(actual, text or "")["rougeL"] for actual, text in pairs]
    assert value("P5-ROUGE-L-P", pairs) == pytest.approx(100 * np.mean([score.precision for score in scores]))
    assert value("P5-ROUGE-L-R", pairs) == pytest.approx(100 * np.mean([score.recall for score in scores]))


def test_variety_by_hand():
    pairs = [("x", "good sound"), ("x", "good  sound"), ("x", "good price, good sound"), ("x", None), ("x", "")]
    # Tokens: good sound good sound good price , good sound.
    assert value("DISTINCT-1", pairs) == pytest.approx(4 / 9)
    assert value("DISTINCT-2", pairs) == pytest.approx(4 / 6)
    assert value("USR", pairs) == pytest.approx(2 / 5)
    assert value("P5-USR", pairs) == pytest.approx(3 / 5)


def test_features_by_hand():
    pairs = [
        ("x", "The Bass  sound, and the price"),
        ("x", "strings"),
        ("x", "string"),
        ("x", None),
        ("x", "a bass. Sound!"),
    ]
    features = ["bass sound", "Strings", "strings", "price", "bass sound"]
    assert parse("FMR").per_request(written(pairs, features)).tolist() == [1, 1, 0, 0, 0]
    assert parse("P5-FMR").per_request(written(pairs, features)).tolist() == [0, 0, 0, 0, 0]
    assert value("FCR", pairs, features) == 1
    # Pieces between white space, exactly: "strings" and "price" of four.
    assert value("P5-FCR", pairs, features) == pytest.approx(2 / 4)
    assert value("FCR", pairs, features, vocabulary=["price", "tuner", "SOUND", "string"]) == pytest.approx(3 / 4)
    # "sound" is shared by the first and the last; four texts are compared here, five in the original.
    assert value("DIV", pairs, features, vocabulary=["price", "sound"]) == pytest.approx(1 / 6)
    assert value("P5-DIV", [*pairs[:1], ("x", "price")], features[:2], vocabulary=["price"]) == 1


@given(PAIRS.filter(lambda pairs: len(pairs) > 1))
def test_diversity_is_the_mean_over_pairs_of_texts(pairs):
    for name, kept in (("P5-DIV", pairs), ("DIV", [pair for pair in pairs if (pair[1] or "").strip()])):
        vocabulary = {"strings", "sound", "The"}
        named = [vocabulary & set((text or "").split()) for _, text in kept]
        if name == "DIV":
            lower = str.maketrans("T", "t")
            named = [{word.translate(lower) for word in (text or "").split()} for _, text in kept]
            named = [{"strings", "sound", "the"} & words for words in named]
        shared = [len(one & other) for one, other in itertools.combinations(named, 2)]
        theirs = np.mean(shared) if shared else 0
        found = parse(name).per_request(of_all(pairs), vocabulary=sorted(vocabulary)).mean()
        assert found == pytest.approx(theirs, abs=1e-9)


LONG = st.lists(st.lists(st.sampled_from(WORDS[:8]), min_size=4, max_size=9).map(" ".join), min_size=2, max_size=6)


@settings(max_examples=25, deadline=None)
@given(LONG)
def test_the_users_own_words_score_highest(texts):
    texts = [f"{text} sound strings price bass sound" for text in texts]
    own = of_all([(text, text) for text in texts])
    for metric in METRICS:
        reached = metric.per_request(own).mean()
        if metric.name in ("FMR", "FCR"):
            assert reached == 1
        elif metric.name == "METEOR-stem":
            # nltk's penalty leaves a little: one chunk of all words.
            assert 99.9 < reached < 100
        elif "BLEU" in metric.name or "ROUGE" in metric.name:
            assert reached == pytest.approx(100, abs=1e-5)


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_nothing_said_is_worth_nothing(metric):
    # All silent texts are one distinct text to the original.
    reached = metric.per_request(of_all([("good sound of strings", None)] * 5)).mean()
    assert reached == (pytest.approx(1 / 5) if metric.name == "P5-USR" else 0)


@settings(max_examples=25, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pairs, random):
    order = random.sample(range(len(pairs)), len(pairs))
    straight = of_all(pairs)
    shuffled = Written(straight.actual[order], straight.written[order], straight.feature[order])
    for metric in METRICS:
        assert metric.per_request(shuffled) == pytest.approx(metric.per_request(straight)[order], abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(PAIRS)
def test_bounds(pairs):
    asked = of_all(pairs)
    for metric in METRICS:
        found = metric.per_request(asked)
        assert found.shape == (len(pairs),)
        assert found.dtype == np.float64
        highest = 100 if metric.name.removeprefix("P5-").startswith(("BLEU", "ROUGE", "METEOR")) else 1
        assert -1e-9 <= found.mean() <= (len(FEATURES) if metric.name.endswith("DIV") else highest) + 1e-9
        if metric.descriptive:
            assert len(set(found)) == 1


@settings(max_examples=25, deadline=None)
@given(PAIRS)
def test_a_silent_row_counts_as_an_empty_text(pairs):
    silent = of_all(pairs)
    empty = of_all([(actual, text or "") for actual, text in pairs])
    for metric in METRICS:
        assert metric.per_request(silent).tolist() == metric.per_request(empty).tolist()


def test_what_is_stored_is_read_again():
    block = written([("good sound", "good"), ("fine strings", None)], ["sound", "strings"])
    assert block.served.tolist() == [True, False]
    frame = pl.DataFrame(Written.concatenate([block, block]).columns())
    assert frame.columns == ["actual", "written", "served", "feature"]
    assert frame.height == 4
    assert parse("ROUGE-1").values(frame) == pytest.approx([200 / 3, 0] * 2)
    assert parse("FMR").defined(frame)
    assert not parse("FMR").defined(frame.drop("feature"))
    assert not parse("DIV").defined(frame[:1])
    assert parse("BLEU-4").defined(frame.drop("feature"))
    with pytest.raises(DataError, match="some have none"):
        Written.concatenate([block, written([("a", "b")])])


def test_texts_that_cannot_be_scored_are_refused():
    texts = pl.Series(["a", "b"])
    with pytest.raises(DataError, match="'actual' is empty in row 1"):
        Written(pl.Series(["a", None]), texts)
    with pytest.raises(DataError, match="'feature' has 1 rows"):
        Written(texts, texts, pl.Series(["sound"]))
    with pytest.raises(DataError, match="say what the user's text is about"):
        value("FMR", [("a", "b")])


def test_names():
    metric = parse(" p5-rouge-l ")
    assert isinstance(metric, TextMetric)
    assert str(metric) == "P5-ROUGE-L"
    assert metric.higher_is_better
    assert "headline" in metric.tasks
    assert "headline" not in parse("FCR").tasks
    assert not parse("DIV").higher_is_better
    assert {str(metric) for metric in TEXT_METRICS if metric.descriptive} == {
        "DISTINCT-1", "DISTINCT-2", "USR", "FCR", "P5-USR", "P5-FCR",
    }  # fmt: skip
    with pytest.raises(UsageError, match="did you mean 'METEOR-stem'"):
        parse("METEOR-stm")
