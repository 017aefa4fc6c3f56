"""What an interrupted fit goes on from: it outlives a killed process, and goes when the cell is stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.runs.plan import make_plan
from bench.runs.store import Store, read_json

SUITE = "popularity, parrot"


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def bench(aviary: Any) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the command line where the package is installed."""

    def start(*words: str) -> subprocess.Popen[bytes]:
        aviary.suite_file(SUITE, "direct")
        program = [sys.executable, "-c", "from bench.cli import main; main()", "run", "--suite", "parrots.yaml", *words]
        environment = {**os.environ, "PYTHONPATH": str(aviary.site), "BENCH_DATA_DIR": str(aviary.place)}
        return subprocess.Popen(program, cwd=aviary.place, env=environment, stderr=subprocess.DEVNULL)

    return start


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes through /proc")
def test_a_run_killed_while_it_fits_goes_on_from_what_the_model_kept(aviary: Any, bench: Any) -> None:
    (aviary.package / "block").touch()
    killed = bench()
    until((aviary.package / "blocked").exists)
    (fit,) = aviary.fits
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    # The process that fits ends with the one that was killed: it has the folder to itself while it lives.
    until(lambda: not runs(fit["pid"]), 30)
    scratch = Path(fit["scratch"])
    assert read_json(scratch / "steps.json") == [fit["pid"]] * 2
    (aviary.package / "block").unlink()

    # A run of something else tidies up in the store, and leaves it alone.
    assert bench("--models", "popularity").wait(timeout=120) == 0
    assert (scratch / "steps.json").is_file()

    assert bench().wait(timeout=120) == 0
    _, again = aviary.fits
    assert (again["begins"], again["scratch"]) == (2, fit["scratch"])
    cell = next(cell for cell in make_plan(aviary.suite(SUITE, "direct"), aviary.store).cells if cell.name == "parrot")
    assert cell.done
    assert scratch == aviary.store.root / "unfinished" / cell.key / "fit"
    stored = read_json(aviary.store.cell(cell.key) / "model" / "steps.json")["steps"]
    assert stored == [fit["pid"]] * 2 + [again["pid"]] * 2
    assert read_json(aviary.store.cell(cell.key) / "provenance.json")["resumed"] is True
    assert not list((aviary.store.root / "unfinished").iterdir())
    said = "".join(path.read_text() for path in (aviary.place / "results").glob("parrots-*/costs.md"))
    assert "Went on from an interrupted fit, whose seconds are not counted: Parrot 1." in said


def test_a_fit_that_fails_leaves_its_scratch_folder_and_a_refit_has_its_own(aviary: Any) -> None:
    broken = aviary.suite("{model: parrot, settings: {breaks: fit}}", "direct")
    assert aviary.run(broken).failed
    scratch = Path(aviary.fits[0]["scratch"])
    assert len(read_json(scratch / "steps.json")) == 4
    whole = aviary.suite("parrot", "direct").narrowed(changes={"refit": True})
    aviary.run(whole).raise_failures()
    first, second = aviary.fits[1:]
    assert (first["begins"], second["begins"]) == (0, 0)
    assert Path(first["scratch"]).parent == Path(second["scratch"]).parent != scratch.parent
    assert [Path(fit["scratch"]).name for fit in (first, second)] == ["fit", "refit"]
    assert [path for path in aviary.store.root.glob("unfinished/*") if path.is_dir()] == [scratch.parent]


def test_only_one_process_has_a_scratch_folder(tmp_path: Path) -> None:
    store, waited, order = Store(tmp_path), [], []
    entered = threading.Event()

    def other() -> None:
        with Store(tmp_path).unfinished("key", lambda: waited.append(True)) as folder:
            order.append(sorted(path.name for path in folder.iterdir()))

    with store.unfinished("key", entered.set) as folder:
        thread = threading.Thread(target=other)
        thread.start()
        until(lambda: bool(waited))
        (folder / "checkpoint").touch()
        order.append("first")
    thread.join(30)
    assert order == ["first", ["checkpoint"]]
    assert not entered.is_set()


def test_it_goes_with_the_end_of_the_fit_and_with_the_next_sweep(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def finish(key: str) -> None:
        with store.writing(store.cell(key)) as folder:
            (folder / "fit.json").write_text("{}")

    def never() -> None:
        raise AssertionError("nobody else has it")

    with store.unfinished("one", never) as folder:
        (folder / "checkpoint").touch()
        finish("one")
    assert not list(tmp_path.glob("unfinished/*"))
    with store.unfinished("two", never) as folder:
        (folder / "checkpoint").touch()
    store.sweep()
    assert (tmp_path / "unfinished" / "two" / "checkpoint").is_file()
    finish("two")
    with store.unfinished("two", never), store.unfinished("three", never):
        store.sweep()
        assert (tmp_path / "unfinished" / "two").is_dir()  # someone is at work
    finish("three")
    store.sweep()
    assert not list(tmp_path.glob("unfinished/*"))
