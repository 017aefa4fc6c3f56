"""A split: what is learned from, and which events are held out, with what is visible before each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import digest
from bench.data.ragged import Ragged
from bench.splits.events import Events
from bench.splits.training import Pairs, Training

__all__ = ["Cut", "HeldOut", "HeldOutPairs", "Split", "exclude_union", "finish"]

Part = Literal["valid", "test"]
Unit = Literal["user", "user x item"]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out events of one kind; the fields are explained at ``bench.tasks.RequestSet``.

    Attributes
    ----------
    user, item : ndarray of int32, shape (events,)
    history : Ragged
        Items shown, oldest first.
    exclude : Ragged
        Items masked: everything the user had met, shown or not, sorted.
    candidates : ndarray of int32, shape (candidates,)
        Items ranked, strictly increasing.
    sampled : Ragged or None
        Where only a draw is ranked: per event the answer and its drawn negatives, sorted, all among ``candidates``.
    """

    part: Part
    quadrant: str
    shots: int | None
    pool: str
    unit: Unit
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    history: Ragged
    exclude: Ragged
    candidates: NDArray[np.int32]
    sampled: Ragged | None = None


@dataclass(frozen=True, eq=False)
class HeldOutPairs:
    """Held-out labelled pairs of one kind.

    Attributes
    ----------
    part, quadrant, unit
        As in ``HeldOut``.
    pairs : Pairs
    """

    part: Part
    quadrant: str
    unit: Unit
    pairs: Pairs


@dataclass(frozen=True, eq=False)
class Cut:
    """What a protocol makes of a dataset's events.

    Attributes
    ----------
    events : Events
    training : ndarray of bool, shape (events,)
        What is learned from.
    validation : ndarray of bool, shape (events,)
        What is held out for validation alone: a model may be refitted on it once it is chosen.
    held_out : list of HeldOut
    pairs : list of HeldOutPairs
    training_pairs : Pairs or None
        Labelled pairs to learn from, where they are not simply the rated training events.
    notes : tuple of str
        What a reader of a table made from it must know.
    also_read : tuple of str
        Identities of other data sets that the protocol read.
    """

    events: Events
    training: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    held_out: list[HeldOut]
    pairs: list[HeldOutPairs] = field(default_factory=list)
    training_pairs: Pairs | None = None
    notes: tuple[str, ...] = ()
    also_read: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Split:
    """A dataset cut once, for every task and every model.

    Attributes
    ----------
    dataset : str
    protocol : str
        Its name and parameters, readable.
    training : Training
    held_out : tuple of HeldOut
    users, items : polars.DataFrame
        All users and items with their codes, ids and text.
    notes : tuple of str
        What a reader of a table made from it must know.
    identity : str
        Hash of the canonical data and the protocol; the order of the source rows cannot change it.
    pairs : tuple of HeldOutPairs
        Held-out labelled pairs (ratings, clicks).
    """

    dataset: str
    protocol: str
    training: Training
    held_out: tuple[HeldOut, ...]
    users: pl.DataFrame
    items: pl.DataFrame
    notes: tuple[str, ...]
    identity: str
    pairs: tuple[HeldOutPairs, ...] = ()


def exclude_union(*parts: Ragged) -> Ragged:
    """Row-wise union of ragged arrays: distinct, sorted."""
    rows = np.concatenate([part.row_of for part in parts])
    values = np.concatenate([part.values for part in parts]).astype(np.int64)
    width = int(values.max()) + 1 if len(values) else 1
    # Sorted by hand: np.unique without counts hashes, which was 30 times slower on millions of keys.
    keys = np.sort(rows * width + values)
    keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
    return Ragged.from_lengths(np.bincount(keys // width, minlength=len(parts[0])), (keys % width).astype(np.int32))


def finish(
    cut: Cut,
    *,
    dataset: str,
    protocol: str,
    identity: object,
    notes: tuple[str, ...],
    refit: bool = False,
    leak: bool = False,
) -> Split:
    """Assemble a split; sets without a single event are left out.

    Parameters
    ----------
    identity : object
        What is hashed, JSON-serialisable.
    refit : bool
        Whether the validation events are learned from too.
    leak : bool
        Whether training carries the full sequences of its users, held-out events included.
    """
    pairs = [cut.training_pairs] if cut.training_pairs is not None else []
    if refit and pairs:
        pairs += [held.pairs for held in cut.pairs if held.part == "valid"]
    training = cut.events.training(cut.training | cut.validation if refit else cut.training)
    if pairs:
        labelled = Pairs.concatenate(pairs)
        # Items that only a pair holds are learned from too.
        known = np.union1d(training.item, labelled.item)
        training = replace(training, pairs=labelled, items=cut.events.items[known])
    if leak:
        training = replace(training, leak=cut.events.everything(training.user))
    return Split(
        dataset=dataset,
        protocol=protocol,
        training=training,
        held_out=tuple(held for held in cut.held_out if len(held.user)),
        users=cut.events.users,
        items=cut.events.items,
        notes=(*notes, *cut.notes),
        identity=digest(identity),
        pairs=tuple(held for held in cut.pairs if len(held.pairs)),
    )
