"""The public contract test class: subclass it, name your model, and pytest checks what the harness relies on.

::

    class TestMine(RecommenderContract):
        model = MyRecommender
        settings = {"factors": 8}

The small world behind it (``bench.models.world``) is drawn from a seed.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from bench.data.ragged import Ragged
from bench.models.contract import Budget, Capabilities, FitReport, Recommender, Requests
from bench.models.world import SmallWorld, small_world
from bench.tasks.requests import LABEL_TASKS, TEXT_TASKS, TaskName

__all__ = ["RecommenderContract", "SmallWorld", "small_world"]

ABOUT_ITEMS = (*LABEL_TASKS, *TEXT_TASKS)
"""Tasks whose requests are about one item each."""


def _disturb_generators() -> None:
    """Leave Python's, numpy's and (if it is in use) torch's global generators somewhere else."""
    random.seed(os.urandom(8))
    np.random.seed(int.from_bytes(os.urandom(4), "little"))  # noqa: NPY002 (the generator libraries draw from)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(int.from_bytes(os.urandom(4), "little"))


def _answered(answers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where a number, or a text, was given; infinite numbers may not be."""
    if answers.dtype == object:
        return np.array([[text is not None for text in row] for row in answers])
    assert not np.isinf(answers).any()
    said: np.ndarray[Any, Any] = ~np.isnan(answers)
    return said


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
        """Fit a fresh model as the harness does: what only asks is at its default until the fit is stored."""
        settings = cls.model.Settings.model_validate(cls.settings)
        model = cls.model(settings.fitting())
        calls: list[float] = []

        def validate(asked: Recommender, /) -> float:
            cls.answers(asked, world.requests(sorted(asked.capable(asked.settings).tasks)[-1]))
            calls.append(float(len(calls)))
            return calls[-1]

        report = model.fit(world.training(), validate=validate, budget=cls.budget, seed=seed, progress=_no_progress)
        assert isinstance(report, FitReport)
        assert 0 <= report.parameters_trained <= report.parameters_total
        if settings == settings.fitting():
            return model
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder))
            return cls.model.load(Path(folder), settings)

    @classmethod
    def answers(cls, model: Recommender, requests: Requests, exclude: Ragged | None = None) -> np.ndarray[Any, Any]:
        """Scores of all candidates, shape (requests, candidates); lists are spread out, NaN where not listed.

        What is said or written of one item each has shape (requests, 1); texts are objects, None where there is none.
        """
        if requests.task in TEXT_TASKS:
            texts = model.write(requests)
            assert isinstance(texts, pl.Series)
            assert texts.dtype == pl.String
            assert len(texts) == len(requests)
            return np.array(texts.to_list(), object)[:, None]
        if requests.item is not None:
            said = model.rate(requests)
            assert said.shape == (len(requests),)
            assert said.dtype == np.float32
            return said[:, None]
        if model.capable(model.settings).answers_with == "scores":
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
        """Compare answers: numbers up to the tolerance, texts letter by letter."""
        if left.dtype == object:
            np.testing.assert_array_equal(left, right)
            return
        np.testing.assert_allclose(left, right, rtol=self.tolerance, atol=self.tolerance)

    def able(self) -> Capabilities:
        """What the model declares under the settings of the test."""
        return self.model.capable(self.model.Settings.model_validate(self.settings))

    def tasks(self) -> list[TaskName]:
        """Tasks the model declares."""
        return sorted(self.able().tasks, reverse=True)

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

    def test_settings_that_only_ask_share_a_fit(self) -> None:
        """They are settings with a default, and what the model brings along does not depend on them."""
        settings = self.model.Settings.model_validate(self.settings)
        assert settings.asking <= set(self.model.Settings.model_fields)
        assert set(settings.asking_of) <= settings.asking
        fitting = self.model.Settings.model_validate(settings.fitting().model_dump())
        assert fitting == fitting.fitting()
        assert self.model.identity(settings) == self.model.identity(fitting)
        for variant in self.model.expand(settings, self.tasks()).values():
            assert variant.fitting() == fitting

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
        assert loaded.settings == fitted.settings
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
        """Training users get finite scores for, or a text about, training items."""
        known = np.isin(world.items["item"].to_numpy(), world.training().item)
        for task in self.tasks():
            served = _answered(self.answers(fitted, world.requests(task)))
            if task in ABOUT_ITEMS:
                assert served.all()
            elif self.able().answers_with == "scores":
                assert served[:, known].all()
            else:
                assert (served.sum(axis=1) == 5).all()

    def test_cold_items_are_handled_as_declared(self, fitted: Recommender, world: SmallWorld) -> None:
        """An item never seen in training is answered for only if the model says that it serves such items."""
        cold = np.isin(world.items["item"].to_numpy(), world.cold)
        for task in self.tasks():
            served = _answered(self.answers(fitted, world.requests(task, cold_items=True)))
            served = served if task in ABOUT_ITEMS else served[:, cold]
            if self.able().cold_items is None:
                assert not served.any()
            elif task in ABOUT_ITEMS or self.able().answers_with == "scores":
                assert served.all()

    def test_cold_users_are_handled_as_declared(self, fitted: Recommender, world: SmallWorld) -> None:
        """A user never seen in training is answered only if the model says so."""
        for task in self.tasks():
            if task != "direct":
                served = _answered(self.answers(fitted, world.requests(task, cold_users=True))).any(axis=1)
                assert served.all() if self.able().cold_users is not None else not served.any()

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
        if self.able().answers_with != "lists":
            return
        for task in [task for task in self.tasks() if task not in ABOUT_ITEMS]:
            requests = world.requests(task)
            free = fitted.rank(requests, len(world.items), exclude=Ragged.empty(len(requests)))
            banned = Ragged.from_lists([items[:3] for items in free.items])
            masked = fitted.rank(requests, 3, exclude=banned)
            for before, after in zip(free.items, masked.items, strict=True):
                assert after.tolist() == before.tolist()[3:6]
