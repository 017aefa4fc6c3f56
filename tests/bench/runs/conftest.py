"""A package with a model that is fitted once and asked with many prompts, installed beside the tests."""

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
from bench.runs.run import Outcome, run
from bench.runs.store import Store
from bench.runs.suite import Suite, load_suite

CODE = '''
import json
import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.errors import MissingInputError
from bench.models import Capabilities, FitReport, Recommender, Settings

PLACE = Path(__file__).parent
TASK = {"s": "sequential", "d": "direct", "r": "rating"}
GROUP = {"1": "seen", "2": "seen", "9": "held-out", "p": "word"}
# How much of what the model knows a prompt gets out of it.
WORTH = {"plain": 1.0, "s-1": 1.0, "s-2": 0.9, "s-9": 0.3, "s-p": 0.0, "d-1": 1.0, "d-9": 0.5, "r-1": 1.0, "r-9": 0.0}


def write(name, **what):
    with (PLACE / f"{name}.jsonl").open("a") as stream:
        stream.write(json.dumps(what) + "\\n")


class ParrotSettings(Settings):
    asking: ClassVar[frozenset[str]] = frozenset({"prompt", "width", "tone"})
    asking_of: ClassVar[dict[str, frozenset[str]]] = {"tone": frozenset({"rating"})}

    size: int = 1
    breaks: str = ""
    prompt: str = "plain"
    width: int = 20
    tone: str = "loud"


class Parrot(Recommender):
    """Repeats what is popular, the better the more its prompt is worth; steps are kept, so that a fit can go on."""

    Settings = ParrotSettings
    version = "1"
    side = "llm"

    @classmethod
    def label(cls, settings):
        said = [] if settings.prompt == "plain" else [f"prompt {settings.prompt}"]
        said += [] if settings.tone == "loud" else [settings.tone]
        return ", ".join([f"Parrot {settings.size}", *said])

    @classmethod
    def capable(cls, settings):
        tasks = TASK.values() if settings.prompt == "plain" else [TASK[settings.prompt[0]]]
        return Capabilities(tasks=frozenset(tasks), cold_users="natively")

    @classmethod
    def expand(cls, settings, tasks):
        if settings.prompt != "each":
            return {"": settings}
        return {one: settings.model_copy(update={"prompt": one}) for one in WORTH if TASK.get(one[0]) in tasks}

    def fit(self, training, *, validate, budget, seed, progress):
        if self.settings.breaks == "lacks":
            raise MissingInputError("it lacks a perch")
        checkpoint = self.scratch / "steps.json"
        steps = json.loads(checkpoint.read_text()) if checkpoint.is_file() else []
        write("fits", settings=self.settings.model_dump(), seed=seed, pid=os.getpid(), scratch=str(self.scratch),
              begins=len(steps), leak=training.leak is not None)
        while len(steps) < 4:
            steps.append(os.getpid())
            checkpoint.write_text(json.dumps(steps))
            if len(steps) == 2 and (PLACE / "block").exists():
                (PLACE / "blocked").touch()
                time.sleep(300)
        if self.settings.breaks == "fit":
            raise RuntimeError("it flew away")
        self.steps = steps
        self.item, self.count = np.unique(training.sequences.values, return_counts=True)
        self.mean = float(training.rating.mean())
        validate(self)
        prompts = {
            name: {"task": TASK[name[0]], "group": GROUP[name[-1]], "of": None,
                   "untrained_words": ["polly"] if name == "s-p" else []}
            for name in WORTH if name != "plain"
        }
        return FitReport(steps=4, notes={"prompts": prompts})

    def _worth(self, requests):
        write("asked", prompt=self.settings.prompt, width=self.settings.width, tone=self.settings.tone,
              task=requests.task, pid=os.getpid())
        if self.settings.prompt == self.settings.breaks:
            raise RuntimeError(f"{self.settings.prompt} is no word for it")
        return WORTH[self.settings.prompt]

    def score(self, requests):
        worth, items = self._worth(requests), requests.catalogue.items
        place = np.minimum(np.searchsorted(self.item, items), len(self.item) - 1)
        known = self.item[place] == items
        noise = np.random.default_rng(0).random(len(items)) * self.count.max()
        row = np.where(known, worth * self.count[place] + (1 - worth) * noise, np.nan)
        return np.tile(row.astype(np.float32), (len(requests), 1))

    def rate(self, requests):
        return np.full(len(requests), self.mean + 2 * (1 - self._worth(requests)), np.float32)

    def save(self, folder):
        (folder / "steps.json").write_text(json.dumps({"steps": self.steps, "mean": self.mean}))
        np.savez(folder / "parrot.npz", item=self.item, count=self.count)

    @classmethod
    def load(cls, folder, settings, *, device="cpu"):
        model = cls(settings)
        model.mean = json.loads((folder / "steps.json").read_text())["mean"]
        with np.load(folder / "parrot.npz") as stored:
            model.item, model.count = stored["item"], stored["count"]
        return model


class Torn(Parrot):
    """Expands into variants that would have to be fitted apart."""

    @classmethod
    def expand(cls, settings, tasks):
        return {str(size): settings.model_copy(update={"size": size}) for size in (1, 2)}
'''
RNG = np.random.default_rng(3)
ROWS = [
    (f"u{u}", f"i{i}", 1.0 + (u + i) % 5, time)
    for u in range(40)
    for time, i in enumerate(RNG.choice(20, size=6, replace=False, p=np.arange(20, 0, -1) / 210))
]


@dataclass(frozen=True)
class Aviary:
    """The package on disk, and the runs of suites of its models."""

    site: Path
    card: Path
    place: Path

    @property
    def package(self) -> Path:
        return self.site / "aviary"

    def suite_file(self, models: str, tasks: str = "sequential, direct, rating") -> Path:
        path = self.place / "parrots.yaml"
        path.write_text(
            "{name: parrots, description: x, protocol: {name: leave-one-out},"
            f" tasks: [{tasks}], dataset: '{self.card}', metrics: [NDCG@10, RMSE], primary: [NDCG@10, RMSE],"
            f" models: [{models}]}}"
        )
        return path

    def suite(self, models: str, tasks: str = "sequential, direct, rating") -> Suite:
        return load_suite(str(self.suite_file(models, tasks)))

    def run(self, suite: Suite, **options: Any) -> Outcome:
        return run(suite, store=self.store.root, results=self.place / "results", **options)

    @property
    def store(self) -> Store:
        return Store(self.place / "results" / "runs")

    @property
    def fits(self) -> list[dict[str, Any]]:
        """Every fit that was begun."""
        return self._lines("fits")

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Every block of requests that was answered."""
        return self._lines("asked")

    def _lines(self, name: str) -> list[Any]:
        path = self.package / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def aviary(tmp_path: Path, make_card: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Aviary]:
    """Install the package."""
    site = tmp_path / "site"
    info = site / "aviary-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aviary\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.models]\nparrot = aviary:Parrot\ntorn = aviary:Torn\n")
    (site / "aviary").mkdir()
    (site / "aviary" / "__init__.py").write_text(CODE)
    monkeypatch.syspath_prepend(site)
    registry._entries.cache_clear()
    yield Aviary(site, make_card(ROWS), tmp_path)
    registry._entries.cache_clear()
    sys.modules.pop("aviary", None)
