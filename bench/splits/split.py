"""A split: what is learned from, and which events are held out, with what is visible before each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import digest
from bench.data.ragged import Ragged
from bench.splits.events import Events
from bench.splits.training import Training

__all__ = ["HeldOut", "Split", "exclude_union", "finish"]

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
    """

    dataset: str
    protocol: str
    training: Training
    held_out: tuple[HeldOut, ...]
    users: pl.DataFrame
    items: pl.DataFrame
    notes: tuple[str, ...]
    identity: str


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
    events: Events,
    *,
    dataset: str,
    dataset_identity: str,
    protocol: str,
    protocol_identity: object,
    training: NDArray[np.bool_],
    held_out: list[HeldOut],
    notes: tuple[str, ...],
) -> Split:
    """Assemble a split; sets without a single event are left out."""
    return Split(
        dataset=dataset,
        protocol=protocol,
        training=events.training(training),
        held_out=tuple(part for part in held_out if len(part.user)),
        users=events.users,
        items=events.items,
        notes=notes,
        identity=digest({"dataset": dataset_identity, "protocol": protocol_identity}),
    )
