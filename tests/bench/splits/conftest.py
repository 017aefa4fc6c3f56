"""Small data sets made in memory, texts of reviews included, a digest of everything a value holds, and spies."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from bench.data import Card, Dataset, Ragged
from bench.data.events import CodedEvents
from bench.data.hashing import digest, digest_frame
from bench.data.reviews import Reviews
from bench.models import Budget, Capabilities, FitReport, RankedLists, Recommender, Requests, Training
from bench.tasks import TASKS

CARD = {
    "name": "made",
    "title": "Made by a test",
    "description": "Made by a test.",
    "licence": "none",
    "citation": "none",
    "files": {"interactions": {"path": "nowhere"}},
}


@dataclasses.dataclass(frozen=True)
class Event:
    """One row of a made data set; ``rating`` and ``text`` may be missing in all of them."""

    user: str
    item: str
    rating: float | None
    time: int
    text: str | None = None


@pytest.fixture(scope="session")
def event() -> type[Event]:
    return Event


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """A Dataset of events in any order; with ``order="sequence"`` times only order them."""
    numbers = itertools.count()

    def make(
        events: Sequence[Event], *, order: str = "time", repeats: bool = False, titles: Mapping[str, str] | None = None
    ) -> Dataset:
        timed = order == "time"
        table = pl.DataFrame(
            {
                "user_id": [event.user for event in events],
                "item_id": [event.item for event in events],
                "rating": pl.Series([event.rating for event in events], dtype=pl.Float32),
                "time": pl.Series([event.time if timed else None for event in events], dtype=pl.Int64),
                "position": pl.Series([None if timed else event.time for event in events], dtype=pl.Int64),
            }
        )
        names = sorted({event.item for event in events})
        items = pl.DataFrame({"item_id": names, "title": [(titles or {}).get(name, f"title {name}") for name in names]})
        reviews = None
        if events and events[0].text is not None:
            path: Path = tmp_path_factory.getbasetemp() / f"reviews-{next(numbers)}.parquet"
            pl.DataFrame({"text": [event.text for event in events]}).write_parquet(path)
            reviews = Reviews(path, np.arange(len(events), dtype=np.uint32), ("text",))
        card = Card.model_validate(
            {
                **CARD,
                "reader": "recbole-atomic" if timed else "s3rec",
                "order": order,
                "filters": [{"filter": "repeats", "keep": "all"}] if repeats else [],
            }
        )
        return Dataset(
            name="made",
            card=card,
            events=CodedEvents.of(table),
            items=items,
            order=order,
            identity=digest([digest_frame(table), digest_frame(items)]),
            warnings=() if timed else ("tie order unknown",),
            dropped={},
            missing=(),
            sources={},
            reviews=reviews,
        )

    return make


@pytest.fixture(scope="session")
def digest_of() -> Callable[..., str]:
    """SHA-256 of everything reachable from values, texts on disk included."""

    def digest_all(*values: Any) -> str:
        sha = hashlib.sha256()
        for value in values:
            for piece in _pieces(value):
                sha.update(len(piece).to_bytes(8, "little") + piece)
        return sha.hexdigest()

    return digest_all


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Reviews):
        yield from _pieces(value.frame())
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, pl.DataFrame):
        yield digest_frame(value).encode()
    elif dataclasses.is_dataclass(value):
        yield type(value).__name__.encode()
        for field in dataclasses.fields(value):
            yield field.name.encode()
            yield from _pieces(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        yield f"{len(value)} values".encode()
        for inner in value:
            yield from _pieces(inner)
    elif value is None or isinstance(value, str | int | float):
        yield repr(value).encode()
    else:
        raise TypeError(f"no bytes for {type(value)}")


def reachable(*roots: Any) -> Iterator[Any]:
    """Everything that attributes, items and elements lead to; functions are opaque."""
    pending, seen = list(roots), set()
    while pending:
        value = pending.pop()
        if id(value) in seen or isinstance(value, type | types.ModuleType | types.FunctionType | str | bytes):
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, np.ndarray):
            pending.append(value.base)
        elif isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            pending += list(value)
        else:
            pending += list(getattr(value, "__dict__", {}).values())


class Spy(Recommender):
    """Keeps everything it is handed."""

    version, side = "1", "floor"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset(TASKS), cold_users="natively", cold_items="natively"
    )

    def fit(self, training: Training, *, validate: Any, budget: Budget, seed: int, progress: Any) -> FitReport:
        self.seen: list[Any] = [training, budget, seed]
        self.seen.append(validate(self))
        return FitReport()

    def score(self, requests: Requests) -> np.ndarray:
        self.seen.append(requests)
        return np.zeros((len(requests), len(requests.catalogue.items)), np.float32)

    def rate(self, requests: Requests) -> np.ndarray:
        self.seen.append(requests)
        return np.full(len(requests), 0.5, np.float32)

    def reaches(self) -> Iterator[Any]:
        return reachable(*self.seen)

    def save(self, folder: Path) -> None:
        raise AssertionError("a spy is never stored")

    @classmethod
    def load(cls, folder: Path, settings: Any, *, device: str = "cpu") -> Any:
        raise AssertionError("a spy is never stored")


class ListingSpy(Spy):
    """The same, answering with lists: it is handed the mask, too."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset(TASKS), cold_users="natively", cold_items="natively", answers_with="lists", draws=True
    )

    def rank(self, requests: Requests, k: int, *, exclude: Ragged) -> RankedLists:
        self.seen += [requests, k, exclude]
        return RankedLists(Ragged.empty(len(requests)), np.empty(0, np.float32), np.ones(len(requests), bool))


@pytest.fixture(params=[Spy, ListingSpy])
def spy(request: pytest.FixtureRequest) -> Spy:
    """A model that keeps what it is handed, once answering with scores and once with lists."""
    return request.param()
