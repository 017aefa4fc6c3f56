"""The public contract test class: subclass it, name your model, and pytest checks what the harness relies on.

::

    class TestMine(RecommenderContract):
        model = MyRecommender
        settings = {"factors": 8}

The small world behind it is drawn from a seed: users follow chains of items whose titles share words, so that order,
co-occurrence and text all carry some signal.
"""

from __future__ import annotations

import os
import random
import sys
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from bench.data.ragged import Ragged
from bench.models.contract import Budget, FitReport, Recommender, Requests, Training
from bench.tasks.requests import Catalogue, TaskName

__all__ = ["RecommenderContract", "SmallWorld", "small_world"]

GENRES = ("crime", "space", "music", "desert", "ocean")
WARM_ITEMS, COLD_ITEMS, USERS, COLD_USERS = 30, 6, 40, 4
PAIR_TASKS = ("rating", "click")


class SmallWorld:
    """Training data and requests of a made-up shop with 30 warm and 6 cold items, 40 warm and 4 cold users."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        # Codes with gaps and in no order, as a real split has them.
        codes = np.sort(rng.choice(500, WARM_ITEMS + COLD_ITEMS, replace=False)).astype(np.int32)
        shuffled = rng.permutation(codes)
        self.warm, self.cold = np.sort(shuffled[:WARM_ITEMS]), np.sort(shuffled[WARM_ITEMS:])
        genre = {int(code): GENRES[place % len(GENRES)] for place, code in enumerate(shuffled)}
        self.items = pl.DataFrame(
            {
                "item": codes,
                "item_id": [f"id{code}" for code in codes],
                "title": [f"The {genre[int(code)]} story part {code}" for code in codes],
                "categories": [[genre[int(code)], "Film"] for code in codes],
            },
            schema_overrides={"item": pl.Int32},
        )
        chains = {name: [code for code in shuffled[:WARM_ITEMS] if genre[int(code)] == name] for name in GENRES}
        everyone = np.sort(rng.choice(300, USERS + COLD_USERS, replace=False)).astype(np.int32)
        draw = rng.permutation(everyone)
        self.users, self.cold_users = np.sort(draw[:USERS]), np.sort(draw[USERS:])
        self.sequences = Ragged.from_lists([self._walk(rng, chains) for _ in self.users])
        self.cold_history = Ragged.from_lists([self._walk(rng, chains) for _ in self.cold_users])

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
            rating=(1 + seen.values % 5).astype(np.float32),
            items=self._rows(np.unique(seen.values)),
        )

    def _rows(self, codes: np.ndarray[Any, Any]) -> pl.DataFrame:
        return self.items.filter(pl.col("item").is_in(codes.tolist())).sort("item")

    def requests(
        self,
        task: TaskName = "sequential",
        *,
        cold_users: bool = False,
        cold_items: bool = False,
        history: Ragged | None = None,
    ) -> Requests:
        """Ask about warm (or cold) users: all 36 items as candidates, or, of pairs, one warm (or cold) item each."""
        user = self.cold_users if cold_users else self.users
        if history is None:
            history = self.cold_history if cold_users else self.training().sequences
        catalogue = Catalogue(self.items["item"].to_numpy(), self.items)
        asked = None
        if task in PAIR_TASKS:
            pool = self.cold if cold_items else self.training().item
            asked = np.resize(pool, len(user))
        return Requests(task, user, None if task == "direct" else history, catalogue, self.items, item=asked)


@cache
def small_world(seed: int = 0) -> SmallWorld:
    """The world of that seed, made once."""
    return SmallWorld(seed)


def _disturb_generators() -> None:
    """Leave Python's, numpy's and (if it is in use) torch's global generators somewhere else."""
    random.seed(os.urandom(8))
    np.random.seed(int.from_bytes(os.urandom(4), "little"))  # noqa: NPY002 (the generator libraries draw from)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(int.from_bytes(os.urandom(4), "little"))


def _no_progress(done: int, total: int, note: str = "") -> None:
    """Say nothing."""


class RecommenderContract:
    """Tests that every recommender must pass.

    Attributes
    ----------
    model : type[Recommender]
    settings : dict
        For a model that trains in a second or two.
    budget : Budget
    tolerance : float
        Largest difference allowed between scores that must be the same.
    """

    model: ClassVar[type[Recommender]]
    settings: ClassVar[dict[str, Any]] = {}
    budget: ClassVar[Budget] = Budget(max_epochs=2, eval_every_epochs=1, max_steps=20, eval_every_steps=10, patience=2)
    tolerance: ClassVar[float] = 2e-5

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> SmallWorld:
        """The small world."""
        return small_world()

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, world: SmallWorld) -> Recommender:
        """A fitted model, shared by the tests of the class."""
        return cls.fit(world)

    @classmethod
    def fit(cls, world: SmallWorld, seed: int = 0) -> Recommender:
        """Fit a fresh model."""
        model = cls.model(cls.model.Settings.model_validate(cls.settings))
        calls: list[float] = []

        def validate(asked: Recommender, /) -> float:
            cls.answers(asked, world.requests(sorted(asked.capabilities.tasks)[-1]))
            calls.append(float(len(calls)))
            return calls[-1]

        report = model.fit(world.training(), validate=validate, budget=cls.budget, seed=seed, progress=_no_progress)
        assert isinstance(report, FitReport)
        assert 0 <= report.parameters_trained <= report.parameters_total
        return model

    @classmethod
    def answers(cls, model: Recommender, requests: Requests, exclude: Ragged | None = None) -> np.ndarray[Any, Any]:
        """Scores of all candidates, shape (requests, candidates); lists are spread out, NaN where not listed.

        What is said of pairs has shape (requests, 1).
        """
        if requests.item is not None:
            said = model.rate(requests)
            assert said.shape == (len(requests),)
            assert said.dtype == np.float32
            return said[:, None]
        if model.capabilities.answers_with == "scores":
            scores = model.score(requests)
            assert scores.shape == (len(requests), len(requests.catalogue.items))
            assert scores.dtype == np.float32
            return scores
        exclude = exclude if exclude is not None else Ragged.empty(len(requests))
        lists = model.rank(requests, 5, exclude=exclude)
        spread = np.full((len(requests), len(requests.catalogue.items)), np.nan, np.float32)
        columns = np.searchsorted(requests.catalogue.items, lists.items.values)
        assert (requests.catalogue.items[columns] == lists.items.values).all()
        assert lists.items.lengths.max() <= 5
        spread[lists.items.row_of, columns] = lists.scores
        for items, banned in zip(lists.items, exclude, strict=True):
            assert len(set(items.tolist())) == len(items)
            assert not set(items.tolist()) & set(banned.tolist())
        return spread

    def same(self, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> None:
        """Compare answers up to the tolerance."""
        np.testing.assert_allclose(left, right, rtol=self.tolerance, atol=self.tolerance)

    def tasks(self) -> list[TaskName]:
        """Tasks the model declares."""
        return sorted(self.model.capabilities.tasks, reverse=True)

    def test_declares_itself(self) -> None:
        """Class attributes are there, and the label is more than the class name of a family."""
        assert self.model.version
        assert self.model.side in {"floor", "classic", "llm"}
        assert self.tasks()
        assert self.model.label(self.model.Settings.model_validate(self.settings))

    def test_settings_refuse_unknown_keys(self) -> None:
        """A misspelt setting is an error."""
        with pytest.raises(ValueError, match="no_such_setting"):
            self.model.Settings.model_validate({**self.settings, "no_such_setting": 1})

    def test_refit_with_the_same_seed_is_the_same(self, world: SmallWorld, fitted: Recommender) -> None:
        """Another fit gives the same answers, whatever state the global random generators are in by then."""
        _disturb_generators()
        again = self.fit(world)
        for task in self.tasks():
            self.same(self.answers(again, world.requests(task)), self.answers(fitted, world.requests(task)))

    def test_save_and_load(self, fitted: Recommender, world: SmallWorld, tmp_path: Path) -> None:
        """A loaded model answers as the saved one; nothing is pickled."""
        fitted.save(tmp_path)
        assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]
        loaded = self.model.load(tmp_path, fitted.settings)
        for task in self.tasks():
            self.same(self.answers(loaded, world.requests(task)), self.answers(fitted, world.requests(task)))

    def test_order_and_batch_of_requests_do_not_matter(self, fitted: Recommender, world: SmallWorld) -> None:
        """Each request is answered for itself."""
        for task in self.tasks():
            requests = world.requests(task)
            whole = self.answers(fitted, requests)
            rows = np.random.default_rng(1).permutation(len(requests))
            self.same(self.answers(fitted, requests.take(rows)), whole[rows])
            for row in rows[:3]:
                self.same(self.answers(fitted, requests.take(np.array([row]))), whole[[row]])

    def test_warm_requests_are_served(self, fitted: Recommender, world: SmallWorld) -> None:
        """Training users get finite scores for training items."""
        known = np.isin(world.items["item"].to_numpy(), world.training().item)
        for task in self.tasks():
            scores = self.answers(fitted, world.requests(task))
            if task in PAIR_TASKS:
                assert np.isfinite(scores).all()
            elif fitted.capabilities.answers_with == "scores":
                assert np.isfinite(scores[:, known]).all()
            else:
                assert (np.isfinite(scores).sum(axis=1) == 5).all()

    def test_cold_items_are_handled_as_declared(self, fitted: Recommender, world: SmallWorld) -> None:
        """An item never seen in training has a score only if the model says that it serves such items."""
        cold = np.isin(world.items["item"].to_numpy(), world.cold)
        for task in self.tasks():
            scores = self.answers(fitted, world.requests(task, cold_items=True))
            scores = scores if task in PAIR_TASKS else scores[:, cold]
            if fitted.capabilities.cold_items is None:
                assert np.isnan(scores).all()
            elif task in PAIR_TASKS or fitted.capabilities.answers_with == "scores":
                assert np.isfinite(scores).all()

    def test_cold_users_are_handled_as_declared(self, fitted: Recommender, world: SmallWorld) -> None:
        """A user never seen in training is answered only if the model says so."""
        for task in self.tasks():
            if task != "direct":
                served = np.isfinite(self.answers(fitted, world.requests(task, cold_users=True))).any(axis=1)
                assert served.all() if fitted.capabilities.cold_users is not None else not served.any()

    def test_an_empty_history_is_no_crash(self, fitted: Recommender, world: SmallWorld) -> None:
        """A cold user with nothing shown gets finite scores or none, never infinities."""
        if "sequential" in self.tasks():
            nothing = world.requests(cold_users=True, history=Ragged.empty(len(world.cold_users)))
            assert not np.isinf(self.answers(fitted, nothing)).any()

    def test_history_may_hold_items_never_seen(self, fitted: Recommender, world: SmallWorld) -> None:
        """Cold items among the shown ones do no harm."""
        if "sequential" in self.tasks():
            mixed = Ragged.from_lists([[*row.tolist(), int(world.cold[0])] for row in world.cold_history])
            assert not np.isinf(self.answers(fitted, world.requests(cold_users=True, history=mixed))).any()

    def test_a_mask_is_not_evidence(self, fitted: Recommender, world: SmallWorld) -> None:
        """For models that list: excluding items leaves the order and scores of the others alone."""
        if fitted.capabilities.answers_with != "lists":
            return
        for task in self.tasks():
            requests = world.requests(task)
            free = fitted.rank(requests, len(world.items), exclude=Ragged.empty(len(requests)))
            banned = Ragged.from_lists([items[:3] for items in free.items])
            masked = fitted.rank(requests, 3, exclude=banned)
            for before, after in zip(free.items, masked.items, strict=True):
                assert after.tolist() == before.tolist()[3:6]
