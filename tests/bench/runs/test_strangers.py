"""A stranger's package: found by its entry point, and unable to take the run down with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CODE = """
import os
import time
from bench.models import FitReport, Recommender
import numpy as np

class _Base(Recommender):
    version = "1"
    side = "classic"
    def fit(self, training, *, validate, budget, seed, progress):
        return FitReport()
    def score(self, requests):
        return np.zeros((len(requests), len(requests.catalogue.items)), np.float32)
    def save(self, folder):
        pass
    @classmethod
    def load(cls, folder, settings, *, device="cpu"):
        return cls(settings)

class Raises(_Base):
    def fit(self, training, *, validate, budget, seed, progress):
        print("a word before the end", flush=True)
        raise RuntimeError("broken on purpose")

class Dies(_Base):
    def fit(self, training, *, validate, budget, seed, progress):
        os._exit(7)

class WrongShape(_Base):
    def score(self, requests):
        return np.zeros((1, 1), np.float32)

class Fine(_Base):
    pass

class Slow(_Base):
    def fit(self, training, *, validate, budget, seed, progress):
        open(os.environ["STARTED"], "w").close()
        time.sleep(300)
"""


@pytest.fixture
def bench(tmp_path: Path, make_card: Callable[..., Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line where a package with models of its own is installed."""
    site = tmp_path / "site"
    info = site / "strange_models-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[bench.models]\nraises = strange:Raises\ndies = strange:Dies\nwrong = strange:WrongShape\n"
        "fine = strange:Fine\nslow = strange:Slow\nabsent = strange:NotThere\n"
    )
    (site / "strange.py").write_text(CODE)
    rows = [(f"u{u}", f"i{(u + i) % 15}", 3.0, i) for u in range(20) for i in range(6)]
    card = make_card(rows)
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "{name: mine, description: x, protocol: {name: leave-one-out}, tasks: [direct], metrics: [HR@5],"
        f" primary: HR@5, dataset: '{card}', models: [popularity, raises, dies, wrong, fine]}}"
    )

    def call(
        *words: str, interrupt_at: Path | None = None, by: signal.Signals = signal.SIGINT
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(site),
            "BENCH_DATA_DIR": str(tmp_path),
            "STARTED": str(interrupt_at),
        }
        program = [sys.executable, "-c", "from bench.cli import main; main()", *words]
        with subprocess.Popen(
            program,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has its children ignore interrupts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            while interrupt_at is not None and not interrupt_at.exists() and process.poll() is None:
                time.sleep(0.05)
            if interrupt_at is not None:
                process.send_signal(by)
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(program, process.returncode, out, err)

    return call


def test_failures_are_kept_apart_and_the_others_go_on(
    bench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = bench("run", "--suite", "mine.yaml")
    assert done.returncode == 4, done.stderr
    for name in ("raises", "dies", "wrong"):
        assert f"{name} failed" in done.stderr
    assert "Traceback" not in done.stderr
    attempts = sorted((tmp_path / "results/runs/attempts").iterdir())
    assert len(attempts) == 3
    words = "".join((attempt / "traceback.txt").read_text() for attempt in attempts)
    assert "broken on purpose" in words
    assert "exit code 7" in words
    assert "expected scores of shape" in words
    assert any("a word before the end" in (attempt / "log.txt").read_text() for attempt in attempts)
    (folder,) = (tmp_path / "results").glob("mine-*")
    table = (folder / "table.md").read_text()
    assert "Fine" in table
    assert "Failed: raises: RuntimeError: broken on purpose" in table
    # A failure occupies no key: the next run tries again, and only what failed.
    again = bench("run", "--suite", "mine.yaml", "--dry-run")
    assert "3 of 5 cells to run" in again.stdout


def test_a_plugin_that_cannot_be_imported_is_named(bench: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bench("run", "--suite", "mine.yaml", "--models", "absent")
    assert done.returncode == 2
    assert "absent" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_where_it_stopped(
    bench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, by: signal.Signals
) -> None:
    words = ("run", "--suite", "mine.yaml", "--models", "popularity,slow")
    done = bench(*words, interrupt_at=tmp_path / "started", by=by)
    assert done.returncode == 130, done.stderr
    assert "the same command goes on from there" in done.stderr
    assert "Traceback" not in done.stderr
    store = tmp_path / "results" / "runs"
    assert not list(store.glob(".writing-*"))
    assert not (store / "attempts").exists()
    assert "1 of 2 cells to run" in bench(*words, "--dry-run").stdout
