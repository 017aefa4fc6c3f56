from __future__ import annotations

from pathlib import Path

import pytest

from bench.data import card_names
from bench.errors import UsageError
from bench.runs.run import folder_name
from bench.runs.suite import Suite, load_suite, suite_names


@pytest.fixture
def quick() -> Suite:
    return load_suite("quick")


def test_shipped_suites_name_models_and_settings_that_exist() -> None:
    assert {"quick", "coldstart"} <= set(suite_names())
    for name in suite_names():
        for entry in load_suite(name).models:
            entry.parsed_settings()


def test_unknown_suite_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'coldstart'"):
        load_suite("cold-start")


def test_narrowing(quick: Suite) -> None:
    narrow = quick.narrowed(models=["ease", "popularity"], seeds=[3, 4], dataset="amazon-beauty")
    assert [entry.name for entry in narrow.models] == ["ease", "popularity"]
    assert narrow.seeds == (3, 4)
    assert narrow.dataset == "amazon-beauty"
    with pytest.raises(UsageError, match="did you mean 'popularity'"):
        quick.narrowed(models=["popularty"])
    assert "means" not in {entry.name for entry in quick.models}
    added = quick.narrowed(models=["means"], changes={"means.of": "users", "means.budget.max_steps": 2}).models[0]
    assert (added.settings, added.budget.max_steps) == ({"of": "users"}, 2)


def test_a_suite_may_change_with_the_data_set(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{name: mine, description: x, dataset: ml-100k, protocol: {name: leave-one-out}, tasks: [direct],"
        " metrics: [HR@10], primary: HR@10, models: [{model: bpr, settings: {embedding_size: 8, learning_rate: 0.1},"
        " budget: {max_epochs: 9, patience: 1}}, ease], per_dataset: {amazon-beauty:"
        " {bpr.settings: {embedding_size: 4}, bpr.budget: {max_epochs: 3},"
        " validation_requests: 7}, amazon-toys: {bpr.budget.patiense: 1}}}"
    )
    suite = load_suite(str(path))
    beauty = suite.narrowed(dataset="amazon-beauty", models=["ease", "bpr"])
    bpr = next(entry for entry in beauty.models if entry.name == "bpr")
    assert bpr.settings == {"embedding_size": 4}
    assert (bpr.budget.max_epochs, bpr.budget.patience) == (3, 5)
    assert beauty.validation_requests == 7
    cold = suite.narrowed(changes={"protocol": {"name": "cold-start", "negatives": 2}})
    assert (cold.protocol.name, cold.protocol.negatives) == ("cold-start", 2)
    assert suite.narrowed(dataset="amazon-sports").models == suite.models
    assert "per_dataset" not in beauty.model_dump()
    assert beauty.narrowed(dataset="amazon-beauty") == beauty
    with pytest.raises(UsageError, match="did you mean 'patience'"):
        suite.narrowed(dataset="amazon-toys")
    path.write_text(path.read_text().replace("amazon-toys", "amazon-tois"))
    with pytest.raises(UsageError, match="per_dataset: there is no data set 'amazon-tois'"):
        load_suite(str(path))


@pytest.mark.parametrize("name", suite_names())
def test_what_shipped_suites_change_with_the_data_set_can_be_set(name: str) -> None:
    suite = load_suite(name)
    for dataset in suite.per_dataset:
        assert dataset in card_names()
        for entry in suite.narrowed(dataset=dataset).models:
            entry.parsed_settings()


def test_no_models_and_senseless_seeds_are_refused(quick: Suite) -> None:
    with pytest.raises(UsageError, match="models"):
        quick.narrowed(models=[])
    with pytest.raises(UsageError, match="seeds"):
        quick.narrowed(seeds=[-1])


def test_changing_settings(quick: Suite) -> None:
    changed = quick.narrowed(changes={"bpr.embedding_size": 16, "bpr.budget.patience": 2, "split_seed": 5})
    entry = next(entry for entry in changed.models if entry.name == "bpr")
    assert entry.parsed_settings().model_dump()["embedding_size"] == 16
    assert entry.budget.patience == 2
    assert changed.split_seed == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split_sed": 5}, "did you mean 'split_seed'"),
        ({"bpr.budget.pateince": 5}, "did you mean 'patience'"),
        ({"protocol.test_user": 0.1}, "unknown key of protocol"),
        ({"seeds": [1]}, "unknown key to set"),
        ({"primary": "NDGC@10"}, "unknown metric"),
        ({"primary": "USR"}, "'USR' has no interval"),
        ({"bpr.budget.patience": "many"}, "patience"),
        ({"tasks": ["sequence"]}, "unknown task"),
        ({"tasks": []}, "tasks: .*name at least one of sequential"),
        ({"split_seed": -1}, "split_seed"),
        ({"validation_requests": 0}, "validation_requests"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(quick: Suite, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quick.narrowed(changes=changes)


@pytest.mark.parametrize(("key", "message"), [("bpr.embedding_sise", "did you mean 'embedding_size'")])
def test_an_unknown_setting_is_refused_before_anything_runs(quick: Suite, key: str, message: str) -> None:
    entry = next(entry for entry in quick.narrowed(changes={key: 3}).models if entry.name == "bpr")
    with pytest.raises(UsageError, match=message):
        entry.parsed_settings()


def test_a_suite_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{name: mine, description: x, dataset: ml-100k, protocol: {name: leave-one-out}, tasks: [direct],"
        " metrics: [HR@5], primary: HR@5, models: [popularity, {name: again, model: popularity}]}"
    )
    assert [entry.model for entry in load_suite(str(path)).models] == ["popularity", "popularity"]
    path.write_text("{name: mine, nonsense: 1}")
    with pytest.raises(UsageError, match="suite"):
        load_suite(str(path))
    path.write_text("{name: [")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_suite(str(path))
    with pytest.raises(UsageError, match="does not exist"):
        load_suite(str(tmp_path / "other.yaml"))


def test_a_changed_suite_never_writes_over_the_tables_of_the_shipped_one(quick: Suite) -> None:
    names = [
        folder_name(quick),
        folder_name(quick.narrowed(dataset="amazon-beauty")),
        folder_name(quick.narrowed(models=["ease"])),
        folder_name(quick.narrowed(seeds=[1])),
    ]
    assert names[:2] == ["quick", "quick-amazon-beauty"]
    mine = [quick.narrowed(dataset=path) for path in ("/a/mine.yaml", "/b/mine.yaml")]
    own = [quick.model_copy(update={"name": "own"}), quick.model_copy(update={"name": "own", "seeds": (1,)})]
    names += [folder_name(suite) for suite in (*mine, *own)] + [folder_name(quick, "cuda")]
    assert len(set(names)) == len(names)
