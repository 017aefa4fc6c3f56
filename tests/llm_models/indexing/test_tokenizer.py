from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.errors import MissingInputError
from llm_models.indexing import WordTokenizer, load_tokenizer, random_ids, train_tokenizer

pytest.importorskip("sentencepiece")

DATA = Path(os.environ.get("BENCH_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))


TEXTS = ["what comes after 1234 for user_0099 ?", "tell me what user_0001 wants"]


@pytest.fixture(scope="module")
def trained() -> WordTokenizer:
    return train_tokenizer(TEXTS, digits=2, size=320)


def test_ids_split_into_groups_of_digits(trained: WordTokenizer) -> None:
    assert trained.pieces(trained.word("0427")) == ["▁04", "27"]
    assert trained.pieces(trained.word("user_9907")) == ["▁user_", "99", "07"]
    for word in random_ids(np.arange(500), seed=0, digits=2).word:
        assert len(trained.word(word)) == 2


def test_training_is_repeatable_and_the_model_is_the_artefact(trained: WordTokenizer) -> None:
    again = train_tokenizer(TEXTS, digits=2, size=320)
    assert again.digest == trained.digest
    assert WordTokenizer(trained.model).encode("what user_0001 wants") == trained.encode("what user_0001 wants")


def test_a_word_never_seen_is_spelled_not_lost(trained: WordTokenizer) -> None:
    ids, words = trained.encode("Zebra! quiz@")
    assert 2 not in ids
    assert "".join(trained.pieces(ids[:-1])).replace("▁", " ").strip() == "Zebra! quiz@"
    assert words[-1] == 0
    assert set(words[:-1]) == {1, 2}


def test_the_rarest_characters_may_be_unknown() -> None:
    texts = ["the sound is nice"] * 999 + ["the sound is na\u00efve"]
    unknown = {
        coverage: 2 in train_tokenizer(texts, digits=2, size=400, coverage=coverage).word("\u00ef")
        for coverage in (1.0, 0.999)
    }
    assert unknown == {1.0: False, 0.999: True}


def test_long_texts_are_read_from_their_beginning() -> None:
    texts = ["quiet " * 1000 + "loudness"] * 50
    pieces = train_tokenizer(texts, digits=2, size=400)
    assert len(pieces.word("quiet")) == 1
    assert len(pieces.word("loudness")) > 4


def test_the_table_of_words_stays_small(trained: WordTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr("llm_models.indexing.tokenizer.KNOWN_WORDS", 100)
    own = WordTokenizer(trained.model)
    first = own.encode("what comes after 1234")
    tracemalloc.start()
    for number in range(20_000):
        own.word(f"word{number}")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000
    assert own.encode("what comes after 1234") == first


def test_missing_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingInputError, match="leave it empty to train one"):
        load_tokenizer(str(tmp_path))


@pytest.fixture(scope="module")
def t5() -> WordTokenizer:
    folder = DATA / "t5-tokenizer"
    if not folder.is_dir():
        pytest.skip("needs T5's tokenizer in BENCH_DATA_DIR/t5-tokenizer")
    return load_tokenizer(str(folder))


def test_whole_word_ids_are_those_of_p5(t5: WordTokenizer) -> None:
    path = DATA / "golden" / "p5_reference.json"
    if not path.is_file():
        pytest.skip("needs BENCH_DATA_DIR/golden/p5_reference.json")
    lines = json.loads(path.read_text())["whole_word"]
    assert lines
    for line in lines:
        ids, words = t5.encode(line["text"])
        assert ids == line["input_ids"]
        assert words == line["whole_word_ids"]


def test_word_by_word_equals_the_whole_text(t5: WordTokenizer) -> None:
    from sentencepiece import SentencePieceProcessor

    text = "The café's  2nd-best “box set” (1995), 100% re-mastered: user_17 -> 4110!"
    assert t5.encode(text)[0] == [*SentencePieceProcessor(model_proto=t5.model).encode(text), 1]
