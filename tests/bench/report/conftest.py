from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.data.hashing import digest
from bench.data.ragged import Ragged
from bench.models.presets import Dimension, Preset
from bench.report import collect, tuning
from bench.runs.plan import Cell, Plan, Prediction
from bench.runs.store import Store, write_json
from bench.runs.suite import ModelEntry, Suite
from bench.splits import Split
from bench.tasks.requests import Answers, Catalogue, Requests, RequestSet

METRICS = ("HR@1", "HR@5", "HR@10", "NDCG@1", "NDCG@5", "NDCG@10", "MRR@1", "MRR@5", "MRR@10")


def request_set(
    part: str, quadrant: str, *, task: str = "sequential", shots: int | None = None, pool: str = "all", users: int = 60
) -> RequestSet:
    """Made-up questions: one a user, or several of each where items are cold."""
    rng = np.random.default_rng(len(part) + len(quadrant))
    joint = quadrant.endswith("-cold")
    user = np.repeat(np.arange(users), 3 if joint else 1).astype(np.int32)
    item = rng.integers(0, 25, len(user)).astype(np.int32)
    items = np.arange(25 if pool == "cold" else 200, dtype=np.int32)
    catalogue = Catalogue(items, pl.DataFrame({"item": items, "item_id": items.astype(str)}))
    return RequestSet(
        part,
        task,
        quadrant,
        shots,
        pool,
        "user x item" if joint else "user",
        Requests(task, user, Ragged.empty(len(user)), catalogue, catalogue.text),
        Answers(item, Ragged.empty(len(user))),
        digest([part, task, quadrant, shots, pool, users]),
    )


@dataclass
class World:
    """A suite whose predictions are made up: ``strength`` says how far up a model puts the answers."""

    store: Store
    sets: tuple[RequestSet, ...]
    seeds: tuple[int, ...] = (0,)
    dataset: str = "made-up"
    sides: dict[str, str] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    entries: list[ModelEntry] = field(default_factory=list)

    def add(
        self,
        name: str,
        side: str,
        strength: float | Mapping[str, float],
        *,
        label: str | None = None,
        block: str = "main",
        converged: bool = True,
        served: float | Mapping[str, float] = 1.0,
        tied: int = 0,
        predicted: Callable[[RequestSet], bool] = lambda asked: True,
        fit: str = "",
        asking: Mapping[str, Any] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an entry; those of one ``fit`` share it, and differ in how it was asked (``asking``)."""
        entry = ModelEntry(name=name, model=f"made-up-{side}", block=block)
        self.entries.append(entry)
        for seed in self.seeds:
            key = digest([fit or name, seed])[:32]
            defaults = dict.fromkeys(asking or {}, "default")
            spec = {"model": entry.model, "model_version": "1", "settings": defaults, "seed": seed, "split": "0" * 64}
            self._write_fit(key, spec, fit or label or name, name, converged, notes or {})
            predictions = []
            for asked in filter(predicted, self.sets):
                described = {"fit": key, "set": asked.identity, "name": asked.name, "unit": asked.unit, "k": 10}
                described |= {"asking": asking} if asking else {}
                found = digest(described)[:32]
                share = served if isinstance(served, float) else served.get(asked.name, 1.0)
                power = strength if isinstance(strength, float) else strength.get(asked.part, 1.0)
                rng = np.random.default_rng([seed, *map(ord, name + asked.part)])
                self._write_prediction(key, found, described, self._counts(asked, rng, power, share, tied))
                if asking:
                    named = {"name": name, "label": label or name}
                    write_json(self.store.prediction(key, found) / "about.json", named)
                predictions.append(Prediction(asked.name, found, described, True))
            called = name if len(self.seeds) == 1 else f"{name} (seed {seed})"
            cell = Cell(called, entry, seed, label or name, key, spec, True, tuple(predictions), asking=asking or {})
            self.cells.append(cell)

    @staticmethod
    def _counts(asked: RequestSet, rng: np.random.Generator, strength: float, share: float, tied: int) -> pl.DataFrame:
        rows, candidates = len(asked), len(asked.requests.catalogue.items)
        above = (rng.random(rows) ** strength * (candidates - tied)).astype(np.int32)
        served = np.arange(rows) < share * rows
        return pl.DataFrame(
            {
                "request": np.arange(rows, dtype=np.int32),
                "user_id": asked.requests.user.astype(str),
                "item_id": asked.answers.item.astype(str),
                "above": np.where(served, above, 0).astype(np.int32),
                "tied": np.where(served, tied, 0).astype(np.int32),
                "candidates": np.full(rows, candidates, np.int32),
                "served": served,
            }
        )

    def _write_fit(self, key: str, spec: Any, label: str, name: str, converged: bool, notes: Mapping[str, Any]) -> None:
        folder = self.store.cell(key)
        if folder.is_dir():
            return
        folder.mkdir(parents=True)
        write_json(folder / "spec.json", spec)
        stopped = "early stopping" if converged else "budget"
        learned = {"parameters_trained": 10, "parameters_total": 20, "steps": 5, "epochs": 1.0}
        ended = {"stopped": stopped, "converged": converged, "label": label, "notes": notes}
        write_json(folder / "fit.json", {**learned, **ended})
        about = {"name": name, "label": label, "dataset": self.dataset, "protocol": "made up", "suite": "made-up"}
        write_json(folder / "about.json", about)
        self._write_provenance(folder)

    def _write_prediction(self, cell: str, key: str, described: Any, counts: pl.DataFrame) -> None:
        folder = self.store.prediction(cell, key)
        folder.mkdir(parents=True)
        write_json(folder / "spec.json", described)
        counts.write_parquet(folder / "measurements.parquet")
        self._write_provenance(folder)

    @staticmethod
    def _write_provenance(folder: Path) -> None:
        cost = {"wall_s": 1.5, "cpu_s": 2.5, "peak_memory_mib": 300.0, "shared_machine": False}
        write_json(folder / "provenance.json", {**cost, "processor": "abacus", "cores": 2, "code": None})

    def plan(self, *, primary: str = "NDCG@10", metrics: tuple[str, ...] = METRICS) -> Plan:
        suite = Suite(
            name="made-up",
            description="",
            dataset=self.dataset,
            protocol={"name": "leave-one-out"},
            tasks=tuple(dict.fromkeys(asked.task for asked in self.sets)),
            metrics=metrics,
            primary=primary,
            seeds=self.seeds,
            models=tuple(self.entries),
        )
        split = Split(self.dataset, "made up, split seed 0", None, (), None, None, ("Tie order unknown.",), "0" * 64)
        return Plan(suite, "cpu", split, self.sets, tuple(self.cells))


@pytest.fixture
def asked() -> Callable[..., RequestSet]:
    """Make a request set; see :func:`request_set`."""
    return request_set


@pytest.fixture
def world(tmp_path, monkeypatch) -> Callable[..., World]:
    """Make worlds: ``world(request sets)``; each set is also made for validation."""
    monkeypatch.setattr(collect, "model_class", lambda name: SimpleNamespace(side=name.removeprefix("made-up-")))
    # Who has a side has something to tune; floors have not.
    searched = {"search": Dimension(low=0, high=1)}
    monkeypatch.setattr(tuning, "load_preset", lambda name: Preset(name, search={} if "floor" in name else searched))
    monkeypatch.setattr(ModelEntry, "parsed_settings", lambda entry: None)

    def make(*tests: RequestSet, **rest: Any) -> World:
        twins = [replace(asked, part="valid", identity=digest(asked.identity)) for asked in tests]
        return World(Store(tmp_path / "runs"), (*tests, *twins), **rest)

    return make
