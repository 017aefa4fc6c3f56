from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli.doctor import wanted


def bench(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from bench.cli import main; main()", *words]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    probe = (
        "import sys\n"
        "sys.argv = ['bench', '--help']\n"
        "from bench.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'polars', 'pandas', 'scipy', 'numpy', 'matplotlib', 'transformers', 'recbole', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert "run" in done.stdout
    assert done.stderr.strip() == "[]"
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        bench("--help")
        spent.append(time.perf_counter() - start)
    # Against starting the interpreter: an absolute time would say more about the machine than about us.
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import typer"], check=True)
    assert min(spent) < 6 * (time.perf_counter() - start) + 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--suite", "coldstrat"], "did you mean 'coldstart'"),
        (["run", "--suite", "quick", "--models", "popularty"], "did you mean 'popularity'"),
        (["run", "--suite", "quick", "--dataset", "amazon-beuty"], "did you mean 'amazon-beauty'"),
        (["run", "--suite", "quick", "--dry-run", "--set", "ease.reg_wieght=3"], "did you mean 'reg_weight'"),
        (["run", "--suite", "quick", "--set", "nonsense"], "KEY=VALUE"),
        (["run", "--suite", "quick", "--seeds", "one"], "whole numbers"),
        (["run", "--suite", "quick", "--dry-run", "--device", "gpu"], "--device takes"),
        (["list", "modles"], "did you mean 'models'"),
        (["data", "show", "ml-100"], "did you mean 'ml-100k'"),
        (["run"], "--suite"),
    ],
)
def test_what_does_not_exist_is_a_usage_error(words: list[str], message: str, tmp_path: Path) -> None:
    done = bench(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_listing() -> None:
    done = bench("list")
    assert done.returncode == 0
    for name in ("coldstart", "quick", "sasrec", "p5", "m6", "ml-100k", "yelp-2019"):
        assert name in done.stdout
    assert "sasrec" not in bench("list", "datasets").stdout


def test_doctor_runs() -> None:
    done = bench("doctor")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    for extra, package in (("core", "polars"), ("classic", "torch"), ("llm", "torch"), ("tune", "optuna")):
        assert any(line[:2] == [extra, package] for line in lines), (extra, package)


def test_dry_run_shows_the_plan_and_runs_nothing(tmp_path: Path) -> None:
    done = bench("run", "--suite", "quick", "--models", "popularity,ease", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells to run" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_broken_data_file_is_a_data_error(tmp_path: Path) -> None:
    card = tmp_path / "mine.yaml"
    (tmp_path / "mine.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\tsoon\n")
    columns = "{user: user_id, item: item_id, time: timestamp}"
    card.write_text(
        "{name: mine, title: x, description: x, licence: x, citation: x, reader: recbole-atomic, order: time,"
        f" files: {{interactions: {{path: ['{tmp_path}/mine.inter'], columns: {columns}}}}}}}"
    )
    done = bench("run", "--suite", "quick", "--dataset", str(card), "--models", "popularity", cwd=tmp_path)
    assert done.returncode == 3
    assert "mine.inter" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_doctor_knows_extras_with_hyphens(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["numpy>=2", "accelerate>=1.0; extra == 'multi-gpu'", "torch>=2; extra == 'llm'", "ruff; extra == 'dev'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: said)
    assert wanted() == {"core": ["numpy"], "multi-gpu": ["accelerate"], "llm": ["torch"]}
