"""K-core and leave-one-out on ten million events: the harness against pandas, in one run.

Each side reads the same Parquet file in a process of its own. What is timed begins when the table is in memory; what is
weighed is the whole process, reading included. ``python test_split_scale.py harness events.parquet held.parquet``
measures one side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

EVENTS, USERS, ITEMS = 10_000_000, 1_000_000, 200_000
ROUNDS = 3
DAY_S = 86_400
LIMITS = {"idiomatic": (2.5, 0.7), "tuned": (1.2, 0.95)}
"""Way of writing pandas -> how many times faster than it, and with which part of its memory, the harness must be."""


def write_events(path: Path) -> None:
    """Write events with a long tail of users and items, ids like Amazon's, and times of day precision."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)

    def ids(number: int, prefix: str, length: int) -> pl.Series:
        text = rng.choice(letters, (number, length)).tobytes().decode()
        return pl.Series([prefix + text[start : start + length] for start in range(0, len(text), length)])

    def draw(weight: np.ndarray) -> np.ndarray:
        share = np.cumsum(weight)
        return np.searchsorted(share, rng.random(EVENTS) * share[-1]).astype(np.uint32)

    user = draw(rng.pareto(1.3, USERS) + 1)
    item = draw(rng.permutation(1 / np.arange(101, ITEMS + 101) ** 1.1))
    first_day = rng.integers(10_000, 16_000, USERS)
    day = first_day[user] + rng.exponential(200, EVENTS).astype(np.int64)
    pl.DataFrame(
        {
            "user_id": ids(USERS, "A", 13).gather(user),
            "item_id": ids(ITEMS, "B00", 7).gather(item),
            "rating": rng.integers(1, 6, EVENTS).astype(np.float32),
            "time": day * DAY_S,
        }
    ).write_parquet(path)


def measure(side: str, events: str, held: str) -> None:
    """Run one side, write the pairs it holds out, and print what it took."""
    began = time.perf_counter()
    if side != "harness":
        import reference_pandas as reference

        began = time.perf_counter()
        frame = [reference.read(events)]
        read = time.perf_counter()
        parts = getattr(reference, side)(frame.pop())
        done, peak_mib = time.perf_counter(), _peak_mib()
        pairs = {
            part: (parts.users[table["user"]], parts.items[table["item"]])
            for part, table in (("valid", parts.validation), ("test", parts.test))
        }
        learned = len(parts.training)
    else:
        from bench.data import Dataset
        from bench.data.card import Card, KCore
        from bench.data.filters import apply_filters
        from bench.splits import LeaveOneOut, make_split

        files = {"interactions": {"path": "events.parquet"}}
        about = dict.fromkeys(("title", "description", "licence", "citation"), "made by the benchmark")
        card = Card(name="scale", reader="table", order="time", files=files, **about)
        began = time.perf_counter()
        table = [pl.read_parquet(events)]
        read = time.perf_counter()
        left = apply_filters(table.pop(), [KCore(filter="k-core")], what="scale")[0].events
        items = pl.DataFrame({"item_id": left.items})
        dataset = Dataset("scale", card, left, items, "time", "not hashed here", (), {}, (), {})
        split = make_split(dataset, LeaveOneOut())
        done, peak_mib = time.perf_counter(), _peak_mib()
        pairs = {
            held.part: (split.users["user_id"].gather(held.user), split.items["item_id"].gather(held.item))
            for held in split.held_out
        }
        learned = len(split.training.sequences.values)
    pl.concat(
        pl.DataFrame({"part": part, "user_id": pl.Series(list(user)), "item_id": pl.Series(list(item))})
        for part, (user, item) in pairs.items()
    ).write_parquet(held)
    print(json.dumps({"read_s": read - began, "work_s": done - read, "peak_mib": peak_mib, "training": learned}))


def _peak_mib() -> float:
    """Peak resident memory of this process since it began, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.perf
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_ten_million_events_against_pandas(tmp_path: Path) -> None:
    write_events(tmp_path / "events.parquet")
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in ("idiomatic", "tuned", "harness")}
    for _ in range(ROUNDS):
        for side, done in runs.items():
            command = [
                sys.executable,
                __file__,
                side,
                str(tmp_path / "events.parquet"),
                str(tmp_path / f"{side}.parquet"),
            ]
            result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
            assert result.returncode == 0, result.stderr
            done.append(json.loads(result.stdout))
    held = {side: pl.read_parquet(tmp_path / f"{side}.parquet").sort("part", "user_id") for side in runs}
    best = {
        side: {figure: min(run[figure] for run in done) for figure in ("read_s", "work_s", "peak_mib")}
        for side, done in runs.items()
    }
    for side, figures in best.items():
        print(
            f"{side}: reading {figures['read_s']:.1f} s, k-core and split {figures['work_s']:.1f} s, "
            f"peak memory {figures['peak_mib']:.0f} MiB"
        )
    ratios = {
        side: (
            best[side]["work_s"] / best["harness"]["work_s"],
            best["harness"]["peak_mib"] / best[side]["peak_mib"],
        )
        for side in LIMITS
    }
    for side, (faster, smaller) in ratios.items():
        print(f"against {side} pandas: {faster:.2f} times as fast, {smaller:.0%} of the memory")
    for side, (faster, smaller) in ratios.items():
        assert held["harness"].equals(held[side])
        assert runs["harness"][0]["training"] == runs[side][0]["training"]
        assert faster >= LIMITS[side][0]
        assert smaller <= LIMITS[side][1]


if __name__ == "__main__":
    measure(*sys.argv[1:])
