"""Protocols by name: from a dataset to a split."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.data import Dataset
from bench.errors import DataError
from bench.splits.cold_start import ColdStart
from bench.splits.cross_domain import CrossDomain
from bench.splits.exchange.published import Published
from bench.splits.leave_one_out import LeaveOneOut
from bench.splits.protocol import Protocol
from bench.splits.random_reviews import RandomReviews
from bench.splits.split import Split, finish
from bench.splits.temporal import Temporal

__all__ = ["AnyProtocol", "make_split"]

AnyProtocol = Annotated[
    LeaveOneOut | ColdStart | Temporal | RandomReviews | CrossDomain | Published, Field(discriminator="name")
]


def make_split(
    dataset: Dataset, protocol: Protocol, *, seed: int = 0, refit: bool = False, leak: bool = False
) -> Split:
    """Cut ``dataset`` as ``protocol`` says.

    Parameters
    ----------
    seed : int
        Decides ties in time and every draw (cold users and items, negatives, parts); apart from model seeds.
    refit : bool
        Learn from the validation events too; the held-out sets stay the same.
    leak : bool
        Hand the held-out events to the models as well (``Training.leak``). The sets and the identity stay the same.

    Raises
    ------
    DataError
        When nothing could be held out, or the data lacks what the protocol needs.
    """
    cut = protocol.cut(dataset, seed)
    described = f"{protocol.describe()}, split seed {seed}"
    cutting = {**protocol.identity(), "seed": seed} | ({"refit": True} if refit else {})
    others = {"also_read": list(cut.also_read)} if cut.also_read else {}
    split = finish(
        cut,
        dataset=dataset.name,
        protocol=described,
        identity={"dataset": dataset.identity, "protocol": cutting, **others},
        notes=(*dataset.notes, *dataset.warnings),
        refit=refit,
        leak=leak,
    )
    if "test" not in {held.part for held in split.held_out} | {held.part for held in split.pairs}:
        raise DataError(
            f"{dataset.name}: no user has enough interactions for {described}; at least three are needed for one user"
        )
    return split
