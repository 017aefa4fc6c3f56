"""The original's variants equal what its own functions print."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from bench.metrics import Written, parse

GOLDEN = Path(os.environ.get("BENCH_DATA_DIR", ".")) / "golden" / "p5_reference.json"


@pytest.fixture(scope="module")
def printed():
    if not GOLDEN.is_file():
        pytest.skip("needs BENCH_DATA_DIR/golden/p5_reference.json")
    return json.loads(GOLDEN.read_text(encoding="utf-8"))["text_metrics"]


@pytest.fixture(scope="module")
def written(printed):
    texts = (pl.Series(printed[name]) for name in ("references", "generated", "target_features"))
    return Written(*texts)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_bleu(printed, written, order):
    assert parse(f"P5-BLEU-{order}").per_request(written).mean() == pytest.approx(printed[f"bleu_{order}"], abs=1e-6)


@pytest.mark.parametrize("kind", ["1", "2", "L"])
@pytest.mark.parametrize(("part", "theirs"), [("", "f"), ("-P", "p"), ("-R", "r")])
def test_rouge(printed, written, kind, part, theirs):
    found = parse(f"P5-ROUGE-{kind}{part}").per_request(written).mean()
    assert found == pytest.approx(printed["rouge"][f"rouge_{kind.lower()}/{theirs}_score"], abs=1e-6)


@pytest.mark.parametrize("name", ["USR", "FMR", "FCR", "DIV"])
def test_variety_and_features(printed, written, name):
    found = parse(f"P5-{name}").per_request(written, vocabulary=printed["features"]).mean()
    assert found == pytest.approx(printed[name.lower()], abs=1e-6)
