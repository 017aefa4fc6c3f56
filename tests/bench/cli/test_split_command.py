from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from bench.cli import main
from bench.data import load_dataset
from bench.errors import UsageError
from bench.runs.suite import load_suite
from bench.splits import make_split
from bench.splits.exchange.published import Published

ROWS = [(f"u{user}", f"i{(user * 3 + at) % 11}", 3.0, 100 * at + user) for user in range(12) for at in range(5)]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Bench = Callable[..., Done]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run ``bench split`` in this process."""

    def run(*words: str, cwd: Path | None = None) -> Done:
        monkeypatch.setattr(sys, "argv", ["bench", "split", *words])
        if cwd is not None:
            monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as left:
            main()
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def card(make_card: Callable[..., Path]) -> str:
    return str(make_card(ROWS))


def test_there_and_back(bench: Bench, card: str, tmp_path: Path) -> None:
    """What is exported is what is shown; its import shows the same sets and says how to use them."""
    options = ["--dataset", card, "--protocol", "cold-start", "--set", "test_users=0.3", "--split-seed", "2"]
    shown = bench("show", *options)
    assert shown.returncode == 0, shown.stderr
    assert "30% of users" in shown.stdout
    exported = bench("export", *options, "--to", "out", "--format", "trec, parquet,recbole", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert shown.stdout.strip() in exported.stdout
    assert "not carried: general: histories of cold users" in exported.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} > {"README.txt", "split.json", "recbole", "trec"}
    read = bench("import", "out", "--dataset", card, cwd=tmp_path)
    assert read.returncode == 0, read.stderr

    def table(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(("valid/", "test/", "learned"))]

    assert len(table(shown.stdout)) > 10
    assert table(read.stdout) == table(shown.stdout)
    assert f"--dataset {card} --split out" in read.stdout
    assert "protocol: {name: published, folder: out}" in read.stdout


def test_a_suite_names_data_protocol_and_seed(bench: Bench, make_card: Callable[..., Path], tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        f"{{name: mine, description: x, dataset: '{make_card(ROWS)}', protocol: {{name: cold-start}}, split_seed: 7,"
        " tasks: [sequential], metrics: [HR@10], primary: HR@10, models: [popularity]}"
    )
    done = bench("show", "--suite", str(suite), "--set", "test_users=0.3", "--set", "protocol.test_items=0.2")
    assert done.returncode == 0, done.stderr
    assert "30% of users and 20% of items cold" in done.stdout
    assert "split seed 7" in done.stdout
    assert "split seed 8" in bench("show", "--suite", str(suite), "--split-seed", "8").stdout


def test_a_suite_can_use_an_imported_split(bench: Bench, card: str, tmp_path: Path) -> None:
    assert (
        bench("export", "--dataset", card, "--protocol", "leave-one-out", "--to", str(tmp_path / "out")).returncode == 0
    )
    suite = load_suite("quick")
    changed = suite.narrowed(split=tmp_path / "out")
    assert changed.protocol == Published(folder=str(tmp_path / "out"))
    assert changed.models == suite.models
    assert "leave-one-out" in make_split(load_dataset(card), changed.protocol).protocol
    with pytest.raises(UsageError, match="no folder"):
        suite.narrowed(split=tmp_path / "none")


def test_published_files_are_described_with_their_defects(bench: Bench, card: str, tmp_path: Path) -> None:
    table = pl.DataFrame(ROWS, schema=["user_id", "parent_asin", "rating", "timestamp"], orient="row")
    place = pl.int_range(pl.len()).over("user_id")
    folder = tmp_path / "last_out"
    folder.mkdir()
    for part, chosen in (("train", place < 3), ("valid", place == 3), ("test", place >= 3)):
        table.filter(chosen).write_csv(folder / f"Toys.{part}.csv")
    done = bench("import", str(folder), "--dataset", card)
    assert done.returncode == 0, done.stderr
    assert "learned from: 36 events of 12 users" in done.stdout
    assert "12 of 24 test pairs are in validation too" in done.stdout
    (folder / "Toys.test.csv").write_text("user_id,parent_asin\nu1,nothing\n")
    wrong = bench("import", str(folder), "--dataset", card)
    assert wrong.returncode == 3
    assert "Toys.test.csv, row 2: 1 rows name 1 items that are not in tiny, for example 'nothing'" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["export", "--to", "x"], "give --dataset and --protocol, or --suite", 2),
        (["show", "--suite", "quick", "--dataset", "ml-100k"], "either --suite, or", 2),
        (["show", "--dataset", "CARD", "--protocol", "leave-one-ot"], "did you mean 'leave-one-out'", 2),
        (["show", "--dataset", "CARD", "--protocol", "cold-start", "--set", "test_user=1"], "test_user: no such", 2),
        (["show", "--dataset", "CARD", "--protocol", "cold-start", "--set", "test_users=2"], "test_users: ", 2),
        (["show", "--dataset", "CARD", "--protocol", "cold-start", "--set", "nonsense"], "KEY=VALUE", 2),
        (["show", "--suite", "quick", "--set", "test_users=2"], "test_users", 2),
        (["export", "--suite", "quick", "--to", "x", "--format", "parqet"], "did you mean 'parquet'", 2),
        (["export", "--suite", "quick", "--to", "x", "--format", ","], "name at least one format", 2),
        (["export", "--suite", "quick", "--to", "."], "not an empty folder", 2),
        (["import", "nowhere", "--dataset", "CARD"], "no such folder", 3),
        (["import", ".", "--dataset", "CARD"], "no file of the train part", 3),
    ],
)
def test_mistakes_are_said(bench: Bench, card: str, words: list[str], message: str, code: int, tmp_path: Path) -> None:
    done = bench(*(card if word == "CARD" else word for word in words), cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()
