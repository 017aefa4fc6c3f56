from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.errors import MissingInputError, UsageError
from bench.models import Budget, FitReport, Ragged, Requests, Training
from bench.models.testing import small_world
from bench.tasks.requests import Catalogue
from llm_models.p5.model import P5
from llm_models.prompts import load_prompts

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

DATA = Path(os.environ.get("BENCH_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))
TINY = {"d_model": 16, "d_ff": 32, "d_kv": 8, "heads": 2, "layers": 1, "batch": 8, "max_history": 6}


def silent(done: int, total: int, note: str = "") -> None:
    pass


def fit(
    training: Training, *, steps: int = 3, validate=lambda model: 0.0, seed: int = 0, **settings
) -> tuple[P5, FitReport]:
    model = P5(P5.Settings(**TINY | settings))
    budget = Budget(max_steps=steps, eval_every_steps=max(1, steps // 4), patience=0)
    return model, model.fit(training, validate=validate, budget=budget, seed=seed, progress=silent)


def test_module_imports_without_torch() -> None:
    code = (
        "import sys; from llm_models.p5.model import P5; P5.label(P5.Settings()); P5.identity(P5.Settings());"
        "print([m for m in ('torch', 'transformers', 'sentencepiece') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identity_holds_the_prompts_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert P5.identity(P5.Settings()) == {"prompts": load_prompts("amazon").digest}
    assert P5.identity(P5.Settings(extra=False)) == {"prompts": load_prompts("amazon").without_extra().digest}
    tokenizer = {"tokenizer": _tokenizer(tmp_path)}
    assert set(P5.identity(P5.Settings(**tokenizer))) == {"prompts", "tokenizer"}
    with pytest.raises(MissingInputError, match=r"T5 checkpoint 't5-small'.*hf download t5-small"):
        P5.identity(P5.Settings(pretrained="t5-small", **tokenizer))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match=r"has no config\.json"):
        P5.identity(P5.Settings(pretrained=str(tmp_path / "empty"), **tokenizer))


def test_identity_holds_the_network_that_reads_texts() -> None:
    reads = P5.Settings(index="semantic", embedder="minilm")
    try:
        assert set(P5.identity(reads)) == {"prompts", "embedder"}
    except MissingInputError as error:
        pytest.skip(str(error))
    assert set(P5.identity(P5.Settings(index="semantic"))) == {"prompts"}


def _tokenizer(folder: Path) -> str:
    """Write a tokenizer of about T5's kind: numbers split as they come."""
    from llm_models.indexing import train_tokenizer

    path = folder / "spiece.model"
    path.write_bytes(train_tokenizer(["one two three four five"] * 9, digits=2, size=320).model)
    return str(path)


def test_ids_see_training_items_only() -> None:
    """Nothing outside the training set moves an id: the indexes follow the sets of codes and the seed."""
    training = small_world().training()
    order = np.random.default_rng(0).permutation(len(training.user))
    lists = [row[::-1] for row in training.sequences]
    moved = dataclasses.replace(training, sequences=Ragged.from_lists([lists[row] for row in order]))
    one, other, seeded = fit(training, steps=1), fit(moved, steps=1), fit(training, steps=1, seed=1)
    for name in ("item_index", "user_index"):
        assert one[1].notes[name] == other[1].notes[name]
        assert one[1].notes[name]["digest"] != seeded[1].notes[name]["digest"]


def test_answers_stay_in_the_catalogue_and_end_when_it_does() -> None:
    world = small_world()
    model, _ = fit(world.training(), families=["sequential"])
    requests = world.requests()
    few = world.training().item[:7]
    narrow = dataclasses.replace(
        requests, catalogue=Catalogue(few, world.items.filter(pl.col("item").is_in(few.tolist())))
    )
    exclude = Ragged.from_lists([few[: row % 8] for row in range(len(requests))])
    lists = model.rank(narrow, 5, exclude=exclude)
    for items, barred in zip(lists.items, exclude, strict=True):
        assert set(items.tolist()) <= set(few.tolist()) - set(barred.tolist())
        assert len(set(items.tolist())) == len(items) == min(5, 7 - len(barred))


def test_best_weights_are_kept_and_the_curve_is_told() -> None:
    values = iter([0.1, 0.4, 0.2, 0.3])
    answers = []

    def validate(model) -> float:
        requests = small_world().requests()
        answers.append(model.rank(requests, 3, exclude=Ragged.empty(len(requests))))
        return next(values)

    model = P5(P5.Settings(**TINY, learning_rate=0.01))
    report = model.fit(
        small_world().training(),
        validate=validate,
        budget=Budget(max_steps=40, eval_every_steps=3, patience=2),
        seed=0,
        progress=silent,
    )
    assert (report.best_step, report.stopped, report.converged, report.steps) == (6, "early stopping", True, 12)
    assert [row["validation"] for row in report.curve] == [0.1, 0.4, 0.2, 0.3]
    assert report.parameters_trained == report.parameters_total > 0
    requests = small_world().requests()
    kept = model.rank(requests, 3, exclude=Ragged.empty(len(requests)))
    np.testing.assert_allclose(kept.scores, answers[1].scores, atol=1e-6)
    assert np.abs(kept.scores - answers[3].scores).max() > 1e-3


def test_without_stars_texts_are_asked_for_and_stars_are_not_told(tmp_path: Path) -> None:
    pytest.importorskip("yake")
    pytest.importorskip("vaderSentiment")
    world = small_world()
    model, report = fit(dataclasses.replace(world.training(), rating=None), longest_text=6)
    model.save(tmp_path)
    known = report.notes["prompts"]
    prompts = {template.id: template for template in load_prompts("amazon").templates}
    assert not any("star" in prompts[name].fields | prompts[name].target_fields for name in known)
    assert {note["task"] for note in known.values()} == {
        "sequential", "direct", "explanation", "feature-explanation", "headline",
    }  # fmt: skip
    for asked in (model, P5.load(tmp_path, model.settings)):
        assert asked.write(world.requests("explanation")).null_count() == 0
        assert asked.write(world.requests("rated-explanation")).null_count() == len(world.users)
        assert np.isnan(asked.rate(world.requests("rating"))).all()


def test_bfloat16_is_close() -> None:
    world = small_world()
    lists = [
        fit(world.training(), families=["sequential"], decode="exhaustive", dtype=dtype)[0].rank(
            world.requests(), 30, exclude=Ragged.empty(len(world.users))
        )
        for dtype in ("float32", "bfloat16")
    ]
    assert all(found.scores.dtype == np.float32 for found in lists)
    assert np.abs(lists[0].scores - lists[1].scores).max() > 0
    np.testing.assert_allclose(lists[0].scores, lists[1].scores, atol=0.3)


def test_a_checkpoint_is_taken_up(tmp_path: Path) -> None:
    """A folder as `save_pretrained` writes it, with a tokenizer of more pieces than the checkpoint has rows."""
    from transformers import T5Config, T5ForConditionalGeneration

    _tokenizer(tmp_path)
    config = T5Config(vocab_size=240, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1, decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    world = small_world()
    model, report = fit(world.training(), pretrained=str(tmp_path))
    assert set(P5.identity(model.settings)) == {"prompts", "tokenizer", "checkpoint"}
    assert model._engine.network.t5.config.vocab_size == 320
    assert report.notes["tokenizer"] == P5.identity(model.settings)["tokenizer"]
    saved = tmp_path / "saved"
    saved.mkdir()
    model.save(saved)
    exclude = Ragged.empty(len(world.users))
    before = model.rank(world.requests(), 5, exclude=exclude)
    after = P5.load(saved, model.settings).rank(world.requests(), 5, exclude=exclude)
    np.testing.assert_array_equal(before.items.values, after.items.values)


def test_a_stored_p5_is_taken_up_with_the_ids_it_knows(tmp_path: Path) -> None:
    world = small_world()
    model, _ = fit(world.training())
    model.save(tmp_path)
    again, _ = fit(world.training(), steps=0, checkpoint=str(tmp_path))
    exclude = Ragged.empty(len(world.users))
    before, after = (one.rank(world.requests(), 5, exclude=exclude) for one in (model, again))
    np.testing.assert_array_equal(before.items.values, after.items.values)
    with pytest.raises(UsageError, match=r"knows items by other ids .* use its data, split, seed"):
        fit(world.training(), steps=0, seed=1, checkpoint=str(tmp_path))


def test_t5s_own_tokenizer() -> None:
    folder = DATA / "t5-tokenizer"
    if not folder.is_dir():
        pytest.skip("needs T5's tokenizer in BENCH_DATA_DIR/t5-tokenizer")
    world = small_world()
    model, report = fit(world.training(), steps=1, tokenizer=str(folder))
    assert P5.identity(model.settings)["tokenizer"] == report.notes["tokenizer"]
    lists = model.rank(world.requests(), 5, exclude=Ragged.empty(len(world.users)))
    assert (lists.items.lengths == 5).all()
    assert np.isin(lists.items.values, world.training().item).all()


def test_the_table_covers_the_tokenizer() -> None:
    from llm_models.p5.artefacts import make_network

    settings = P5.Settings(**TINY)
    assert make_network(settings, range(100)).t5.config.vocab_size == settings.vocabulary
    assert make_network(settings, range(4000)).t5.config.vocab_size == 4000


@pytest.mark.parametrize(
    ("users", "steps", "loss"), [(6, 400, 0.2), pytest.param(30, 1200, 0.06, marks=pytest.mark.slow)]
)
def test_it_learns_real_training_rows_by_heart(write_prompts, users: int, steps: int, loss: float) -> None:
    """On a handful of real MovieLens users the loss goes near 0 and every next item is answered first."""
    prompts = write_prompts("sequential | next | {user} watched {history} . what next ? | {item}")
    sequences = _movielens(users=users, length=8)
    codes = np.unique(sequences.values)
    items = pl.DataFrame({"item": codes, "item_id": [str(code) for code in codes]})
    training = Training(np.arange(len(sequences), dtype=np.int32), sequences, None, None, items)
    size = {"d_model": 32, "d_ff": 64, "d_kv": 16, "dropout": 0.0, "batch": 32, "learning_rate": 0.01}
    model, report = fit(training, steps=steps, targets=1, prompts=str(prompts), **size)
    assert report.curve[-1]["loss"] < loss
    rows = [(user, cut) for user in range(len(sequences)) for cut in range(1, 8)]
    history = Ragged.from_lists([sequences[user][:cut] for user, cut in rows])
    target = np.array([sequences[user][cut] for user, cut in rows])
    requests = Requests(
        "sequential", np.array([user for user, _ in rows], np.int32), history, Catalogue(codes, items), items
    )
    lists = model.rank(requests, 1, exclude=history)
    assert (lists.items.values == target).mean() > 0.95


def _movielens(*, users: int, length: int) -> Ragged:
    """First items in time of the first users of MovieLens-100K as RecBole ships it."""
    from importlib.util import find_spec

    spec = find_spec("recbole")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("needs MovieLens-100K, which comes with the package recbole")
    path = Path(spec.submodule_search_locations[0]) / "dataset_example" / "ml-100k" / "ml-100k.inter"
    table = pl.read_csv(path, separator="\t", new_columns=["user", "item", "rating", "time"])
    table = table.filter(pl.col("user") <= users).sort("user", "time", "item")
    return Ragged.from_lists(
        [rows["item"].to_numpy()[:length] for rows in table.partition_by("user", maintain_order=True)]
    )


def test_saved_index_is_a_decode_table(tmp_path: Path) -> None:
    world = small_world()
    model, _ = fit(world.training(), steps=1)
    model.save(tmp_path)
    table = json.loads((tmp_path / "items.json").read_text())["codes"]
    assert sorted(table.values()) == world.training().item.tolist()
    assert all(word.isdigit() for word in table)
