"""What the segment cache does about files that were cut or changed, and about those that it cannot write."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import DataError
from llm_models.backbones.segment_cache import SegmentCache


def state(text: str) -> np.ndarray:
    return np.full((1 + int(text) % 7, 8), zlib.crc32(text.encode()) % 2**20, np.float32)


def numbers(*places: int) -> list[str]:
    return [str(number) for number in range(*places)]


def opened(folder: Path) -> SegmentCache:
    return SegmentCache(folder, space="s", width=8)


def fill(cache: SegmentCache, texts: list[str]) -> None:
    cache.put(texts, [state(text) for text in texts])


def assert_right(cache: SegmentCache, texts: list[str]) -> int:
    views = cache.views(texts)
    for text, view in zip(texts, views, strict=True):
        if view is not None:
            np.testing.assert_array_equal(view, state(text))
    return sum(view is not None for view in views)


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


# Texts of an even number of tokens: their states fill whole blocks of the file.
KEPT, MORE = numbers(1, 60, 7) + numbers(3, 24, 7), ["5", "12"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    with opened(folder) as cache:
        fill(cache, KEPT)
    return folder


@contextmanager
def copied(folder: Path):
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(folder, Path(place) / "copy"))


careful = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@careful
@given(suffix=st.sampled_from(["data", "index"]), share=st.floats(0, 1))
def test_files_cut_anywhere(filled, suffix, share):
    with copied(filled) as folder:
        (path,) = folder.glob(f"*.{suffix}")
        os.truncate(path, round(path.stat().st_size * share))
        with opened(folder) as cache:
            found = assert_right(cache, KEPT)
            packed = cache.states(KEPT + MORE, lambda missing: [state(text) for text in missing])
            assert [len(rows) for rows in packed] == [len(state(text)) for text in KEPT + MORE]
            assert cache.stats.misses == (12 - found) + (14 - found)
        with opened(folder) as cache:
            assert assert_right(cache, KEPT + MORE) == 14


@careful
@given(
    suffix=st.sampled_from(["data", "index"]),
    share=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
    open_before=st.booleans(),
)
def test_a_changed_byte_costs_one_segment(filled, suffix, share, flip, open_before):
    with copied(filled) as folder:
        cache = opened(folder)
        if open_before:
            assert assert_right(cache, KEPT) == 12
        (path,) = folder.glob(f"*.{suffix}")
        content = bytearray(path.read_bytes())
        content[int(len(content) * share)] ^= flip
        with path.open("r+b") as file:
            file.write(content)
        if not open_before:
            cache.close()
            cache = opened(folder)
        found = assert_right(cache, KEPT)
        if suffix == "data":
            assert found == 11
            assert cache.stats.damaged == 1
        else:
            assert found >= 11
        cache.states(KEPT, lambda missing: [state(text) for text in missing])
        assert assert_right(cache, KEPT) == 12
        cache.close()
        with opened(folder) as cache:
            # A process that had read the index before it changed did not need to store anything.
            assert assert_right(cache, KEPT) >= 11


def test_every_byte_of_a_record_counts(filled):
    with copied(filled) as folder:
        (path,) = folder.glob("*.index")
        whole = path.read_bytes()
        for place in range(60):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            with opened(folder) as cache:
                assert assert_right(cache, KEPT) == 11


def test_a_file_cut_while_it_is_open(filled):
    with copied(filled) as folder, opened(folder) as cache:
        assert assert_right(cache, KEPT) == 12
        (path,) = folder.glob("*.data")
        os.truncate(path, 100)
        assert assert_right(cache, KEPT) < 12
        assert cache.stats.damaged > 0


@contextmanager
def full_disk(limit: int):
    """Let no file grow past a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [300, 1100, 1500, 2000])
def test_a_full_disk_loses_no_result(tmp_path, limit):
    with opened(tmp_path) as cache:
        fill(cache, numbers(6))
        before = taken(tmp_path)
        with full_disk(limit), pytest.warns(RuntimeWarning, match="free disk space.*going on without storing"):
            packed = cache.states(numbers(20), lambda missing: [state(text) for text in missing])
        for row, text in zip(packed, numbers(20), strict=True):
            np.testing.assert_array_equal(row, state(text))
        with full_disk(limit), pytest.raises(DataError, match="cannot be written"):
            fill(cache, numbers(20))
        assert taken(tmp_path) == before
        assert cache.stats.unstored == 14 + 20
        assert assert_right(cache, numbers(20)) == 6
        fill(cache, numbers(20))
        assert assert_right(cache, numbers(20)) == 20


@contextmanager
def read_only(folder: Path):
    """Take away the right to write, from the superuser too."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    for path in folder.iterdir():
        path.chmod(0o444)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_read_only_folder_is_read(filled):
    with copied(filled) as folder:
        folder.parent.chmod(0o755)
        with read_only(folder), opened(folder) as cache:
            assert assert_right(cache, KEPT) == 12
            with pytest.warns(RuntimeWarning, match="Permission denied"):
                packed = cache.states(KEPT + MORE, lambda missing: [state(text) for text in missing])
            assert [len(rows) for rows in packed] == [len(state(text)) for text in KEPT + MORE]
            assert cache.stats.unstored == 2
