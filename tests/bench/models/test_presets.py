"""Settings files: what is shipped is sound, and what is wrong is told by file and key."""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.errors import UsageError
from bench.models import model_class, model_names
from bench.models.presets import Dimension, load_preset


@pytest.mark.parametrize("name", model_names())
def test_shipped_files_are_sound(name: str) -> None:
    preset = load_preset(name)
    schema = model_class(name).Settings
    assert not preset.search or preset.source
    # Every single value was checked when it was read; here all lows and all highs go together.
    for end in ("low", "high"):
        model = {key: getattr(one, end) for key, one in preset.search.items() if one.choices is None}
        schema.model_validate(model)


@pytest.mark.parametrize("package", ["baselines", "llm_models"])
def test_every_shipped_file_belongs_to_a_model(package: str) -> None:
    own = {one.name for one in entry_points(group="bench.models") if one.value.startswith(package)}
    named = {path.name.removesuffix(".yaml") for path in files(package).joinpath("settings").iterdir()}
    assert named
    assert named <= own


def test_the_models_of_the_shipped_suites_can_be_tuned() -> None:
    for name in ("content-knn", "itemknn", "ease", "bpr", "sasrec", "p5", "m6", "means"):
        assert load_preset(name).search, name
    for name in ("popularity", "category-popularity", "chance"):
        assert load_preset(name).file
        assert not load_preset(name).search


def test_conditions_look_at_the_settings() -> None:
    preset, schema = load_preset("m6"), model_class("m6").Settings
    zero_shot = preset.applicable(schema.model_validate({"heads": "none"}))
    trained = preset.applicable(schema.model_validate({"heads": "contrastive"}))
    assert "temperature" not in zero_shot
    assert zero_shot
    assert "temperature" in trained
    assert "half_life" not in preset.applicable(schema.model_validate({"user_text": "joined"}))
    assert "temperature" not in preset.applicable(schema(), fixed=["temperature"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not valid YAML"),
        ("search: {}", "source"),
        ("source: x\nsearch: {}\nmore: 1", "more"),
        ("source: x\nsearch: {learning_rat: {low: 1, high: 2}}", "did you mean 'learning_rate'"),
        ("source: x\nsearch: {layers: {low: 1, high: 2, when: {laiers: 3}}}", "did you mean 'layers'"),
        ("source: x\nsearch: {layers: {low: 3, high: 1}}", r"search\.layers: low must be below high"),
        ("source: x\nsearch: {layers: {low: 0, high: 3}}", r"search\.layers: layers: .*greater than 0"),
        ("source: x\nsearch: {layers: {low: 1.5, high: 3}}", r"search\.layers: takes whole numbers only"),
        ("source: x\nsearch: {dropout: {low: 0.0, high: 1.0}}", r"search\.dropout: dropout: .*less than 1"),
        ("source: x\nsearch: {dropout: {low: 0.0, high: 0.5, step: 0.2}}", r"step 0\.2 does not divide"),
        ("source: x\nsearch: {dropout: {low: 0.0, high: 0.5, step: 0}}", "does not divide"),
        ("source: x\nsearch: {dropout: {low: 0.0, high: 0.5, log: true}}", "starts above 0"),
        ("source: x\nsearch: {dropout: {low: 0.1}}", "needs low and high, or choices"),
        ("source: x\nsearch: {dropout: 0.1}", r"search\.dropout"),
        ("source: x\nsearch: {dropout: {choices: [0.1]}}", "two or more distinct"),
        ("source: x\nsearch: {dropout: {choices: [0.1, 0.2], low: 0}}", "has no low"),
        ("source: x\nsearch: {dropout: {choices: [0.1, 2]}}", r"search\.dropout: dropout: .*less than 1"),
        ("source: x\nsearch: {softmax_dtype: {low: 1, high: 2}}", "takes choices and no range"),
        ("source: x\nsearch: {softmax_dtype: {choices: [float32, float33]}}", "softmax_dtype"),
        (
            "source: x\nsearch:\n  dropout: {low: 0.1, high: 0.2, when: {layers: 2}}\n  layers: {low: 1, high: 3}",
            "layers, which it depends on, must stand above it",
        ),
    ],
)
def test_what_is_wrong_is_told_by_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        load_preset("sasrec", path)
    assert str(path) in str(error.value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "source: me\nsearch: {learning_rate: {low: 1e-4, high: 1e-2, log: true}, layers: {choices: ['2', 3]}}"
    )
    search = load_preset("sasrec", path).search
    assert search["learning_rate"].ends == (1e-4, 1e-2)  # YAML reads 1e-4 as text
    assert search["layers"].choices == (2, 3)
    with pytest.raises(UsageError, match="does not exist"):
        load_preset("sasrec", tmp_path / "other.yaml")


@given(
    low=st.integers(-50, 50), steps=st.integers(1, 40), step=st.sampled_from([0.05, 0.1, 0.25, 1, 3]), at=st.integers()
)
def test_a_range_with_steps_holds_its_grid_and_nothing_else(low: int, steps: int, step: float, at: int) -> None:
    dimension = Dimension(low=low, high=low + steps * step, step=step)
    assert dimension.size == steps + 1
    on = low + (at % (steps + 1)) * step
    assert dimension.holds(min(on, low + steps * step))
    assert not dimension.holds(on + step / 2)
    assert not dimension.holds(low + (steps + 1) * step)


def test_values() -> None:
    assert Dimension(low=1, high=3, whole=True).size == 3
    assert math.isinf(Dimension(low=1, high=3).size)
    choices = Dimension(choices=(0, 1, None, "a"))
    assert choices.size == 4
    assert [choices.holds(value) for value in (0, 1.0, None, "a", False, True, "b")] == [True] * 4 + [False] * 3
    assert not Dimension(low=0, high=1).holds(None)
    assert not Dimension(low=0, high=1).holds(True)
    with pytest.raises(TypeError):
        choices.ends  # noqa: B018
    with pytest.raises(ValidationError):
        Dimension(low=math.nan, high=1)
