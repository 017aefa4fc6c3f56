"""Fixtures that several test folders share."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]

# What tests read is kept apart from what their user has prepared; worker processes inherit it.
os.environ["BENCH_CACHE_DIR"] = tempfile.mkdtemp(prefix="bench-cache-")
atexit.register(shutil.rmtree, os.environ["BENCH_CACHE_DIR"], ignore_errors=True)

# Nothing in a test may go to a model hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "BENCH_DATA_DIR" not in os.environ and (beside := ROOT.parent / "shared" / "data").is_dir():
    os.environ["BENCH_DATA_DIR"] = str(beside)

Row = tuple[str, str, float, int]
CardMaker = Callable[..., Path]


@pytest.fixture
def make_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CardMaker:
    """Write interactions (user, item, rating, time) and items (item, title, categories) with a card over them."""

    def write(rows: Sequence[Row], items: Sequence[tuple[str, str, str]] = (), name: str = "tiny") -> Path:
        monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
        lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
        lines += [f"{user}\t{item}\t{rating}\t{time}" for user, item, rating, time in rows]
        (tmp_path / f"{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
        files = {
            "interactions": {
                "path": [f"{name}.inter"],
                "howto": "made by the test",
                "columns": {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"},
            }
        }
        if items:
            lines = ["item_id:token\ttitle:token_seq\tcategories:token_seq"]
            lines += ["\t".join(row) for row in items]
            (tmp_path / f"{name}.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
            files["items"] = {
                "path": [f"{name}.item"],
                "howto": "made by the test",
                "columns": {"item": "item_id", "title": "title", "categories": "categories"},
            }
        card = {
            "name": name,
            "title": "Made by a test",
            "description": "Made by a test.",
            "licence": "none",
            "citation": "none",
            "reader": "recbole-atomic",
            "order": "time",
            "files": files,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(card), encoding="utf-8")
        return path

    return write


ReviewRow = tuple[str, str, float, int, str | None, str | None]


@pytest.fixture
def make_review_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write reviews (user, item, stars, day, headline, text) with a card over them."""

    def write(rows: Sequence[ReviewRow], name: str = "reviewed") -> Path:
        monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
        keys = ("reviewerID", "asin", "overall", "unixReviewTime", "summary", "reviewText")
        lines = [
            json.dumps({**dict(zip(keys, row, strict=True)), "unixReviewTime": 1_300_000_000 + 86_400 * row[3]})
            for row in rows
        ]
        (tmp_path / f"{name}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
        card = {
            "name": name,
            "title": "Made by a test",
            "description": "Made by a test.",
            "licence": "none",
            "citation": "none",
            "reader": "amazon-2014",
            "order": "time",
            "files": {"interactions": {"path": [f"{name}.json"], "howto": "made by the test"}},
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(card), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def review_rows() -> list[ReviewRow]:
    """What the users of the small world write: 40 users, eight reviews each, all of which explain themselves."""
    from bench.models.testing import small_world

    world, rows = small_world(), []
    for user, items in zip(world.users, world.sequences, strict=True):
        for day, item in enumerate(items):
            written = world.review(int(user), int(item))
            stars = float(world.stars(item))
            rows.append((f"u{user}", f"i{item}", stars, day, written["headline"], written["text"]))
    return rows
