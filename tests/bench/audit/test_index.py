from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from bench.audit import fingerprint, first_appearance, moves_with_held_out, number_words, read_index, refuse_moving
from bench.data.hashing import digest
from bench.data.ragged import Ragged
from bench.errors import DataError, ModelError
from bench.splits import Training

SEQUENCES = [[0, 1, 2], [2, 3], [4, 5, 1]]
WHOLE = [[0, 1, 2, 6, 7], [2, 3, 8, 0], [4, 5, 1, 9, 6]]


@pytest.fixture
def training() -> Training:
    codes = sorted({item for row in SEQUENCES for item in row})
    return Training(
        user=np.arange(3, dtype=np.int32),
        sequences=Ragged.from_lists(SEQUENCES),
        time=None,
        rating=None,
        items=pl.DataFrame({"item": pl.Series(codes, dtype=pl.Int32)}),
        leak=Ragged.from_lists(WHOLE),
    )


def honest(training: Training) -> str:
    return digest(first_appearance(training.sequences, seed=0).tolist())


def leaky(training: Training) -> str:
    walked = training.sequences if training.leak is None else training.leak
    return digest(first_appearance(walked, seed=0).tolist())


def test_an_index_that_knows_held_out_rows_fails_the_run(training: Training) -> None:
    assert not moves_with_held_out(honest(training), honest, training)
    assert moves_with_held_out(leaky(training), leaky, training)
    refuse_moving("honest", honest(training), honest, training)
    with pytest.raises(ModelError, match="the index 'leaky' changes when held-out rows change"):
        refuse_moving("leaky", leaky(training), leaky, training)


def test_out_of_reach_nothing_can_be_known(training: Training) -> None:
    closed = replace(training, leak=None)
    refuse_moving("leaky", leaky(closed), leaky, closed)


def test_training_rows_are_the_same_in_the_other_world(training: Training) -> None:
    seen: list[list[list[int]]] = []

    def note(data: Training) -> str:
        assert data.leak is not None
        seen.append([row.tolist() for row in data.leak])
        return ""

    moves_with_held_out("", note, training)
    (other,) = seen
    assert other != WHOLE
    assert [row[: len(own)] for row, own in zip(other, SEQUENCES, strict=True)] == SEQUENCES
    assert sorted(item for row in other for item in row) == sorted(item for row in WHOLE for item in row)


def measured(above: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"above": above, "tied": [0] * len(above), "served": [True] * len(above)})


def test_fingerprints() -> None:
    first = fingerprint(measured([0] * 7 + [50] * 93))
    assert (first.hit_rate, first.ndcg, first.ratio) == (pytest.approx(0.07), pytest.approx(0.07), pytest.approx(1))
    assert first.flagged
    # The same hits at rank 5 (1 / log2 6), and fewer hits at rank 1: both below the rule.
    fifth = fingerprint(measured([4] * 7 + [50] * 93))
    assert fifth.ratio == pytest.approx(0.3869, abs=1e-4)
    assert not fifth.flagged
    assert not fingerprint(measured([0] * 5 + [50] * 95)).flagged
    nothing = fingerprint(measured([50] * 10))
    assert nothing.ratio is None
    assert not nothing.flagged


def test_words_stand_in_the_order_of_their_numbers() -> None:
    words = {"a_10b_2n_0": 3, "a_2b_10n_0": 0, "a_2b_9n_1": 5, "a_2b_9n_0": 1}
    assert number_words(words, 6).tolist() == [3, 1, -1, 4, -1, 2]
    plain = {"0102": 0, "0011": 1, "9": 2}
    assert number_words(plain, 3).tolist() == [3, 2, 1]


def test_a_saved_decode_table_is_read(tmp_path) -> None:
    assert read_index(tmp_path) is None
    (tmp_path / "items.json").write_text('{"format": 1, "codes": {"0001": 4}}')
    assert read_index(tmp_path) == {"0001": 4}
    (tmp_path / "items.json").write_text('{"words": []}')
    with pytest.raises(DataError, match="no decode table"):
        read_index(tmp_path)
