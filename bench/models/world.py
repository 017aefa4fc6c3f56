"""A small made-up shop for tests of models: who bought what, in which order, how many stars and words it got."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.data.ragged import Ragged
from bench.data.reviews import Reviews
from bench.splits.training import Training
from bench.tasks.requests import LABEL_TASKS, TEXT_TASKS, Catalogue, Requests, TaskName

__all__ = ["SmallWorld", "small_world"]

FEATURES = {
    "crime": ("plot", "voice"),
    "space": ("light", "sound"),
    "music": ("voice", "sound"),
    "desert": ("light", "pace"),
    "ocean": ("plot", "pace"),
}
"""Genres, and what reviews of them speak of."""

OPINIONS = (("awful", "boring", "terrible"), ("weak", "nice", "poor"), ("great", "wonderful", "lovely"))
"""Words of reviews with one or two stars, with three, and with more."""

GENRES = tuple(FEATURES)
WARM_ITEMS, COLD_ITEMS, USERS, COLD_USERS = 30, 6, 40, 4


class SmallWorld:
    """Training data and requests of a made-up shop with 30 warm and 6 cold items, 40 warm and 4 cold users.

    Users follow chains of items whose titles share words, and review what they buy, so that order, co-occurrence and
    text all carry some signal. Stars belong to items; words of a review follow its stars and the genre of the item.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        # Codes with gaps and in no order, as a real split has them.
        codes = np.sort(rng.choice(500, WARM_ITEMS + COLD_ITEMS, replace=False)).astype(np.int32)
        shuffled = rng.permutation(codes)
        self.warm, self.cold = np.sort(shuffled[:WARM_ITEMS]), np.sort(shuffled[WARM_ITEMS:])
        self.genre = {int(code): GENRES[place % len(GENRES)] for place, code in enumerate(shuffled)}
        self.items = pl.DataFrame(
            {
                "item": codes,
                "item_id": [f"id{code}" for code in codes],
                "title": [f"The {self.genre[int(code)]} story part {code}" for code in codes],
                "categories": [[self.genre[int(code)], "Film"] for code in codes],
            },
            schema_overrides={"item": pl.Int32},
        )
        chains = {name: [code for code in shuffled[:WARM_ITEMS] if self.genre[int(code)] == name] for name in GENRES}
        everyone = np.sort(rng.choice(300, USERS + COLD_USERS, replace=False)).astype(np.int32)
        draw = rng.permutation(everyone)
        self.users, self.cold_users = np.sort(draw[:USERS]), np.sort(draw[USERS:])
        self.sequences = Ragged.from_lists([self._walk(rng, chains) for _ in self.users])
        self.cold_history = Ragged.from_lists([self._walk(rng, chains) for _ in self.cold_users])
        self.reviews = self._write_reviews()

    @staticmethod
    def _walk(rng: np.random.Generator, chains: dict[str, list[Any]]) -> list[int]:
        steps: list[int] = []
        for name in rng.permutation(list(chains))[:2]:
            start = int(rng.integers(2))
            steps += [int(code) for code in chains[name][start : start + 4]]
        return steps

    def training(self) -> Training:
        """Everything but each user's last item."""
        keep = np.ones(len(self.sequences.values), bool)
        keep[self.sequences.offsets[1:] - 1] = False
        seen = self.sequences.keep(keep)
        count = len(seen.values)
        return Training(
            user=self.users,
            sequences=seen,
            time=np.arange(count, dtype=np.int64) * 3600,
            rating=self.stars(seen.values),
            items=self._rows(np.unique(seen.values)),
            reviews=self.reviews.take(np.flatnonzero(keep)),
        )

    def requests(
        self,
        task: TaskName = "sequential",
        *,
        cold_users: bool = False,
        cold_items: bool = False,
        history: Ragged | None = None,
    ) -> Requests:
        """Ask about warm (or cold) users: all 36 items as candidates, or one warm (or cold) item each."""
        user = self.cold_users if cold_users else self.users
        if history is None:
            history = self.cold_history if cold_users else self.training().sequences
        catalogue = Catalogue(self.items["item"].to_numpy(), self.items)
        asked, given = None, None
        if task in (*LABEL_TASKS, *TEXT_TASKS):
            asked = np.resize(self.cold if cold_items else self.training().item, len(user))
            given = self._given(task, user, asked)
        return Requests(
            task, user, None if task == "direct" else history, catalogue, self.items, item=asked, given=given
        )

    @staticmethod
    def stars(item: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Everyone's stars of an item, float32 from 1 to 5."""
        return (1 + item % 5).astype(np.float32)

    def review(self, user: int, item: int) -> dict[str, str]:
        """What a user writes about an item: ``feature``, ``headline`` and ``text``."""
        rng = np.random.default_rng((user, item))
        stars = float(self.stars(np.array(item)))
        feature, other = rng.permutation(FEATURES[self.genre[item]])
        word, second = rng.permutation(OPINIONS[(stars > 2) + int(stars > 3)])[:2]
        told = f"I saw it with a friend. It has a {second} {other} and I would tell everyone about the {feature}."
        return {
            "feature": str(feature),
            "headline": f"{str(word).title()} {feature}",
            "text": f"The {feature} is {word}. {told}",
        }

    def _given(self, task: TaskName, user: np.ndarray[Any, Any], item: np.ndarray[Any, Any]) -> pl.DataFrame | None:
        wanted = {
            "feature-explanation": ["feature"],
            "rated-explanation": ["feature", "rating"],
            "headline": ["body"],
            "preference": ["body"],
        }
        if task not in wanted:
            return None
        written = pl.DataFrame([self.review(int(u), int(i)) for u, i in zip(user, item, strict=True)])
        known = written.rename({"text": "body"}).with_columns(pl.Series("rating", self.stars(item)))
        return known.select(wanted[task])

    def _write_reviews(self) -> Reviews:
        """All reviews in a file that goes when this world goes; some lack their headline, some their text."""
        folder = Path(tempfile.mkdtemp(prefix="bench-small-world-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        users = self.users[self.sequences.row_of]
        pairs = zip(users, self.sequences.values, strict=True)
        written = pl.DataFrame([self.review(int(user), int(item)) for user, item in pairs])
        place = pl.int_range(pl.len())
        written.select(
            pl.when(place % 11 != 0).then("headline").alias("headline"),
            pl.when(place % 13 != 0).then("text").alias("text"),
            pl.Series("reviewer", [f"Reader {user}" for user in users]),
        ).write_parquet(folder / "reviews.parquet")
        return Reviews(
            folder / "reviews.parquet", np.arange(len(users), dtype=np.uint32), ("headline", "text", "reviewer")
        )

    def _rows(self, codes: np.ndarray[Any, Any]) -> pl.DataFrame:
        return self.items.filter(pl.col("item").is_in(codes.tolist())).sort("item")


@cache
def small_world(seed: int = 0) -> SmallWorld:
    """The world of that seed, made once."""
    return SmallWorld(seed)
