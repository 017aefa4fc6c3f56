"""Small data sets written to disk, each with a card of its own."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ATOMIC = {"interactions": "a.inter", "items": "a.item"}
SEQUENCE = {"interactions": "s.txt", "items": "s.jsonl"}


@pytest.fixture(autouse=True)
def _no_ambient_folders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test sees an empty cache, and the shared data only when it asks for it."""
    if "shared_data" not in request.fixturenames:
        monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def data_folder() -> Path | None:
    # tests/conftest.py has set it where the data lies beside the checkout.
    folder = Path(os.environ.get("BENCH_DATA_DIR", ""))
    return folder if "BENCH_DATA_DIR" in os.environ and folder.is_dir() else None


@pytest.fixture
def shared_data(data_folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    if data_folder is None:
        pytest.skip("no prepared data: neither BENCH_DATA_DIR nor ../shared/data beside the checkout")
    monkeypatch.setenv("BENCH_DATA_DIR", str(data_folder))
    return data_folder


@pytest.fixture(scope="session")
def card_of() -> Callable[..., Path]:
    """Write source files and a card for them into a folder; returns the card's path."""

    def write(folder: Path, reader: str, files: dict[str, str | bytes], /, *, zipped: bool = False, **changes) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        names = ATOMIC if reader == "recbole-atomic" else SEQUENCE
        entries: dict[str, dict[str, object]] = {}
        for role, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            (folder / names[role]).write_bytes(gzip.compress(raw) if zipped else raw)
            entries[role] = {"path": names[role]}
        if reader == "recbole-atomic" and "items" in entries:
            columns = {"item": "item_id", "title": "movie_title", "categories": "class", "year": "release_year"}
            entries["items"]["columns"] = columns
        card = {
            "name": "small",
            "title": "Small",
            "description": "made by a test",
            "licence": "none",
            "citation": "none",
            "reader": reader,
            "order": "time" if reader == "recbole-atomic" else "sequence",
            "files": entries,
            **changes,
        }
        path = folder / "small.yaml"
        path.write_text(yaml.safe_dump(card), encoding="utf-8")
        return path

    return write
