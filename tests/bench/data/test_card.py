from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from bench.data import card_names, load_card
from bench.data.card import cards_folder
from bench.errors import BenchError, UsageError

ROOT = Path(__file__).resolve().parents[3]
EVENTS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ti\t3\t10\n"


def test_sequence_cards_say_that_the_order_of_ties_is_unknown():
    for name in card_names():
        if load_card(name).order == "sequence":
            assert any("tie order unknown" in note for note in load_card(name).notes)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="unknown dataset 'amazon-beuty': did you mean 'amazon-beauty'"):
        load_card("amazon-beuty")


def test_a_card_of_the_users_own_is_read_from_its_path(tmp_path, card_of):
    path = card_of(tmp_path, "recbole-atomic", {"interactions": EVENTS})
    for spelling in (path, str(path)):
        assert load_card(spelling).title == "Small"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "colour: unknown key"),
        ({"folder": "/tmp"}, "folder: unknown key"),
        ({"licence": None}, "licence: "),
        ({"reader": "csv"}, "reader: "),
        ({"name": "../up"}, "name: "),
        ({"order": "sequence"}, "does not go with order"),
        ({"counts": {"users": 1, "items": 1}}, "counts.interactions: missing"),
        ({"files": {}}, "files.interactions: missing"),
        ({"files": {"interactions": {"path": "x", "sha256": "abc"}}}, "files.interactions.sha256: "),
        ({"files": {"interactions": {"sha256": "0" * 64}}}, "at least one of path, package and url"),
        ({"files": {"interactions": []}}, "at least one file"),
        ({"files": {"interactions": [{"path": "x"}, {"path": "y", "rows": 1}]}}, "files.interactions.1.rows: unknown"),
        ({"filters": [{"filter": "k-core", "users": 0}]}, "filters.k-core.users: "),
        ({"filters": [{"filter": "time-window"}]}, "needs start, stop or both"),
        ({"filters": [{"filter": "best-of"}]}, "filters: "),
        ({"reading": {"bad_rows": "ignore"}}, "reading.bad_rows: "),
        ({"parameter": {"name": "category"}}, "parameter: needs name, default and pattern"),
        ({"files": {"interactions": {"package": "recbole"}}}, "package and inside go together"),
        ({"files": {"interactions": {"path": "x", "optional": True}}}, "files.interactions.optional: "),
        ({"files": {"interactions": {"path": "x", "columns": {"title": "t"}}}}, "files.interactions.columns.title"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path, card_of, change, complaint):
    path = card_of(tmp_path, "recbole-atomic", {"interactions": EVENTS}, **change)
    with pytest.raises(UsageError) as caught:
        load_card(path)
    message = str(caught.value)
    assert complaint in message
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"name: [1, 2", "not YAML"),
        (b"name: !!python/object/apply:os.getcwd []", "not YAML"),
        (b"- a\n- b\n", "a mapping"),
        (b"", "a mapping"),
        (b"name: \xff\xfe", "not UTF-8"),
        (b"name: a\nname: b\n", "'name' stands twice"),
    ],
)
def test_a_broken_card_is_a_usage_error(tmp_path, content, complaint):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_card(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_without_a_card_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no dataset card at"):
        load_card(tmp_path / "none.yaml")


def test_a_wheel_finds_its_cards_inside_the_package(tmp_path):
    packed = tmp_path / "bench" / "_cards"
    packed.mkdir(parents=True)
    assert cards_folder(tmp_path / "bench") == packed
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["sources"]["datasets"] == "bench/_cards"


def test_an_editable_install_finds_its_cards_in_the_repository(tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "x.yaml").touch()
    assert cards_folder(tmp_path / "bench") == tmp_path / "datasets"


def test_another_projects_datasets_package_is_not_taken_for_the_cards(tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    with pytest.raises(BenchError, match="install the package again"):
        cards_folder(tmp_path / "bench")


def test_every_card_survives_a_round_trip_through_yaml(tmp_path):
    for name in card_names():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(load_card(name).model_dump(mode="json")), encoding="utf-8")
        assert load_card(path).model_dump() == load_card(name).model_dump()
