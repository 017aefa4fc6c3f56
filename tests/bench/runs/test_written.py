"""What models write, from the request to the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest

from bench.data import load_dataset
from bench.errors import ModelError, UsageError
from bench.metrics import Rated, Written, parse
from bench.models import Capabilities, FitReport, Recommender, Requests, Settings
from bench.results import compare, load_measurements, load_results
from bench.runs import predict
from bench.runs.plan import make_plan
from bench.runs.predict import measure, validation
from bench.runs.run import Outcome, run
from bench.runs.store import Store
from bench.runs.suite import Suite, load_suite
from bench.splits import LeaveOneOut, Temporal, make_split
from bench.tasks import RequestSet, Texts, request_sets

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
pytest.importorskip("yake")
pytest.importorskip("vaderSentiment")

MakeCard = Callable[[Sequence[tuple[object, ...]]], Path]
Rows = list[tuple[Any, ...]]
TASKS = ("explanation", "headline", "preference")


class Told(Recommender):
    """Answers with whatever a test tells it to."""

    capabilities = Capabilities(tasks=frozenset(TASKS), cold_items="natively")
    version = "1"
    side = "floor"

    def __init__(self, write: Callable[[Requests], Any]) -> None:
        super().__init__()
        self.told = write
        self.asked = 0

    def fit(self, *args: Any, **kwargs: Any) -> FitReport:
        return FitReport()

    def write(self, requests: Requests) -> pl.Series:
        self.asked += len(requests)
        return self.told(requests)

    def rate(self, requests: Requests) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.full(len(requests), 3, np.float32)

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        raise NotImplementedError


@pytest.fixture
def sets(make_review_card: MakeCard, review_rows: Rows) -> list[RequestSet]:
    return request_sets(make_split(load_dataset(make_review_card(review_rows)), LeaveOneOut()), TASKS)


def of(sets: Sequence[RequestSet], name: str) -> RequestSet:
    return next(asked for asked in sets if asked.name.startswith(name))


def some(requests: Requests) -> pl.Series:
    """A text, or for every third item nothing."""
    assert requests.item is not None
    return pl.Series([None if item % 3 == 0 else f"item {item}" for item in requests.item], dtype=pl.String)


def test_what_is_written_is_kept_beside_what_was_asked_for(
    sets: list[RequestSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = of(sets, "test/explanation")
    assert isinstance(asked.answers, Texts)
    found = measure(Told(some), asked, k=10)
    assert isinstance(found, Written)
    assert found.actual.equals(asked.answers.text)
    assert found.feature is not None
    assert found.written.equals(some(asked.requests))
    np.testing.assert_array_equal(found.served, asked.requests.item % 3 != 0)  # type: ignore[operator]
    # Blocks make no difference.
    monkeypatch.setattr(predict, "BLOCK_PAIRS", 7)
    told = []
    again = measure(Told(some), asked, k=10, progress=lambda done, total, note="": told.append((done, total)))
    assert isinstance(again, Written)
    assert again.written.equals(found.written)
    assert told == [(7, 40), (14, 40), (21, 40), (28, 40), (35, 40), (40, 40)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda requests: pl.Series(["x"] * (len(requests) - 1)), "expected 40 texts, got 39"),
        (lambda requests: ["x"] * len(requests), "expected a polars Series of String, got a list"),
        (lambda requests: pl.Series([1] * len(requests)), "expected a polars Series of String, got a series of Int64"),
    ],
)
def test_what_is_no_text_a_request_is_refused(sets: list[RequestSet], answer: Any, problem: str) -> None:
    with pytest.raises(ModelError, match=rf"Told on test/headline/warm-warm/pairs, requests from 0: {problem}"):
        measure(Told(answer), of(sets, "test/headline"), k=10)


def test_who_cannot_serve_is_not_asked(make_review_card: MakeCard, review_rows: Rows) -> None:
    late = [(f"new{row[0]}", *row[1:3], row[3] + 5, *row[4:]) for row in review_rows[:40]]
    dataset = load_dataset(make_review_card([*review_rows, *late]))
    cold = of(request_sets(make_split(dataset, Temporal(validation=0.2, test=0.2)), TASKS), "test/headline/cold-warm")
    model = Told(some)
    found = measure(model, cold, k=10)
    assert isinstance(found, Written)
    assert not found.served.any()
    assert model.asked == 0
    assert found.columns()["written"].dtype == pl.String


def test_validation_takes_the_mean_over_tasks_of_a_metric_of_all_their_texts(sets: list[RequestSet]) -> None:
    metric = parse("ROUGE-1")
    model = Told(lambda requests: pl.repeat("The plot is great.", len(requests), eager=True))
    scorer = rouge_scorer.RougeScorer(["rouge1"])
    by_task = []
    for task in ("explanation", "headline"):
        actual = of(sets, f"valid/{task}").answers
        assert isinstance(actual, Texts)
        by_task.append(
            np.mean([100 * scorer.score(text, "The plot is great.")["rouge1"].fmeasure for text in actual.text])
        )
    assert validation(sets, metric, k=10)(model) == pytest.approx(np.mean(by_task))
    # Lower is better for errors; nothing is read but the validation part.
    label = measure(model, of(sets, "valid/preference"), k=10)
    assert isinstance(label, Rated)
    assert validation(sets, parse("MAE"), k=10)(model) == pytest.approx(-np.abs(label.label - 3).mean())
    assert validation([one for one in sets if one.part == "test"], metric, k=10)(model) == 0


@pytest.fixture
def suite(make_review_card: MakeCard, review_rows: Rows, tmp_path: Path) -> Suite:
    path = tmp_path / "suite.yaml"
    card = make_review_card(review_rows)
    path.write_text(f"{{name: tiny, description: x, dataset: '{card}', protocol: {{name: leave-one-out}}, {SUITE}}}")
    return load_suite(str(path))


SUITE = (
    "tasks: [rating, explanation, feature-explanation, rated-explanation, headline, preference],"
    " metrics: [RMSE, MAE, ROUGE-1, ROUGE-L, USR], primary: [ROUGE-L, RMSE],"
    " models: [frequent-sentence, nearest-review, majority, means, tfidf-ridge]"
)


@pytest.mark.slow
def test_a_suite_of_reviews(suite: Suite, tmp_path: Path) -> None:
    """From the request to the table, and from the store to frames: one run, for it takes its time."""
    pytest.importorskip("sklearn")
    outcome = run(suite, store=tmp_path / "runs", results=tmp_path / "results")
    assert not outcome.failed
    assert not outcome.missing
    check_the_table(outcome)
    check_the_frames(tmp_path / "runs")


def check_the_table(outcome: Outcome) -> None:
    store, name = Store(outcome.folder.parents[1] / "runs"), "test/explanation/warm-warm/pairs"
    frames = {
        cell.name: store.measurements(cell.key, prediction.key)
        for cell in outcome.plan.cells
        for prediction in cell.predictions
        if prediction.name == name
    }
    assert list(frames) == ["frequent-sentence", "nearest-review"]
    for frame in frames.values():
        assert frame.columns == ["request", "user_id", "item_id", "actual", "written", "served", "feature"]
        assert frame.schema["written"] == frame.schema["feature"] == pl.String
    # The table says what rouge-score says.
    table = pl.read_csv(outcome.folder / "table.csv")
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    for model, frame in frames.items():
        said = table.filter(model=model, metric="ROUGE-L", task="explanation")
        pairs = zip(frame["actual"], frame["written"].fill_null(""), strict=True)
        own = np.mean([scorer.score(actual, written)["rougeL"].fmeasure for actual, written in pairs])
        assert said["mean"].item() == pytest.approx(100 * own)
        assert said["low"].item() <= 100 * own <= said["high"].item()
        # A number of all texts has no interval.
        assert table.filter(model=model, metric="USR", task="explanation")["low"].item() is None
    assert set(table.filter(pl.col("reference").is_not_null())["reference"]) == {"nearest-review", "tfidf-ridge"}

    text = (outcome.folder / "table.md").read_text()
    for heading in (
        "## Warm user, warm item: explanation\n",
        "## Warm user, warm item: explanation, feature given\n",
        "## Warm user, warm item: explanation, feature and stars of the same review given\n",
        "## Warm user, warm item: headline, review given\n",
        "## Warm user, warm item: stars, review given\n",
    ):
        assert heading in text
    assert "the others count as empty texts" in text
    assert "the others count as the worst answer there is" in text
    assert "USR: of all texts together, not a mean over requests; without an interval, and not tested." in text
    assert "the stars of that very review are shown (P5's 3-11 and 3-12)" in text


def check_the_frames(store: Path) -> None:
    results = load_results(store, metrics=["ROUGE-1", "RMSE"])
    tests = results[results.part == "test"]
    assert set(tests[tests.metric == "ROUGE-1"].task) == {
        "explanation", "feature-explanation", "rated-explanation", "headline",
    }  # fmt: skip
    assert set(tests[tests.metric == "RMSE"].task) == {"rating", "preference"}
    frame = load_measurements(tests, store, metrics=["ROUGE-1", "MAE"])
    texts = frame[frame.written.notna()]
    assert texts["ROUGE-1"].notna().all()
    assert texts["MAE"].isna().all()
    assert all(isinstance(text, str) for text in texts.actual)
    assert set(frame[frame.predicted.notna()].actual) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    means = texts[texts.set == "test/headline/warm-warm/pairs"].groupby("model")["ROUGE-1"].mean()
    own = tests[(tests.set == "test/headline/warm-warm/pairs") & (tests.metric == "ROUGE-1")].set_index("model")["mean"]
    assert means.to_dict() == pytest.approx(own.to_dict())
    found = compare(
        "nearest-review", "frequent-sentence", metric="ROUGE-1", on="test/headline/warm-warm/pairs", store=store
    )
    assert found.difference == pytest.approx(own["nearest-review"] - own["frequent-sentence"])
    with pytest.raises(UsageError, match="USR is of all texts together"):
        compare("nearest-review", "frequent-sentence", metric="USR", on="test/headline/warm-warm/pairs", store=store)


def test_models_are_selected_by_what_they_do(suite: Suite, tmp_path: Path) -> None:
    cells = {cell.name: cell.spec["selected_on"] for cell in make_plan(suite, Store(tmp_path / "runs")).cells}
    chosen = {name: (selected["metric"], len(selected["sets"])) for name, selected in cells.items()}
    assert chosen == {
        "frequent-sentence": ("ROUGE-L", 4),
        "nearest-review": ("ROUGE-L", 4),
        "majority": ("RMSE", 2),
        "means": ("RMSE", 2),
        "tfidf-ridge": ("RMSE", 1),
    }
