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
    return train_tokenizer(TEXTS, digits=2, size=250)


def test_ids_split_into_groups_of_digits(trained: WordTokenizer) -> None:
    assert trained.pieces(trained.word("0427")) == ["▁04", "27"]
    assert trained.pieces(trained.word("user_9907")) == ["▁user_", "99", "07"]
    for word in random_ids(np.arange(500), seed=0, digits=2).word:
        assert len(trained.word(word)) == 2


def test_training_is_repeatable_and_the_model_is_the_artefact(trained: WordTokenizer) -> None:
    again = train_tokenizer(TEXTS, digits=2, size=250)
    assert again.digest == trained.digest
    assert WordTokenizer(trained.model).encode("what user_0001 wants") == trained.encode("what user_0001 wants")


def test_a_word_never_seen_is_spelled_not_lost(trained: WordTokenizer) -> None:
    ids, words = trained.encode("zebra quiz")
    assert 2 not in ids
    assert "".join(trained.pieces(ids[:-1])).replace("▁", " ").strip() == "zebra quiz"
    assert words[-1] == 0
    assert set(words[:-1]) == {1, 2}


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
