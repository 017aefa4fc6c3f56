"""A package of models that can be tuned in no time, installed beside the tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.models import registry
from bench.runs.suite import Suite, load_suite

CODE = '''
import json
import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from bench.errors import MissingInputError
from bench.models import FitReport, Recommender, Settings

PLACE = Path(__file__).parent


class ToySettings(Settings):
    asking: ClassVar[frozenset[str]] = frozenset({"loud"})

    x: float = Field(0.0, ge=0)
    n: int = Field(3, ge=1)
    mode: str = "plain"
    extra: float = 0.0
    pause_s: float = 0.0
    crash_above: float = 10.0
    loud: bool = False


class Toy(Recommender):
    """The better, the nearer x is to 0.7: the share of items scored by popularity; the rest by noise."""

    Settings = ToySettings
    version = "1"
    side = "classic"

    def fit(self, training, *, validate, budget, seed, progress):
        kept = self.scratch / "begun"
        begun = int(kept.read_text()) if kept.is_file() else 0
        kept.write_text(str(begun + 1))
        with (PLACE / "fits.jsonl").open("a") as stream:
            stream.write(json.dumps({**self.settings.model_dump(), "begun": begun, "kept": str(kept)}) + "\\n")
        fits = len((PLACE / "fits.jsonl").read_text().splitlines())
        while (PLACE / "block").exists() and fits >= int((PLACE / "block").read_text()):
            (PLACE / "blocked").touch()
            time.sleep(0.05)
            progress(0, 1)
        time.sleep(self.settings.pause_s)
        if self.settings.x > self.settings.crash_above:
            raise RuntimeError(f"x is {self.settings.x}, too much")
        self.item, self.count = np.unique(training.sequences.values, return_counts=True)
        return FitReport()

    def score(self, requests):
        lengths = sorted({int(n) for n in requests.history.lengths}) if requests.history is not None else []
        with (PLACE / "asked.jsonl").open("a") as stream:
            stream.write(json.dumps(lengths) + "\\n")
        items = requests.catalogue.items
        place = np.minimum(np.searchsorted(self.item, items), len(self.item) - 1)
        count = np.where(self.item[place] == items, self.count[place], 0)
        noise = np.random.default_rng(0).random(len(items))
        row = count * (1 - abs(self.settings.x - 0.7)) + 30 * abs(self.settings.x - 0.7) * noise
        return np.tile(row.astype(np.float32), (len(requests), 1))

    def save(self, folder):
        np.savez(folder / "toy.npz", item=self.item, count=self.count)

    @classmethod
    def load(cls, folder, settings, *, device="cpu"):
        model = cls(settings)
        with np.load(folder / "toy.npz") as stored:
            model.item, model.count = stored["item"], stored["count"]
        return model


class Needy(Toy):
    def fit(self, training, *, validate, budget, seed, progress):
        raise MissingInputError("it needs what nobody has")


class Plain(Toy):
    pass
'''
SPACE = "source: made up\nsearch:\n  x: {low: 0.0, high: 1.0}\n"
RNG = np.random.default_rng(3)
ROWS = [
    (f"u{u}", f"i{i}", 1.0 + (u + i) % 5, time)
    for u in range(40)
    for time, i in enumerate(RNG.choice(20, size=6, replace=False, p=np.arange(20, 0, -1) / 210))
]
ITEMS = [(f"i{i}", f"Part {i} of the {'red' if i % 2 else 'blue'} story", "film") for i in range(20)]


@dataclass(frozen=True)
class Toys:
    """The package on disk, and a suite of its models."""

    site: Path
    suite_file: Path

    @property
    def package(self) -> Path:
        return self.site / "toys"

    @property
    def suite(self) -> Suite:
        return load_suite(str(self.suite_file))

    def space(self, model: str, text: str) -> None:
        """Write the settings file of one of its models."""
        (self.package / "settings" / f"{model}.yaml").write_text(text)

    @property
    def fits(self) -> list[dict[str, Any]]:
        """Settings of every fit that was begun, how often it had been, and where it keeps that."""
        return self._lines("fits")

    @property
    def asked(self) -> list[list[int]]:
        """Lengths of the histories in every block of requests."""
        return self._lines("asked")

    def _lines(self, name: str) -> list[Any]:
        path = self.package / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def toys(tmp_path: Path, make_card: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    """Install the package, with spaces for all its models but ``plain``."""
    site = tmp_path / "site"
    info = site / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[bench.models]\ntoy = toys:Toy\ntwin = toys:Toy\nneedy = toys:Needy\nplain = toys:Plain\n"
    )
    (site / "toys" / "settings").mkdir(parents=True)
    (site / "toys" / "__init__.py").write_text(CODE)
    suite_file = tmp_path / "suite.yaml"
    suite_file.write_text(
        "{name: toybox, description: x, protocol: {name: leave-one-out}, tasks: [sequential],"
        f" dataset: '{make_card(ROWS, ITEMS)}', metrics: [NDCG@10], primary: NDCG@10,"
        " models: [popularity, toy, plain]}"
    )
    monkeypatch.syspath_prepend(site)
    registry._entries.cache_clear()
    made = Toys(site, suite_file)
    for model in ("toy", "twin", "needy"):
        made.space(model, SPACE)
    yield made
    registry._entries.cache_clear()
    sys.modules.pop("toys", None)
