"""A mixture read back as texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import pytest

from bench.models import Ragged, Training
from llm_models.indexing import WordTokenizer, random_ids, train_tokenizer
from llm_models.p5.mixture import Mixture
from llm_models.p5.settings import P5Settings
from llm_models.p5.writer import IGNORED, World, Writer
from llm_models.prompts import load_prompts

#: Prompts by hand; the first letter of each says its family.
RATING = """
    rating | r1 | r1 {user} {item} | {star}
    rating | r2 | r2 {name} {title} | {star}
    rating | r3 | r3 {user} {item} {star} | {yes_no}
    rating | r4 | r4 {name} {item} {title} | {like}
"""

SEQUENTIAL = """
    sequential | s1 | s1 {user} {history} | {item}
    sequential | s2 | s2 {history} {item} | {yes_no}
    sequential | s3 | s3 {history} of {candidates} | {item}
"""

ALL = (
    RATING
    + SEQUENTIAL
    + """
    explanation | e1 | e1 {user} {item} | {explanation}
    review | v1 | v1 {user} {body} | {headline}
    review | v2 | v2 {user} {body} | {star}
    direct | d1 | d1 {user} {item} | {yes_no}
    direct | d2 | d2 {user} of {candidates} | {item}
    direct | d3 | d3 {user} | {item}
"""
)

FAMILY = {"r": "rating", "s": "sequential", "e": "explanation", "v": "review", "d": "direct"}


@pytest.fixture(scope="session")
def tokenizer() -> WordTokenizer:
    pytest.importorskip("sentencepiece")
    return train_tokenizer(["a prompt : 1 , 2 -> 3 ?"] * 9, digits=2, size=320)


class Reader:
    """A mixture over a training set, read back as texts."""

    def __init__(self, training, prompts, *, tokenizer, users=None, items=None, seed=0, **fields) -> None:
        self.tokenizer = tokenizer
        self.users = users or random_ids(training.user, seed=1, digits=2, prefix="user_")
        self.items = items or random_ids(training.item, seed=2, digits=2)
        self.writer = Writer(tokenizer, World.of(training, self.users, self.items))
        self.settings = P5Settings(**{"batch": 8} | fields)
        self.mixture = Mixture(training, self.writer, load_prompts(prompts), self.settings, seed)

    def text(self, ids) -> str:
        return "".join(self.tokenizer.pieces([i for i in ids if i > 1])).replace("▁", " ").strip()

    def prompts(self, number: int) -> list[tuple[str, tuple[str, ...]]]:
        """The first ``number`` prompts with their answers."""
        found = []
        for batch in self.mixture.batches():
            for ids, labels in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
                answers = [[token for token in answer if token != IGNORED] for answer in labels]
                found.append((self.text(ids), tuple(self.text(answer) for answer in answers if answer)))
                if len(found) == number:
                    return found
        raise AssertionError("a mixture does not end")


@pytest.fixture(scope="session")
def read(tokenizer: WordTokenizer) -> Callable[..., Reader]:
    """Make a reader of the mixture over a training set."""
    return partial(Reader, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def lines() -> dict[str, object]:
    """Lines for ``write_prompts``, and the family that the first letter of a prompt stands for."""
    return {"rating": RATING, "sequential": SEQUENTIAL, "all": ALL, "families": FAMILY}


@pytest.fixture(scope="session")
def training_of() -> Callable[..., Training]:
    """Make training data: users 0, 1, ... with these sequences; items 0, 1, ... of a shop without texts."""

    def make(sequences: list[list[int]], items: int) -> Training:
        table = pl.DataFrame(
            {"item": pl.int_range(items, dtype=pl.Int32, eager=True), "item_id": [f"i{n}" for n in range(items)]}
        )
        return Training(np.arange(len(sequences), dtype=np.int32), Ragged.from_lists(sequences), None, None, table)

    return make
