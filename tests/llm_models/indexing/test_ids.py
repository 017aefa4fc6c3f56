from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DataError, UsageError
from llm_models.indexing import IdIndex, random_ids


@settings(deadline=None)
@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=300), st.integers(0, 5), st.sampled_from([1, 2, 3]))
def test_ids_are_distinct_numbers_of_one_width(codes: set[int], seed: int, digits: int) -> None:
    index = random_ids(np.array(sorted(codes)), seed=seed, digits=digits, prefix="p_")
    numbers = [word.removeprefix("p_") for word in index.word]
    assert len(set(numbers)) == len(codes)
    (width,) = {len(number) for number in numbers}
    assert width % digits == 0
    assert width >= 2 * digits
    assert [index.code_of[word] for word in index.word] == sorted(codes)


@settings(deadline=None)
@given(st.permutations(list(range(50))))
def test_ids_depend_on_the_set_alone(order: list[int]) -> None:
    reference = random_ids(np.arange(50), seed=3, digits=2)
    assert random_ids(np.array(order), seed=3, digits=2).digest == reference.digest


def test_ids_depend_on_the_seed_and_not_on_the_order_of_codes() -> None:
    one, other = (random_ids(np.arange(1000), seed=seed, digits=2) for seed in (0, 1))
    assert one.digest != other.digest
    numbers = np.array([int(word) for word in one.word])
    # A permutation drawn at random keeps no trace of the codes: |Spearman| has standard deviation 1/sqrt(999).
    assert abs(np.corrcoef(numbers.argsort().argsort(), np.arange(1000))[0, 1]) < 4 / np.sqrt(999)


def test_groups_are_shared_evenly() -> None:
    index = random_ids(np.arange(1682), seed=0, digits=2)
    leading = Counter(word[:2] for word in index.word)
    assert len(leading) == 100
    assert set(leading.values()) == {16, 17}
    trailing = Counter(word[2:] for word in index.word)
    assert len(trailing) == 100
    assert max(trailing.values()) <= 2 * 1682 / 100


def test_more_items_than_two_groups_can_write() -> None:
    assert {len(word) for word in random_ids(np.arange(10_001), seed=0, digits=2).word} == {6}


def test_rows_and_file(tmp_path: Path) -> None:
    index = random_ids(np.array([7, 3, 40]), seed=0, digits=2)
    np.testing.assert_array_equal(index.rows(np.array([40, 8, 3, 41, 7])), [2, -1, 0, -1, 1])
    index.save(tmp_path / "index.json")
    read = IdIndex.load(tmp_path / "index.json")
    np.testing.assert_array_equal(read.code, index.code)
    assert read.word == index.word
    assert read.digest == index.digest


def test_other_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text('{"format": 99, "codes": {}}')
    with pytest.raises(DataError, match="index format 99"):
        IdIndex.load(path)


def test_words_and_digest_of_a_seed_never_change() -> None:
    # Written down when this was the only kind of index there was.
    index = random_ids(np.array([7, 3, 40, 1000, 5]), seed=4, digits=2, prefix="p_")
    assert index.word == ("p_0000", "p_6000", "p_2000", "p_8000", "p_4000")
    assert index.digest == "b3db6d9be403be29cf4d067d90154d217e01cfa3544995d6df75c4595dd5f3da"


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    index = random_ids(np.arange(3), seed=0, digits=2)
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"format": 1, "codes": index.code_of}))
    read = IdIndex.load(path)
    assert (read.kind, read.word, read.digest) == ("random", index.word, index.digest)


def test_what_gives_ids_to_newcomers_must_be_known_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    said = {"name": "oracle", "settings": {}, "arrays": []}
    path.write_text(json.dumps({"format": 1, "codes": {"00": 1}, "newcomers": said}))
    with pytest.raises(DataError, match="'oracle', which this version does not know"):
        IdIndex.load(path)
    path.write_text(json.dumps({"format": 1, "codes": {"00": 1}, "newcomers": {**said, "arrays": ["books"]}}))
    with pytest.raises(DataError, match=r"index\.npz, are not beside it"):
        IdIndex.load(path)
    np.savez(path.with_suffix(".npz"), other=np.zeros(1))
    with pytest.raises(DataError, match="holds no array 'books'"):
        IdIndex.load(path)


def test_random_ids_say_that_items_met_later_have_none(rows_of: Callable[..., pl.DataFrame]) -> None:
    index = random_ids(np.arange(3), seed=0, digits=2)
    assert not index.can_extend
    with pytest.raises(UsageError, match="given to training items alone"):
        index.extend(rows_of({5: "new"}))
