"""A shop small enough to write down what its prompts must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.data.reviews import Reviews
from bench.models import Ragged, Training
from llm_models.indexing import IdIndex

REVIEWS = [
    # user, item, stars, headline, text, reviewer
    (3, 5, 5, "Loud", "it is loud and bright", "Ann B."),
    (3, 2, 3, None, "broke  soon\nafter", "Ann B."),
    (3, 11, 1, "Bad", None, None),
    (3, 6, 4, "Good", "good strings", "Ann  Baker"),
    (8, 2, 2, "Meh", "meh sound", None),
    (8, 20, 5, "Ring", "rings well", None),
    (9, 6, 4, "Nice", "nice", ""),
]


@dataclass(frozen=True, eq=False)
class Tiny:
    """Three users, five items, seven reviews."""

    training: Training
    users: IdIndex
    items: IdIndex

    def decode(self, tokenizer, ids) -> str:
        """Text of pieces, padding and end mark left out."""
        return "".join(tokenizer.pieces([i for i in ids if i > 1])).replace("▁", " ").strip()


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """The shop."""
    texts = pl.DataFrame(
        [row[3:] for row in REVIEWS], schema=dict.fromkeys(("headline", "text", "reviewer"), pl.String), orient="row"
    )
    texts.write_parquet(tmp_path / "reviews.parquet")
    items = pl.DataFrame(
        {
            "item": pl.Series([2, 5, 6, 11, 20], dtype=pl.Int32),
            "item_id": ["two", "five", "six", "eleven", "twenty"],
            "title": ["Red Drum", " Blue  Horn\n", None, "Reed", "Bell"],
            "brand": ["Acme", None, None, None, "Sons"],
            "price": pl.Series([12.5, None, 3, None, 1200], dtype=pl.Float32),
        }
    )
    training = Training(
        user=np.array([3, 8, 9], np.int32),
        sequences=Ragged.from_lists([[5, 2, 11, 6], [2, 20], [6]]),
        time=None,
        rating=np.array([row[2] for row in REVIEWS], np.float32),
        items=items,
        reviews=Reviews(tmp_path / "reviews.parquet", np.arange(7, dtype=np.uint32), ("headline", "text", "reviewer")),
    )
    users = IdIndex(training.user, ("user_31", "user_08", "user_99"))
    return Tiny(training, users, IdIndex(training.item, ("1200", "1305", "1406", "1511", "1620")))


@pytest.fixture
def write_prompts(tmp_path: Path) -> Callable[[str], Path]:
    """Write a collection from lines ``family | id | input | target``, each template seen in training."""

    def write(lines: str) -> Path:
        families: dict[str, list[str]] = {}
        for line in filter(None, map(str.strip, lines.splitlines())):
            family, name, shown, target = (part.strip() for part in line.split(" | "))
            own = families.setdefault(family, [f"  {family}:\n    seen:"])
            own.append(f"      - id: {name}\n        input: {shown!r}\n        target: {target!r}")
        path = tmp_path / "mine.yaml"
        path.write_text("version: 1\nfamilies:\n" + "\n".join(line for own in families.values() for line in own))
        return path

    return write
