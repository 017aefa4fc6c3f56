from __future__ import annotations

import itertools

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import Ragged
from bench.errors import UsageError
from bench.metrics import count_scores, parse

COUNTS = st.tuples(st.integers(0, 30), st.integers(0, 8))


def one(metric: str, above: int, tied: int = 0, served: bool = True, *, expected: bool = False) -> float:
    value = parse(metric).per_request(np.array([above]), np.array([tied]), np.array([served]), expected=expected)
    return float(value[0])


@pytest.mark.parametrize(
    ("metric", "above", "value"),
    [
        ("HR@1", 0, 1.0),
        ("HR@5", 4, 1.0),
        ("HR@5", 5, 0.0),
        ("NDCG@10", 0, 1.0),
        ("NDCG@10", 1, 0.6309297535714575),  # 1 / log2(3)
        ("NDCG@10", 2, 0.5),
        ("NDCG@10", 10, 0.0),
        ("MRR@20", 3, 0.25),
        ("MRR@20", 20, 0.0),
    ],
)
def test_known_values(metric: str, above: int, value: float) -> None:
    assert one(metric, above) == pytest.approx(value, abs=1e-15)


def test_ties_count_against_the_model() -> None:
    assert one("HR@5", above=3, tied=2) == 0.0
    assert one("HR@5", above=3, tied=1) == 1.0
    assert one("HR@5", above=3, tied=2, expected=True) == pytest.approx(2 / 3)


def test_an_unserved_request_is_a_miss() -> None:
    assert one("HR@20", 0, served=False) == 0.0
    assert one("NDCG@20", 0, served=False, expected=True) == 0.0


@given(COUNTS, st.sampled_from(["HR", "NDCG", "MRR"]), st.integers(1, 20))
def test_expected_is_the_mean_over_all_places_among_the_tied(counts: tuple[int, int], name: str, k: int) -> None:
    above, tied = counts
    metric = f"{name}@{k}"
    places = [one(metric, above + extra) for extra in range(tied + 1)]
    assert one(metric, above, tied, expected=True) == pytest.approx(np.mean(places), abs=1e-12)
    assert one(metric, above, tied) == min(places)


@given(st.integers(0, 30), st.sampled_from(["HR", "NDCG", "MRR"]))
def test_values_fall_with_the_rank_and_rise_with_the_cut_off(above: int, name: str) -> None:
    values = [[one(f"{name}@{k}", rank) for k in (1, 5, 10, 20)] for rank in (above, above + 1)]
    assert all(0 <= value <= 1 for value in itertools.chain(*values))
    assert all(better >= worse for better, worse in zip(*values, strict=True))
    assert values[0] == sorted(values[0])


def test_agrees_with_ir_measures() -> None:
    rng = np.random.default_rng(0)
    items = np.arange(50, dtype=np.int32)
    scores = rng.permuted(np.tile(np.linspace(0, 1, 50, dtype=np.float32), (40, 1)), axis=1)
    answer = rng.integers(0, 50, 40).astype(np.int32)
    counts = count_scores(scores.copy(), items, answer, Ragged.empty(40))
    qrels = [ir_measures.Qrel(str(row), str(item), 1) for row, item in enumerate(answer)]
    run = [ir_measures.ScoredDoc(str(row), str(item), float(scores[row, item])) for row in range(40) for item in items]
    for ours, theirs in {
        "HR@5": ir_measures.Success @ 5,
        "NDCG@10": ir_measures.nDCG @ 10,
        "MRR@20": ir_measures.RR @ 20,
    }.items():
        expected = {int(row.query_id): row.value for row in ir_measures.iter_calc([theirs], qrels, run)}
        values = parse(ours).per_request(counts.above, counts.tied, counts.served)
        np.testing.assert_allclose(values, [expected[row] for row in range(40)], atol=1e-12)


@pytest.mark.parametrize("text", ["NDCG", "NDCG@0", "recall@10", "NDCG@x", ""])
def test_a_metric_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="unknown metric"):
        parse(text)


def test_a_metric_prints_as_it_is_read() -> None:
    assert str(parse(" ndcg@10 ")) == "NDCG@10"
    assert parse("NDCG@10") == parse("ndcg@10")
    assert parse("HR@3").higher_is_better
