"""The search itself, without fitting anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.models.presets import Dimension
from bench.tune.search import Search, Tried

SPACE = {
    "rate": Dimension(low=0.0001, high=1.0, log=True),
    "layers": Dimension(low=1, high=8, whole=True),
    "decay": Dimension(choices=(None, 0.1, 1.0)),
    "dropout": Dimension(low=0.0, high=0.8, step=0.1),
}
START = {"rate": 0.5, "layers": 1, "decay": 0.0, "dropout": 0.25}  # decay and dropout lie outside


def value(settings: Mapping[str, Any]) -> float:
    return -abs(settings["layers"] - 4) - abs(settings["dropout"] - 0.4) - (settings["decay"] is not None)


def go_on(journal: Path, count: int, *, seed: int = 0, name: str = "a") -> list[Tried]:
    search = Search(journal, name, SPACE, START, seed)
    while len(search.tried()) < count:
        proposal = search.propose()
        failed = len(search.tried()) == 3
        search.record(proposal, Tried(proposal.settings, None if failed else value(proposal.settings), 1.5))
    return search.tried()


def test_a_search_that_is_cut_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = go_on(tmp_path / "whole.journal", 25)
    for count in (1, 4, 12, 20, 25):  # past the random beginning
        Search(tmp_path / "parts.journal", "a", SPACE, START, 0).propose()  # and never recorded
        parts = go_on(tmp_path / "parts.journal", count)
    assert parts == whole
    assert whole[0].settings == START
    assert [one.value is None for one in whole] == [place == 3 for place in range(25)]


def test_what_is_proposed_lies_in_the_space_and_gets_better(tmp_path: Path) -> None:
    tried = go_on(tmp_path / "a.journal", 40)[1:]
    for one in tried:
        assert all(SPACE[name].holds(setting) for name, setting in one.settings.items())
        assert isinstance(one.settings["layers"], int)
    early, late = ([one.value for one in part if one.value is not None] for part in (tried[:10], tried[-10:]))
    assert sum(late) / len(late) > sum(early) / len(early) + 1


@pytest.mark.parametrize("other", [{"seed": 1}, {"name": "b"}])
def test_other_searches_in_the_same_journal_are_let_alone(tmp_path: Path, other: dict[str, Any]) -> None:
    journal = tmp_path / "a.journal"
    first = go_on(journal, 5)
    second = go_on(journal, 5, **{"name": "b", **other})
    assert (second == first) == ("seed" not in other)
    assert go_on(journal, 5) == first
