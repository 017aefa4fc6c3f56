"""Protocols by name: from a dataset to a split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.data import Dataset
from bench.errors import DataError
from bench.splits.cold_start import ColdStart, cold_start
from bench.splits.events import order_events
from bench.splits.leave_one_out import leave_one_out
from bench.splits.split import Split, finish

__all__ = ["LeaveOneOut", "Protocol", "make_split"]

VERSIONS = {"leave-one-out": "1", "cold-start": "2"}
"""Raised whenever the same data would be split otherwise."""


class LeaveOneOut(BaseModel):
    """Leave-one-out, ranking the whole catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["leave-one-out"] = "leave-one-out"


Protocol = Annotated[LeaveOneOut | ColdStart, Field(discriminator="name")]


def make_split(dataset: Dataset, protocol: LeaveOneOut | ColdStart, *, seed: int = 0) -> Split:
    """Cut ``dataset`` as ``protocol`` says.

    Parameters
    ----------
    seed : int
        Decides ties in time and which users and items are cold; apart from model seeds.

    Raises
    ------
    DataError
        When nothing could be held out.
    """
    events = order_events(dataset, seed)
    if isinstance(protocol, LeaveOneOut):
        training, held_out = leave_one_out(events)
        described = f"leave-one-out, split seed {seed}"
    else:
        training, held_out = cold_start(events, protocol, seed)
        described = (
            f"cold start: {protocol.test_users:.0%} of users and {protocol.test_items:.0%} of items cold for the test, "
            f"{protocol.validation_users:.0%} and {protocol.validation_items:.0%} for validation, split seed {seed}"
        )
    split = finish(
        events,
        dataset=dataset.name,
        dataset_identity=dataset.identity,
        protocol=described,
        protocol_identity={**protocol.model_dump(), "seed": seed, "version": VERSIONS[protocol.name]},
        training=training,
        held_out=held_out,
        notes=(*dataset.notes, *dataset.warnings),
    )
    if not any(part.part == "test" for part in split.held_out):
        raise DataError(
            f"{dataset.name}: no user has enough interactions for {described}; at least three are needed for one user"
        )
    return split
