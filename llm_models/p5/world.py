"""What prompts are filled from: the words, names and texts of users and items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from bench.models import Training
from llm_models.indexing import IdIndex
from llm_models.p5.artefacts import stars_of
from llm_models.prompts import ALWAYS

__all__ = ["ITEM_TEXTS", "World", "available_fields"]

#: Texts that an item may lack.
ITEM_TEXTS = ("title", "brand", "price")

Texts = tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class World:
    """Users and items as prompts speak of them; a position is one of the index.

    Attributes
    ----------
    users, items : IdIndex
        The words of the ids.
    name : tuple of (str or None), one a user
        The reviewer's name, where the data has it.
    title, brand, price : tuple of (str or None), one an item
        A price is written with two decimals.
    """

    users: IdIndex
    items: IdIndex
    name: Texts
    title: Texts
    brand: Texts
    price: Texts

    @classmethod
    def of(cls, training: Training, users: IdIndex, items: IdIndex) -> World:
        """Know what the training data says; an item or user of the index that is not in it has no text."""
        texts = {field: _spread(items, training.items, _item_text(field)) for field in ITEM_TEXTS}
        return cls(users, items, _names(training, users), **texts)

    def extended(self, items: IdIndex, text: pl.DataFrame) -> World:
        """Take in items met later.

        Parameters
        ----------
        items : IdIndex
            Holds the items of this world, and others.
        text : polars.DataFrame
            Of the others (columns as in ``Catalogue.text``); what is known of an item stays as it is.
        """
        place = self.items.rows(items.code).tolist()
        texts = {}
        for field in ITEM_TEXTS:
            mine, met = getattr(self, field), _spread(items, text, _item_text(field))
            texts[field] = tuple(mine[at] if at >= 0 else later for at, later in zip(place, met, strict=True))
        return World(self.users, items, self.name, **texts)

    def save(self, folder: Path) -> None:
        """Write names and texts as Parquet; the indexes are written by themselves."""
        texts = {field: pl.Series(getattr(self, field), dtype=pl.String) for field in ITEM_TEXTS}
        pl.DataFrame(texts).write_parquet(folder / "item-texts.parquet")
        pl.DataFrame({"name": pl.Series(self.name, dtype=pl.String)}).write_parquet(folder / "user-names.parquet")

    @classmethod
    def load(cls, folder: Path, users: IdIndex, items: IdIndex) -> World:
        """Read what :meth:`save` wrote, with the indexes of that time."""
        texts = pl.read_parquet(folder / "item-texts.parquet")
        names = pl.read_parquet(folder / "user-names.parquet")["name"]
        return cls(users, items, tuple(names), **{field: tuple(texts[field]) for field in ITEM_TEXTS})


def available_fields(world: World, training: Training) -> frozenset[str]:
    """Fields of prompts (inputs and targets) that the training data can fill for some user or item."""
    found = {field for field in ITEM_TEXTS if any(text is not None for text in getattr(world, field))}
    pairs = training.pairs
    if stars_of(training):
        found |= {"star", "like"}
    reviews = pairs.reviews if pairs is not None and pairs.reviews is not None else training.reviews
    if reviews is not None:
        if "text" in reviews.columns:
            found |= {"body", "feature", "explanation"}
        if "headline" in reviews.columns:
            found.add("headline")
    return ALWAYS | found


def tidy(text: str | None) -> str | None:
    """One line, single spaces; nothing where nothing is left."""
    return " ".join(text.split()) or None if text else None


def _item_text(field: str) -> Callable[[pl.DataFrame], Sequence[str | None]]:
    def read(frame: pl.DataFrame) -> Sequence[str | None]:
        if field not in frame.columns:
            return [None] * len(frame)
        if field == "price":
            return [None if price is None else f"{price:.2f}" for price in frame[field]]
        return [tidy(text) for text in frame[field]]

    return read


def _spread(index: IdIndex, frame: pl.DataFrame, read: Callable[[pl.DataFrame], Sequence[str | None]]) -> Texts:
    """Put the texts of the items in ``frame`` at their positions in the index."""
    texts: list[str | None] = [None] * len(index.code)
    for at, text in zip(index.rows(frame["item"].to_numpy()).tolist(), read(frame), strict=True):
        if at >= 0:
            texts[at] = text
    return tuple(texts)


def _names(training: Training, users: IdIndex) -> Texts:
    """The name under which each user wrote their last training review that has one."""
    names: list[str | None] = [None] * len(users.code)
    pairs = training.pairs
    if pairs is not None and pairs.reviews is not None:
        reviews, codes = pairs.reviews, pairs.user
    else:
        reviews, codes = training.reviews, training.user[training.sequences.row_of]
    if reviews is None or "reviewer" not in reviews.columns:
        return tuple(names)
    shown = replace(reviews, columns=("reviewer",)).frame()["reviewer"]
    for at, name in zip(users.rows(codes).tolist(), map(tidy, shown), strict=True):
        if at >= 0 and name is not None:
            names[at] = name
    return tuple(names)
