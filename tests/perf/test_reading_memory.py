"""Memory while a review file of one gigabyte is read, by the front door and for the first time.

``python test_reading_memory.py card.yaml`` measures one reading.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

SIZE = 1_000_000_000
LIMIT_MIB = 1536
PER_USER, ITEMS = 7, 60_000


def write_reviews(path: Path) -> int:
    """Write reviews in the format of Amazon 2014, a gigabyte of them, no pair twice, and return their number."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwyp"))
    words = ["".join(rng.choice(letters, length)) for length in rng.integers(2, 10, 5000)]
    # A few texts of many lengths, each told apart by the number of its review.
    texts = [" ".join(rng.choice(words, length)) for length in rng.geometric(1 / 100, 3000)]
    written = size = 0
    with path.open("wb") as file:
        while size < SIZE:
            lines = []
            for number in range(written, written + 10_000):
                user, place = divmod(number, PER_USER)
                line = {
                    "reviewerID": f"A{user * 2_654_435_761 % 10**13:013d}",
                    "asin": f"B{(user * 31 + place * 7919) % ITEMS:09d}",
                    "reviewerName": f"Reader {user}",
                    "helpful": [0, 0],
                    "reviewText": f'{number} {texts[number % len(texts)]} "so" & on',
                    "overall": float(1 + number % 5),
                    "summary": texts[number * 7 % len(texts)][:30],
                    "unixReviewTime": (15_000 + number % 1500) * 86_400,
                    "reviewTime": "03 16, 2013",
                }
                lines.append(json.dumps(line))
            written += len(lines)
            size += file.write(("\n".join(lines) + "\n").encode())
    return written


def measure(card: str) -> None:
    """Load a data set, and print what that took."""
    from bench.data import load_dataset

    began = time.perf_counter()
    dataset = load_dataset(card)
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text(encoding="ascii")
    reviews = 0 if dataset.reviews is None else len(dataset.reviews)
    figures = {"events": dataset.interactions.height, "reviews": reviews, "seconds": seconds}
    print(json.dumps({**figures, "peak_mib": int(status.split("VmHWM:")[1].split()[0]) / 1024}))


@pytest.mark.perf
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_a_gigabyte_of_reviews(tmp_path: Path) -> None:
    events = write_reviews(tmp_path / "reviews.json")
    about = dict.fromkeys(("title", "description", "licence", "citation"), "made by the benchmark")
    files = {"interactions": {"path": "reviews.json"}}
    card = {"name": "gigabyte", "reader": "amazon-2014", "order": "time", "files": files, **about}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    environment = {**os.environ, "BENCH_CACHE_DIR": str(tmp_path / "cache")}
    for reading in ("first", "second"):
        command = [sys.executable, __file__, str(tmp_path / "card.yaml")]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert result.returncode == 0, result.stderr
        figures = json.loads(result.stdout)
        print(f"{reading} reading: {figures['seconds']:.0f} s, peak memory {figures['peak_mib']:.0f} MiB")
        assert (figures["events"], figures["reviews"]) == (events, events)
        assert figures["peak_mib"] < LIMIT_MIB


if __name__ == "__main__":
    measure(*sys.argv[1:])
