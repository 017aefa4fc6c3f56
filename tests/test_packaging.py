"""What a person gets who installs the wheel, and what the checkout must not do to other packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_cards_suites_and_prompts(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = ("bench/suites", "bench/published", "baselines/settings", "llm_models/settings")
    for source, packed in (("datasets", "bench/_cards"), *zip(inside, inside, strict=True)):
        files = [path.name for path in (ROOT / source).glob("*.yaml")]
        assert files
        assert {f"{packed}/{name}" for name in files} <= names
    texts = [str(path.relative_to(ROOT)) for path in (ROOT / "llm_models").rglob("*.yaml")]
    assert texts
    assert set(texts) <= names
    assert "bench/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "results/", "datasets/", "notebooks/"))]


def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    # -S keeps the editable install of the checkout out; dependencies come by path.
    path = os.pathsep.join([str(unpacked), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    probe = "import bench, sys; from bench.cli import main; assert bench.__file__.startswith(sys.argv.pop(1)); main()"
    words = ["run", "--suite", "quick", "--models", "popularity,ease"]
    done = subprocess.run(
        [sys.executable, "-S", "-c", probe, str(unpacked), *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "EASE" in done.stdout
    assert (tmp_path / "results").is_dir()


def test_the_root_is_not_importable() -> None:
    """The folder datasets/ must not stand in for Hugging Face's package of that name."""
    probe = "import sys, bench, importlib.util; print(sys.path); print(importlib.util.find_spec('datasets'))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert f"'{ROOT}'" not in done.stdout
    assert str(ROOT / "datasets") not in done.stdout


def test_an_installed_datasets_package_wins_even_in_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("NAME = 'the real one'\n")
    done = subprocess.run(
        [sys.executable, "-c", "import bench, datasets; print(datasets.NAME)"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "the real one"


def test_transformers_works_in_the_checkout_without_datasets() -> None:
    """Python puts the working folder on its path with -c: the folder is visible then, and must do no harm."""
    pytest.importorskip("transformers", reason="the llm extra is not installed")
    probe = "from transformers import AutoModel, AutoTokenizer, T5ForConditionalGeneration, Trainer; print('fine')"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "fine"
