"""A suite that allows item numbers made from held-out events: other keys, and a warning under every table."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bench.errors import UsageError
from bench.runs.plan import make_plan
from bench.runs.run import folder_name
from bench.runs.suite import load_suite

EACH = "popularity, {model: parrot, settings: {prompt: each}}"


def test_a_suite_that_does_not_ask_for_it_shows_no_trace(aviary: Any) -> None:
    suite = aviary.suite("popularity")
    assert "allow_leaky_index" not in suite.model_dump()
    explicit = suite.narrowed(changes={"allow_leaky_index": False})
    assert explicit == suite
    assert folder_name(explicit) == folder_name(suite)
    (cell,) = make_plan(suite, aviary.store).cells
    assert "leaky_index" not in cell.spec
    with pytest.raises(UsageError, match="allow_leaky_index"):
        suite.narrowed(changes={"allow_leaky_index": "perhaps"})


def test_one_that_does_is_another_suite_with_other_keys(aviary: Any) -> None:
    suite = aviary.suite("popularity")
    leaky = suite.narrowed(changes={"allow_leaky_index": True})
    assert folder_name(leaky) != folder_name(suite)
    plain, leaking = (make_plan(one, aviary.store) for one in (suite, leaky))
    assert plain.cells[0].key != leaking.cells[0].key
    assert leaking.split.identity == plain.split.identity  # the same events are held out
    assert plain.split.training.leak is None
    assert leaking.split.training.leak is not None


@pytest.mark.parametrize("refit", [False, True])
def test_models_get_it_and_every_table_says_so(aviary: Any, refit: bool) -> None:
    suite = aviary.suite(EACH, "direct").narrowed(changes={"allow_leaky_index": True, "refit": refit})
    outcome = aviary.run(suite)
    outcome.raise_failures()
    assert [fit["leak"] for fit in aviary.fits] == [True] * (1 + refit)
    assert yaml.safe_load((outcome.folder / "suite.yaml").read_text())["allow_leaky_index"] is True
    assert load_suite(str(outcome.folder / "suite.yaml")) == suite
    told = "an index of this table was numbered from held-out events"
    said = (outcome.folder / "table.md").read_text()
    assert said.count(told) == said.count("Split ") == 2  # the main table, and the one of the request set
    assert told in (outcome.folder / "prompts.md").read_text()
    tex = (outcome.folder / "table.tex").read_text()
    assert tex.count(told) == tex.count(r"\begin{table}")
