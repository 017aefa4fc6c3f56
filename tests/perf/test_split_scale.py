"""K-core and leave-one-out on ten million events: the harness against pandas, in one run.

Each side reads the same Parquet files, ids as integers, in a process of its own. What is timed begins when the table is
in memory and ends with the split; what is weighed is the whole process, reading included. Both splits must agree in
every event. ``python test_split_scale.py harness FOLDER`` measures one side.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import polars as pl

EVENTS, USERS, ITEMS = 10_000_000, 1_000_000, 200_000
ROUNDS = 3
DAY_S = 86_400
LIMITS = {"idiomatic": (4.0, 0.5), "tuned": (1.5, 0.8)}
"""Way of writing pandas -> how many times faster than it, and with which part of its memory, the harness must be."""

Side = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], dict[str, np.ndarray]]]
"""How a side reads the events, makes the split of them, and tells the split in numbers that both sides share."""


def write_events(folder: Path) -> None:
    """Write events with a long tail of users and items, ids like Amazon's, and times of day precision."""
    import polars as pl

    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)

    def ids(number: int, prefix: str, length: int) -> pl.Series:
        text = rng.choice(letters, (number, length)).tobytes().decode()
        names = [prefix + text[start : start + length] for start in range(0, len(text), length)]
        return pl.Series("id", names).unique().sort()

    def draw(weight: np.ndarray) -> np.ndarray:
        share = np.cumsum(weight)
        return np.searchsorted(share, rng.random(EVENTS) * share[-1]).astype(np.int32)

    users, items = ids(USERS, "A", 13), ids(ITEMS, "B00", 7)
    user = draw(rng.pareto(1.3, len(users)) + 1)
    item = draw(rng.permutation(1 / np.arange(101, len(items) + 101) ** 1.1))
    first_day = rng.integers(10_000, 16_000, len(users))
    day = first_day[user] + rng.exponential(200, EVENTS).astype(np.int64)
    rating = rng.integers(1, 6, EVENTS).astype(np.float32)
    events = pl.DataFrame({"user": user, "item": item, "rating": rating, "time": day * DAY_S})
    for name, table in (("events", events), ("users", users.to_frame()), ("items", items.to_frame())):
        table.write_parquet(folder / f"{name}.parquet")


def pandas_side(way: str, folder: Path) -> Side:
    import pandas as pd
    import reference_pandas

    ids = [pd.Index(pd.read_parquet(folder / f"{name}.parquet")["id"]) for name in ("users", "items")]

    def told(parts: reference_pandas.Parts) -> dict[str, np.ndarray]:
        made = {f"training {name}": column.to_numpy() for name, column in parts.training.items()}
        for name, part in (("valid", parts.validation), ("test", parts.test)):
            made |= {f"{name} {column}": part.pairs[column].to_numpy() for column in ("user", "item")}
            made |= {f"{name} {field}": getattr(part, field) for field in ("lengths", "history", "met")}
        return made

    # A partial, since a function around it would hold on to the events.
    work = functools.partial(getattr(reference_pandas, way), users=ids[0], items=ids[1])
    return lambda: pd.read_parquet(folder / "events.parquet"), work, told


def read_table(path: Path) -> pl.DataFrame:
    # Not loaded before the harness is: as for everyone who runs it.
    import polars as pl

    return pl.read_parquet(path)


def harness_side(folder: Path) -> Side:
    from bench.data import Dataset
    from bench.data.card import Card, KCore
    from bench.data.events import CodedEvents
    from bench.data.filters import apply_filters
    from bench.data.ragged import Ragged
    from bench.splits import LeaveOneOut, Split, make_split

    users, items = (read_table(folder / f"{name}.parquet")["id"] for name in ("users", "items"))
    about = dict.fromkeys(("title", "description", "licence", "citation"), "made by the benchmark")
    card = Card(name="scale", reader="table", order="time", files={"interactions": {"path": "made.parquet"}}, **about)

    def read() -> CodedEvents:
        table = read_table(folder / "events.parquet")
        codes = [table[name].to_numpy() for name in ("user", "item")]
        return CodedEvents(users, items, *codes, table.select("rating", "time"))

    def work(events: CodedEvents) -> Split:
        held = [events]
        del events
        left, _ = apply_filters(held.pop(), [KCore(filter="k-core")], what="scale")
        known = left.items.alias("item_id").to_frame()
        return make_split(Dataset("scale", card, left, known, "time", "not hashed", (), {}, (), {}), LeaveOneOut())

    def told(split: Split) -> dict[str, np.ndarray]:
        user = users.search_sorted(split.users["user_id"]).to_numpy()
        item = items.search_sorted(split.items["item_id"]).to_numpy()
        learned, rows = split.training, np.argsort(user[split.training.user])
        lengths = learned.sequences.lengths
        places = Ragged.from_lengths(lengths, np.arange(lengths.sum())).take(rows).values
        made = {
            "training user": np.repeat(user[learned.user[rows]], lengths[rows]),
            "training item": item[learned.sequences.values[places]],
            "training rating": learned.rating[places],
            "training time": learned.time[places],
        }
        for held in split.held_out:
            rows = np.argsort(user[held.user])
            history, met = held.history.take(rows), held.exclude.take(rows)
            made |= {f"{held.part} user": user[held.user[rows]], f"{held.part} item": item[held.item[rows]]}
            made |= {f"{held.part} lengths": history.lengths, f"{held.part} history": item[history.values]}
            made[f"{held.part} met"] = Ragged.from_lengths(met.lengths, item[met.values]).distinct().values
        return made

    return read, work, told


def measure(side: str, folder: str) -> None:
    """Run one side, keep what it made, and print what it took."""
    read, work, told = harness_side(Path(folder)) if side == "harness" else pandas_side(side, Path(folder))
    began = time.perf_counter()
    # Nobody else holds the events, so that a side may drop what it does not need any more.
    events = [read()]
    ready = time.perf_counter()
    split = work(events.pop())
    done = time.perf_counter()
    # The peak since the process began.
    peak_kib = int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0])
    print(json.dumps({"read_s": ready - began, "work_s": done - ready, "peak_mib": peak_kib / 1024}))
    np.savez(Path(folder) / side, **told(split))


@pytest.mark.perf
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_ten_million_events_against_pandas(tmp_path: Path) -> None:
    write_events(tmp_path)
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in (*LIMITS, "harness")}
    for _ in range(ROUNDS):
        for side, done in runs.items():
            command = [sys.executable, __file__, side, str(tmp_path)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
            done.append(json.loads(result.stdout))
    best = {side: {figure: min(run[figure] for run in done) for figure in done[0]} for side, done in runs.items()}
    for side, figures in best.items():
        print(
            f"{side}: reading {figures['read_s']:.1f} s, k-core and split {figures['work_s']:.1f} s, "
            f"peak memory {figures['peak_mib']:.0f} MiB"
        )
    ours = np.load(tmp_path / "harness.npz")
    ratios = {}
    for side in LIMITS:
        theirs = np.load(tmp_path / f"{side}.npz")
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=f"{side}: {name}")
        faster = best[side]["work_s"] / best["harness"]["work_s"]
        ratios[side] = (faster, best["harness"]["peak_mib"] / best[side]["peak_mib"])
        print(f"against {side} pandas: {faster:.2f} times as fast, {ratios[side][1]:.0%} of the memory")
    for side, (faster, smaller) in ratios.items():
        assert faster >= LIMITS[side][0]
        assert smaller <= LIMITS[side][1]


if __name__ == "__main__":
    measure(*sys.argv[1:])
