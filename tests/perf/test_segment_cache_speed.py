"""The segment cache against the obvious one, arrays as blobs in SQLite: both read all segments into one array."""

from __future__ import annotations

import hashlib
import sqlite3
import time

import numpy as np
import pytest

from llm_models.backbones.segment_cache import SegmentCache

SEGMENTS, TOKENS, WIDTH = 5000, 30, 384


@pytest.mark.perf
def test_reading_is_faster_than_from_sqlite(tmp_path) -> None:
    rng = np.random.default_rng(0)
    texts = [f"segment {number}" for number in range(SEGMENTS)]
    states = list(rng.standard_normal((SEGMENTS, TOKENS, WIDTH), np.float32))
    cache = SegmentCache(tmp_path / "cache", space="benchmark", width=WIDTH)
    peer = sqlite3.connect(tmp_path / "peer.sqlite")
    peer.executescript(
        "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=1073741824;"
        "CREATE TABLE states (key BLOB PRIMARY KEY, value BLOB)"
    )

    def key(text: str) -> bytes:
        return hashlib.sha256(text.encode()).digest()

    def write_peer() -> None:
        with peer:
            rows = ((key(text), state.tobytes()) for text, state in zip(texts, states, strict=True))
            peer.executemany("INSERT INTO states VALUES (?, ?)", rows)

    def read_peer() -> np.ndarray:
        parts = [
            np.frombuffer(
                peer.execute("SELECT value FROM states WHERE key = ?", (key(text),)).fetchone()[0], np.float32
            )
            for text in texts
        ]
        return np.concatenate(parts).reshape(-1, WIDTH)

    def read() -> np.ndarray:
        found, packed = cache.get(texts)
        assert found.all()
        return packed.values

    def view() -> int:
        return len(cache.views(texts))

    def copy() -> np.ndarray:
        return np.concatenate(states)

    def seconds(action, times: int) -> float:
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
        return min(taken)

    written, written_peer = seconds(lambda: cache.put(texts, states), 1), seconds(write_peer, 1)
    np.testing.assert_array_equal(read(), copy())
    np.testing.assert_array_equal(read_peer(), copy())
    ours, peers, views, copied = (seconds(action, 3) for action in (read, read_peer, view, copy))
    print(
        f"reading {SEGMENTS} segments: {1e3 * ours:.0f} ms, SQLite {1e3 * peers:.0f} ms (ratio {peers / ours:.1f}); "
        f"the copy alone {1e3 * copied:.0f} ms, without it {1e3 * views:.0f} ms; "
        f"writing {1e3 * written:.0f} ms, SQLite {1e3 * written_peer:.0f} ms"
    )
    assert peers > 1.3 * ours
    assert views < peers / 5
    cache.close()
    peer.close()
