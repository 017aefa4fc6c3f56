"""The folder of the segment cache: several processes, crashes, bounds."""

from __future__ import annotations

import fcntl
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from bench.errors import DataError
from llm_models.backbones import segment_files
from llm_models.backbones.segment_cache import SegmentCache

# What another process runs: states that tell their text, stored until it is stopped, each call told once it is done.
WRITER = """
import sys, zlib
from pathlib import Path
import numpy as np
from llm_models.backbones.segment_cache import SegmentCache

folder, bound, first, last, size = Path(sys.argv[1]), *map(int, sys.argv[2:])

def state(text):
    return np.full((1 + int(text) % size, 8), zlib.crc32(text.encode()) % 2**20, np.float32)

with SegmentCache(folder, space="s", width=8, max_bytes=bound) as cache:
    print("ready", flush=True)
    for start in range(first, last, 20):
        texts = [str(number) for number in range(start, min(start + 20, last))]
        packed = cache.states(texts, lambda missing: [state(text) for text in missing])
        assert all((packed[row] == state(text)).all() and len(packed[row]) for row, text in enumerate(texts))
        print(start, flush=True)
    assert not cache.stats.unstored and not cache.stats.damaged, cache.stats
"""


def state(text: str, size: int = 7) -> np.ndarray:
    return np.full((1 + int(text) % size, 8), zlib.crc32(text.encode()) % 2**20, np.float32)


def numbers(*places: int) -> list[str]:
    return [str(number) for number in range(*places)]


def opened(folder: Path, *, space: str = "s", max_bytes: int = 2**20, dtype: str = "float32") -> SegmentCache:
    return SegmentCache(folder, space=space, width=8, max_bytes=max_bytes, dtype=dtype)


def fill(cache: SegmentCache, texts: list[str]) -> None:
    cache.put(texts, [state(text) for text in texts])


def assert_right(cache: SegmentCache, texts: list[str], size: int = 7) -> int:
    views = cache.views(texts)
    for text, view in zip(texts, views, strict=True):
        if view is not None:
            np.testing.assert_array_equal(view, state(text, size))
    return sum(view is not None for view in views)


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def start_writer(folder: Path, *arguments: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_whatever_the_states_depend_on_is_part_of_the_key(tmp_path):
    with opened(tmp_path) as cache:
        fill(cache, ["1"])
        assert cache.get(["1", "1 ", "01"])[0].tolist() == [True, False, False]
    for space, dtype, width in [("s2", "float32", 8), ("s", "float16", 8), ("s", "float32", 4), ("", "float32", 8)]:
        with SegmentCache(tmp_path, space=space, width=width, dtype=dtype) as cache:
            assert not cache.get(["1"])[0].any()
    with opened(tmp_path) as cache:
        assert cache.get(["1"])[0].all()


@pytest.mark.parametrize("bound", [10**6, 20_000])
def test_processes_that_write_at_once(tmp_path, bound):
    writers = [start_writer(tmp_path, bound, first, first + 400, 7) for first in (0, 200)]
    with opened(tmp_path, max_bytes=bound) as reader:
        while any(writer.poll() is None for writer in writers):
            assert_right(reader, numbers(600))
            with (tmp_path / "lock").open("a") as lock:  # between two writes: files come and go
                fcntl.flock(lock, fcntl.LOCK_EX)
                assert taken(tmp_path) <= bound
            time.sleep(0.02)
        for writer in writers:
            _, told = writer.communicate()
            assert writer.returncode == 0, told
        found = assert_right(reader, numbers(600))
        assert reader.stats.damaged == 0
        if bound == 10**6:
            assert found == reader.stats.entries == 600
            # What both computed is kept once: the states take no more than they and their records must.
            assert taken(tmp_path) == sum(-(-state(text).nbytes // 64) * 64 + 64 for text in numbers(600))
        else:
            assert found > 30


def test_a_killed_writer_leaves_a_valid_cache(tmp_path):
    rng = random.Random(0)
    size, done = 5000, 0
    for _ in range(4):
        writer = start_writer(tmp_path, 10**9, done, 10**6, size)
        assert writer.stdout.readline() == "ready\n"
        writer.stdout.readline()
        time.sleep(rng.random() / 50)
        writer.kill()
        rest, _ = writer.communicate()
        before = done
        done = 20 + int((rest.splitlines() or [str(done)])[-1])
        with opened(tmp_path, max_bytes=10**9) as cache:
            assert assert_right(cache, numbers(before, done), size) == done - before
            assert_right(cache, numbers(done, done + 20), size)
            assert cache.stats.damaged == 0
            cache.put(["999999"], [state("999999", size)])
            assert assert_right(cache, ["999999"], size) == 1


@pytest.mark.parametrize("limit", [1, 100, 700, 1000, 1500])
def test_killed_in_the_middle_of_a_write(tmp_path, limit):
    # At this size of a file the system kills who writes on.
    dying = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    )
    with opened(tmp_path) as cache:
        fill(cache, ["0"])
        command = [sys.executable, "-c", f"{dying}\n{WRITER}", str(tmp_path), "1000000", "0", "20", "7"]
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGXFSZ
        assert taken(tmp_path) >= limit
        assert assert_right(cache, numbers(20)) == 1
        fill(cache, numbers(10))
        assert assert_right(cache, numbers(20)) == 10
        assert cache.stats.damaged == 0
    with opened(tmp_path) as cache:
        assert assert_right(cache, numbers(20)) == 10
        assert cache.stats.damaged == 0


def test_what_was_read_outlives_what_was_not(tmp_path):
    bound = 64 * 128  # 64 segments of one token
    with opened(tmp_path, max_bytes=bound) as cache:
        texts = [str(7 * number) for number in range(400)]
        fill(cache, texts[:32])
        for start in range(32, 400, 2):
            assert cache.get(texts[:1])[0].all()
            fill(cache, texts[start : start + 2])
            assert taken(tmp_path) <= bound
        found = cache.get(texts)[0]
        assert not found[1:300].any()
        assert found[0]
        assert found[-40:].all()
        assert cache.stats.evicted == (~found).sum()


def test_spaces_that_nobody_has_open_go_first(tmp_path):
    # Of a bound of 32 segments three spaces fill 10 each; the stale one was used last.
    bound = 32 * 128
    kept = opened(tmp_path, space="kept", max_bytes=bound)
    fill(kept, numbers(0, 70, 7))
    with opened(tmp_path, space="stale", max_bytes=bound) as stale:
        fill(stale, numbers(0, 70, 7))
    mine = opened(tmp_path, space="mine", max_bytes=bound)
    fill(mine, numbers(0, 140, 7))
    assert kept.get(numbers(0, 70, 7))[0].all()
    assert mine.get(numbers(0, 140, 7))[0].all()
    with opened(tmp_path, space="stale", max_bytes=bound) as stale:
        assert stale.stats.entries < 10
    fill(mine, numbers(140, 2000, 7))
    with opened(tmp_path, space="stale", max_bytes=bound) as stale:
        assert stale.stats.entries == 0
    kept.close()
    mine.close()


def test_views_outlive_eviction_and_other_processes_notice_it(tmp_path):
    with opened(tmp_path, max_bytes=10_000) as reader, opened(tmp_path, max_bytes=10_000) as writer:
        fill(writer, numbers(3))
        views = reader.views(numbers(3))
        fill(writer, numbers(10, 300))
        assert not reader.get(numbers(1, 3))[0].any()
        for view, text in zip(views, numbers(3), strict=True):
            np.testing.assert_array_equal(view, state(text))


def test_a_lower_bound_holds_from_opening_on(tmp_path):
    with opened(tmp_path) as cache:
        fill(cache, numbers(500))
        assert taken(tmp_path) > 50_000
        assert cache.get(numbers(250))[0].all()
    with opened(tmp_path, max_bytes=10_000) as cache:
        assert taken(tmp_path) <= cache.stats.bytes <= 10_000
        assert_right(cache, numbers(500))
        cache.put(["1000"], [np.zeros((400, 8), np.float32)])
        assert cache.stats.unstored == 1
        assert not cache.get(["1000"])[0].any()


def test_threads_share_one_object(tmp_path):
    def work(first):
        for start in range(first, first + 60, 10):
            texts = numbers(start, start + 20)
            packed = cache.states(texts, lambda missing: [state(text) for text in missing])
            right.append(all((packed[row] == state(text)).all() for row, text in enumerate(texts)))

    right = []
    with opened(tmp_path, max_bytes=20_000) as cache:
        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 20, 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert right == [True] * 18


def test_readers_do_not_wait_for_a_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(segment_files, "_PATIENCE_S", 0.05)
    with opened(tmp_path) as cache:
        fill(cache, numbers(5))
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert assert_right(cache, numbers(5)) == 5
            with opened(tmp_path) as other:
                assert assert_right(other, numbers(5)) == 5
            with pytest.raises(DataError, match="another process has been writing"):
                fill(cache, ["9"])
        fill(cache, ["9"])
        assert assert_right(cache, ["9"]) == 1


def test_a_folder_deleted_while_open(tmp_path):
    with opened(tmp_path / "cache") as cache:
        fill(cache, numbers(5))
        shutil.rmtree(tmp_path / "cache")
        assert not cache.get(numbers(5))[0].any()
        assert cache.stats.bytes == 0
        fill(cache, numbers(3))
        assert assert_right(cache, numbers(5)) == 3
