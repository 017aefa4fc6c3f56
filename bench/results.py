"""What is stored, as pandas frames, and two stored models side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from bench.data.hashing import digest
from bench.errors import UsageError, nearest
from bench.metrics import RankMetric, parse
from bench.report.measures import coverage, unit_mean, units_of, values_of
from bench.runs.store import Store, read_json
from bench.stats import Comparison, compare_all

__all__ = ["METRICS", "compare", "load_measurements", "load_results"]

METRICS = (
    *(f"{name}@{k}" for name in ("HR", "NDCG", "MRR") for k in (1, 5, 10, 20)),
    *("RMSE", "MAE", "AUC", "LogLoss"),
    *("BLEU-1", "BLEU-2", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"),
)
"""What :func:`load_results` computes when nothing else is asked for."""

_STORE = "results/runs"


@dataclass(frozen=True)
class _Stored:
    """One stored prediction with the names that it goes by.

    ``variant`` is the same for what differs in the training seed only; ``asked`` identifies the request set; ``asking``
    says how its fit was asked, where that is not the default.
    """

    cell: str
    prediction: str
    about: dict[str, str]
    seed: int
    split: str
    variant: str
    asked: str
    name: str
    unit: str
    k: int
    asking: str

    @property
    def task(self) -> str:
        return self.name.split("/")[1]

    def is_called(self, name: str) -> bool:
        """Whether ``name`` is its name or label, or its key or its cell's (eight letters or more are enough)."""
        keys = (self.cell, self.prediction) if len(name) >= 8 else ()
        return name in (self.about["name"], self.about["label"]) or any(key.startswith(name) for key in keys)


def _stored(store: Store) -> list[_Stored]:
    found = sorted(
        _walk(store),
        key=lambda one: (one.about["dataset"], one.name, one.about["name"], one.seed, one.cell, one.asking),
    )
    if not found:
        raise UsageError(f"nothing is stored in {store.root}; `bench run --suite quick` fills a store")
    return found


def _walk(store: Store) -> Iterator[_Stored]:
    for fit in store.root.glob("*/fit.json"):
        cell = fit.parent.name
        spec, about = read_json(fit.with_name("spec.json")), read_json(fit.with_name("about.json"))
        but_seed = {name: value for name, value in spec.items() if name != "seed"}
        for path in (fit.parent / "predictions").glob("*/measurements.parquet"):
            asked, named = read_json(path.with_name("spec.json")), path.with_name("about.json")
            asking = asked.get("asking", {})
            yield _Stored(
                cell,
                path.parent.name,
                {**about, **read_json(named)} if named.is_file() else about,
                spec["seed"],
                spec["split"],
                digest({**but_seed, "asking": asking}),
                asked["set"],
                asked["name"],
                asked["unit"],
                asked["k"],
                ", ".join(f"{name}={value}" for name, value in asking.items() if value != spec["settings"][name]),
            )


def load_results(store: str | Path = _STORE, *, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Every stored prediction, summarised: one row a prediction and metric.

    Parameters
    ----------
    store : path
    metrics : sequence of str
        A metric that looks deeper than the lists a prediction was asked for is left out for it.

    Returns
    -------
    pandas.DataFrame
        ``dataset``, ``protocol``, ``split``; ``part``, ``task``, ``quadrant``, ``shots``, ``pool`` and ``set`` (their
        joint name); ``model``, ``label``, ``asking`` (how the fitted model was asked, such as ``"prompt=2-13"``; empty
        for its defaults), ``seed``; ``metric``, ``mean`` (within the unit of inference first, as in the
        tables), ``mean_ties_expected``, ``coverage``, ``requests``; and the keys ``cell`` and ``prediction``.

    Raises
    ------
    UsageError
        For an unknown metric, or an empty store.
    """
    place = Store(Path(store))
    wanted = {metric: parse(metric) for metric in metrics}
    rows: list[dict[str, Any]] = []
    for one in _stored(place):
        frames = [place.measurements(one.cell, one.prediction)]
        units = units_of(one.unit, frames[0])
        same = {**_columns(one), "coverage": coverage(frames), "requests": len(frames[0])}
        for metric, measure in wanted.items():
            if measure.k <= one.k and one.task in measure.tasks and measure.defined(frames[0]):
                mean = unit_mean(values_of(metric, frames), units)
                ranks = isinstance(measure, RankMetric)  # only ranks can tie
                ties = unit_mean(values_of(metric, frames, expected=True), units) if ranks else mean
                rows.append(same | {"metric": metric, "mean": mean, "mean_ties_expected": ties})
    order = (
        "dataset", "protocol", "split", "part", "task", "quadrant", "shots", "pool", "set", "model", "label", "asking",
        "seed", "metric", "mean", "mean_ties_expected", "coverage", "requests", "cell", "prediction",
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(order)).astype({"shots": "Int64"})


def _columns(one: _Stored) -> dict[str, Any]:
    part, task, quadrant, *shots, pool = one.name.split("/")
    return {
        "dataset": one.about["dataset"],
        "protocol": one.about["protocol"],
        "split": one.split[:12],
        "part": part,
        "task": task,
        "quadrant": quadrant,
        "shots": int(shots[0].removeprefix("k=")) if shots else None,
        "pool": pool,
        "set": one.name,
        "model": one.about["name"],
        "label": one.about["label"],
        "asking": one.asking,
        "seed": one.seed,
        "cell": one.cell,
        "prediction": one.prediction,
    }


def load_measurements(
    results: pd.DataFrame, store: str | Path = _STORE, *, metrics: Sequence[str] = ("NDCG@10",)
) -> pd.DataFrame:
    """The requests of chosen predictions, one row a request.

    Parameters
    ----------
    results : pandas.DataFrame
        Rows of :func:`load_results`; each prediction in it is read once, whatever its metrics.
    store : path
    metrics : sequence of str
        Columns to compute.

    Returns
    -------
    pandas.DataFrame
        ``model``, ``label``, ``asking``, ``seed``, ``set``, ``request``, ``user_id``, ``item_id`` (the answer),
        ``above``, ``tied``, ``candidates``, ``served`` (for ratings, clicks and preferences ``actual``, ``predicted``,
        ``served``; for texts ``actual``, ``written``, ``served`` and, for explanations, ``feature``), and a column a
        metric; empty where a metric does not measure the task.
    """
    place = Store(Path(store))
    names = ["model", "label", "asking", "seed", "set"]
    parts = []
    for chosen in results.drop_duplicates(["cell", "prediction"]).to_dict("records"):
        frame = place.measurements(chosen["cell"], chosen["prediction"])
        suited = [metric for metric in metrics if chosen["task"] in parse(metric).tasks]
        values = [pl.Series(metric, values_of(metric, [frame])[0]) for metric in suited]
        who = [pl.lit(chosen[name]).alias(name) for name in names]
        parts.append(frame.with_columns(*who, *values).select(*names, *frame.columns, *suited))
    if not parts:
        raise UsageError("no row of results was chosen")
    # Through plain columns: polars' own conversion would want pyarrow's types in pandas. Numbers and texts that users
    # gave share the column ``actual``, which polars would not allow.
    numbers = [part for part in parts if part.schema.get("actual") != pl.String]
    texts = [part for part in parts if part.schema.get("actual") == pl.String]
    frames = [
        pd.DataFrame(pl.concat(some, how="diagonal").to_dict(as_series=False)) for some in (numbers, texts) if some
    ]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def compare(
    a: str,
    b: str,
    *,
    on: str | None = None,
    metric: str = "NDCG@10",
    dataset: str | None = None,
    store: str | Path = _STORE,
) -> Comparison:
    """Compare stored model ``a`` with stored model ``b``, request by request and over the right unit.

    All stored training seeds are used. The interval and p are those of a table with ``b`` as its reference, before
    correction: who makes several comparisons must correct them (``bench.stats.correct``).

    Parameters
    ----------
    a, b : str
        Names or labels, or keys of cells or, where one fit was asked in several ways, of predictions (their first eight
        letters are enough).
    on : str, optional
        Request set, such as ``"test/sequential/warm-warm/all"``; needed when they share several test sets.
    metric : str
    dataset : str, optional
        Needed when they share that set on several data sets.
    store : path

    Raises
    ------
    UsageError
        When a name is unknown or stands for several variants, or what they share is none or many.
    """
    place = Store(Path(store))
    found = _stored(place)
    if dataset is not None:
        known = {one.about["dataset"] for one in found}
        if dataset not in known:
            raise nearest("stored data set", dataset, known)
        found = [one for one in found if one.about["dataset"] == dataset]
    one, other = (_named(found, name, on) for name in (a, b))
    shared = {each.asked: each for each in one if each.asked in {its.asked for its in other}}
    if len(shared) != 1:
        listed = ", ".join(sorted(f"{each.name} of {each.about['dataset']}" for each in shared.values()))
        raise UsageError(
            f"{a} and {b} share {'no request set' if not shared else f'several, choose with on: {listed}'}"
        )
    asked = next(iter(shared.values()))
    values = {}
    for name, stored in ((a, one), (b, other)):
        # Suites may have asked one fit for lists of several lengths; the longest serve every metric.
        deepest = {
            (each.cell, each.asking): each
            for each in sorted(stored, key=lambda one: one.k)
            if each.asked == asked.asked
        }
        seeds = list(deepest.values())
        _check(name, seeds, metric)
        frames = [place.measurements(each.cell, each.prediction) for each in seeds]
        values[name] = values_of(metric, frames)
    higher = parse(metric).higher_is_better
    return compare_all(values, units_of(asked.unit, frames[0]), reference=b, higher_is_better=higher)[0]


def _named(found: Sequence[_Stored], name: str, on: str | None) -> list[_Stored]:
    """Predictions of the model called ``name``: those on ``on``, or all for the test."""
    of_model = [one for one in found if one.is_called(name)]
    if not of_model:
        raise nearest("stored model", name, {one.about["name"] for one in found})
    chosen = [one for one in of_model if (one.name == on if on else one.name.startswith("test/"))]
    if not chosen:
        raise nearest(f"request set of {name}", on or "test", {one.name for one in of_model})
    return chosen


def _check(name: str, seeds: Sequence[_Stored], metric: str) -> None:
    if len({one.variant for one in seeds}) > 1:
        cells = Counter(one.cell for one in seeds)
        listed = ", ".join(
            f"{(one.cell if cells[one.cell] == 1 else one.prediction)[:8]} ({one.about['label']}"
            f"{f', {one.asking}' if one.asking else ''}, seed {one.seed})"
            for one in seeds
        )
        raise UsageError(f"{name} stands for several variants; give one by its key: {listed}")
    measure, task = parse(metric), seeds[0].task
    if task not in measure.tasks:
        raise UsageError(f"{metric} measures {' and '.join(measure.tasks)}, and {name} answered {task}")
    if measure.descriptive:
        raise UsageError(f"{metric} is of all texts together, not a mean over requests: nothing can be tested by it")
    if measure.k > min(one.k for one in seeds):
        raise UsageError(f"{metric} looks deeper than the lists of {name}, which hold {min(one.k for one in seeds)}")
