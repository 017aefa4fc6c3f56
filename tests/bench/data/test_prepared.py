"""What is read once and kept: found again when nothing changed, made again when anything did."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from bench.data import load_dataset
from bench.errors import DataError

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = "u\ti\t3\t10\nu\tj\t5\t20\nv\ti\t3\t20\n"


@pytest.fixture
def card(tmp_path, card_of) -> Path:
    return card_of(tmp_path, "recbole-atomic", {"interactions": HEADER + ROWS})


def prepared(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "prepared").iterdir())


def test_the_same_files_are_read_once(card, tmp_path):
    first = load_dataset(card)
    (folder,) = prepared(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    second = load_dataset(card)
    assert prepared(tmp_path) == [folder]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    assert first.identity == second.identity
    assert first.interactions.equals(second.interactions)


def test_a_changed_row_is_read_anew_even_with_the_old_size_and_time(card, tmp_path):
    before = load_dataset(card)
    source = tmp_path / "a.inter"
    times = source.stat()
    source.write_text(HEADER + ROWS.replace("5", "4"))
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert source.stat().st_size == times.st_size
    after = load_dataset(card)
    assert after.identity != before.identity
    assert sorted(after.interactions["rating"]) == [3, 3, 4]


def test_a_changed_reading_is_read_anew(tmp_path, card_of):
    files = {"interactions": HEADER + ROWS + "w\ti\tmany\t30\n"}
    with pytest.raises(DataError, match="row 5"):
        load_dataset(card_of(tmp_path, "recbole-atomic", files))
    dataset = load_dataset(card_of(tmp_path, "recbole-atomic", files, reading={"bad_rows": "drop"}))
    assert dataset.interactions.height == 3
    assert sum(dataset.dropped.values()) == 1
    assert any("1 rows were left out while reading" in warning for warning in dataset.warnings)


def test_what_failed_leaves_nothing_behind(tmp_path, card_of):
    with pytest.raises(DataError):
        load_dataset(card_of(tmp_path, "recbole-atomic", {"interactions": HEADER + "u\ti\tmany\t30\n"}))
    assert prepared(tmp_path) == []


def test_a_cache_that_was_deleted_is_made_again(card, tmp_path):
    before = load_dataset(card)
    shutil.rmtree(tmp_path / "cache")
    assert load_dataset(card).identity == before.identity


def test_a_cache_that_cannot_be_written_names_the_remedy(card, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(DataError, match="BENCH_CACHE_DIR"):
        load_dataset(card)


def test_readers_at_the_same_time_agree(card, tmp_path):
    identities: list[str] = []
    threads = [threading.Thread(target=lambda: identities.append(load_dataset(card).identity)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(identities) == 6
    assert len(set(identities)) == 1
    assert len(prepared(tmp_path)) == 1


def test_an_item_on_two_rows_is_refused_unless_they_agree(tmp_path, card_of):
    events = {"interactions": "u i j\n"}
    same = events | {"items": '{"id": "i", "title": "T"}\n{"id": "j", "title": "U"}\n'}
    assert load_dataset(card_of(tmp_path, "s3rec", same)).dropped == {}
    differing = events | {"items": '{"id": "i", "title": "T"}\n{"id": "i", "title": "U"}\n'}
    with pytest.raises(DataError, match="'i'"):
        load_dataset(card_of(tmp_path, "s3rec", differing))
