from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bench.cli.data import app
from bench.errors import DataError, UsageError

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
EVENTS = HEADER + "u\ti\t3\t10\nu\tj\t5\t10\nv\ti\t3\t20\nv\ti\t3\t30\n"
ITEMS = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\ni\tT\t1999\tA B\n"


@pytest.fixture
def card(tmp_path, card_of):
    counts = {"users": 2, "items": 2, "interactions": 4}
    files = {"interactions": EVENTS, "items": ITEMS}
    return str(card_of(tmp_path, "recbole-atomic", files, counts=counts, notes=["beware"]))


def said(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_prepare_says_where_the_files_are_and_what_was_checked(card, tmp_path):
    output = said("prepare", card)
    assert f"{tmp_path / 'a.inter'} (the card's folder; not pinned by the card)" in output
    assert "counts as in the card: 2 users, 2 items, 4 interactions" in output
    assert "warning: 1 repeated user-item pairs dropped" in output


def test_show_prints_the_figures(card):
    output = " ".join(said("show", card).split())
    for figure in (
        "users 2",
        "items 2",
        "interactions 3",
        "density 75.000%",
        "history length min 1, median 1.5, mean 1.5, max 2",
        "dropped: repeated user-item pairs 1",
        "ratings 3: 66.7%, 5: 33.3%",
        "mean rating 3.67",
        "first event 1970-01-01 00:00 UTC",
        "users whose last two events are tied 100.0%",
        "events tied with another of their user 66.7%",
        "items with a title 50.0%",
        "distinct categories 2",
        "note: beware",
        "licence: none",
    ):
        assert figure in output


def test_show_speaks_of_what_is_not_there(tmp_path, card_of):
    output = " ".join(said("show", str(card_of(tmp_path, "s3rec", {"interactions": "u a b\n"}))).split())
    assert "ratings none" in output
    assert "times none: only the order of each user's events is known" in output
    assert "items with a title 0.0%" in output
    assert "warning: tie order unknown" in output


def test_failures_reach_the_caller_as_what_they_are(tmp_path, card_of):
    broken = str(card_of(tmp_path, "s3rec", {"interactions": ""}))
    with pytest.raises(DataError):
        CliRunner().invoke(app, ["show", broken], catch_exceptions=False)
    with pytest.raises(UsageError, match="did you mean 'ml-100k'"):
        CliRunner().invoke(app, ["prepare", "ml100k"], catch_exceptions=False)


def test_importing_the_command_is_cheap():
    code = "import sys, bench.cli.data; sys.exit(any(name in sys.modules for name in ('polars', 'pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
