"""The figures of others: whole, in range, and found only by what they are figures of."""

from __future__ import annotations

import re
from itertools import combinations
from math import log2

import pytest

from bench.data import card_names
from bench.errors import DataError
from bench.metrics import parse
from bench.models import model_names
from bench.published import published_for, published_tables
from bench.published.tables import read_table
from bench.runs.suite import Suite

GOOD = """
short: Someone
source: Someone et al. (2020)
year: 2020
protocol: leave-one-out
task: sequential
pool: all
setup: One run.
caveats: [Careful.]
dataset_caveats: {beauty: [Very.]}
metrics: [HR@5, NDCG@5, HR@10]
models: {A: [sasrec], B: []}
figures:
  beauty: {A: [0.1, 0.05, 0.2], B: [0.3, null, 0.4]}
  toys: {A: [0, 0.0, 1.0]}
"""


@pytest.mark.parametrize("table", published_tables(), ids=lambda table: f"{table.short}-{table.task}-{table.pool}")
def test_every_name_is_known_here(table):
    assert {model for models in table.models.values() for model in models} <= {*model_names()}
    assert set(table.figures) <= set(card_names())
    like = {
        "name": "probe",
        "description": "",
        "dataset": "ml-100k",
        "protocol": {"name": table.protocol},
        "tasks": (table.task,),
        "metrics": table.metrics,
        "primary": table.metrics[0],
        "models": ("popularity",),
    }
    assert Suite.model_validate(like).metrics_for(table.task) == table.metrics


@pytest.mark.parametrize("table", published_tables(), ids=lambda table: f"{table.short}-{table.task}-{table.pool}")
def test_every_figure_is_one_that_can_be(table):
    for dataset in table.figures:
        for model, figures in table.of(dataset).items():
            assert figures, model
            for metric, value in figures.items():
                assert 0 < value < (1 if "@" in metric else 4), (dataset, model, metric)
                # With one relevant item the gain at k lies between HR@k / log2(k + 1) and HR@k.
                if metric.startswith("NDCG") and (hits := figures.get(metric.replace("NDCG", "HR"))):
                    assert hits / log2(parse(metric).k + 1) - 1e-4 <= value <= hits, (dataset, model, metric)


def test_sources_of_one_question_have_names_of_their_own():
    for one, other in combinations(published_tables(), 2):
        same = (one.protocol, one.task, one.pool) == (other.protocol, other.task, other.pool)
        if same and set(one.figures) & set(other.figures):
            assert one.short != other.short


def test_figures_are_those_that_the_papers_print():
    """A few of each table, typed a second time."""
    ranking = {"dataset": "amazon-toys", "protocol": "leave-one-out"}

    def figure(short: str, model: str, metric: str, **question: object) -> float:
        (table,) = [table for table in published_for(**{**ranking, **question}) if table.short == short]
        return table.of(question.get("dataset", "amazon-toys"))[model][metric]

    sequential = {"task": "sequential", "pool": "all"}
    assert figure("S3-Rec", "SASRec", "NDCG@10", **sequential) == 0.0374
    assert figure("S3-Rec", "HGN", "HR@5", dataset="amazon-beauty", **sequential) == 0.0325
    assert figure("S3-Rec", "BERT4Rec", "NDCG@10", dataset="yelp-2019", **sequential) == 0.0045
    assert figure("P5", "P5-B, prompt 2-13", "NDCG@5", dataset="amazon-sports", **sequential) == 0.0312
    sampled = {"task": "direct", "pool": "sampled", "negatives": 99}
    assert figure("P5's baselines", "SimpleX", "HR@10", dataset="yelp-2019", **sampled) == 0.5473
    assert figure("P5", "P5-S, prompt 5-8", "HR@1", dataset="amazon-beauty", **sampled) == 0.0571
    rating = {"protocol": "random-reviews", "task": "rating", "pool": "pairs", "dataset": "amazon-beauty-raw"}
    assert figure("P5", "MF", "RMSE", **rating) == 1.1973
    assert figure("P5", "P5-S, prompt 1-6", "MAE", **rating) == 0.8428


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "ml-100k"},
        {"dataset": "amazon-sports-raw"},
        {"protocol": "temporal"},
        {"protocol": "random-reviews"},
        {"task": "sequential"},
        {"pool": "all", "negatives": None},
        {"negatives": 100},
        {"negatives": None},
    ],
)
def test_another_question_has_other_figures(other):
    question = {"dataset": "amazon-sports", "protocol": "leave-one-out", "task": "direct", "pool": "sampled"}
    assert {table.short for table in published_for(**question, negatives=99)} == {"P5", "P5's baselines"}
    assert published_for(**{**question, "negatives": 99, **other}) == ()


def test_a_table_is_read_as_it_is_written():
    table = read_table(GOOD, "good.yaml")
    assert table.of("beauty") == {"A": {"HR@5": 0.1, "NDCG@5": 0.05, "HR@10": 0.2}, "B": {"HR@5": 0.3, "HR@10": 0.4}}
    assert table.of("elsewhere") == {}
    assert table.caveats_of("beauty") == ("Careful.", "Very.")
    assert table.caveats_of("toys") == ("Careful.",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[0.1, 0.05, 0.2]", "[0.1, 0.05, 1.2]", "beauty, A: HR@10 = 1.2 is out of range"),
        ("[0.1, 0.05, 0.2]", "[-0.1, 0.05, 0.2]", "HR@5 = -0.1 is out of range"),
        ("[0.1, 0.05, 0.2]", "[0.3, 0.05, 0.2]", "HR@5 exceeds HR@10"),
        ("[0.1, 0.05, 0.2]", "[0.1, 0.15, 0.2]", "NDCG@5 exceeds HR@5"),
        ("[0.1, 0.05, 0.2]", "[0.1, 0.05]", "2 figures for 3 metrics"),
        ("[0.1, 0.05, 0.2]", "[null, null, null]", "no figure at all"),
        ("[0.1, 0.05, 0.2]", "[0.1, '.05', 0.2]", "figures.beauty.A.1"),
        ("[0.1, 0.05, 0.2]", "[0.1, .nan, 0.2]", "NDCG@5 = nan is out of range"),
        ("B: []", "C: []", "models and figures differ: B, C"),
        ("{beauty: [Very.]}", "{yelp: [Very.]}", "caveats, and no figures, of yelp"),
        ("task: sequential", "task: rating", "HR@5 does not measure the task 'rating'"),
        ("task: sequential", "task: guessing", "unknown task 'guessing'"),
        ("pool: all", "pool: sampled", "negatives are stated where the pool is sampled"),
        ("pool: all", "pool: all\nnegatives: 99", "negatives are stated where the pool is sampled"),
        ("HR@5, NDCG@5", "hr@5, NDCG@5", "spelt as tables spell them"),
        ("HR@5, NDCG@5", "HIT@5, NDCG@5", "unknown metric 'HIT@5'"),
        ("setup: One run.", "", "setup: Field required"),
        ("setup: One run.", "setup: One run.\nloss: BCE", "loss: Extra inputs are not permitted"),
        ("setup: One run.", "setup: [", "not valid YAML"),
        ("year: 2020", "year: 20200", "year: "),
    ],
)
def test_slips_of_the_pen_are_refused(old, new, said):
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        read_table(GOOD.replace(old, new), "slip.yaml")
    assert str(caught.value).startswith("slip.yaml")


def test_an_error_of_ratings_is_at_least_its_mean():
    text = GOOD[: GOOD.index("metrics:")].replace("sequential", "rating").replace("pool: all", "pool: pairs")
    text += "metrics: [RMSE, MAE]\nmodels: {A: []}\nfigures: {beauty: {A: [%s]}}\n"
    assert read_table(text % "1.2, 0.9", "fine.yaml").of("beauty") == {"A": {"RMSE": 1.2, "MAE": 0.9}}
    with pytest.raises(DataError, match="MAE exceeds RMSE"):
        read_table(text % "0.9, 1.2", "swapped.yaml")
    with pytest.raises(DataError, match=r"RMSE = 4.2 is out of range"):
        read_table(text % "4.2, 1.2", "far.yaml")
