"""Full sequences, held-out events included: handed out where they are asked for, and nowhere else."""

from __future__ import annotations

import dataclasses
import random
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.data import load_dataset
from bench.splits import (
    AnyProtocol,
    Clicks,
    ColdStart,
    CrossDomain,
    LeaveOneOut,
    Protocol,
    RandomReviews,
    Temporal,
    make_split,
)
from bench.splits.exchange.export import export_split
from bench.splits.exchange.published import Published

MOMENTS = {"validation": datetime.fromtimestamp(600, UTC), "test": datetime.fromtimestamp(800, UTC)}
PROTOCOLS: dict[str, Protocol] = {
    "leave-one-out": LeaveOneOut(sampled=4),
    "cold-start": ColdStart(test_users=0.2, test_items=0.25, validation_users=0.2, validation_items=0.15),
    "temporal": Temporal(**MOMENTS),
    "temporal clicks": Temporal(**MOMENTS, clicks=Clicks(negatives=1)),
    "random-reviews": RandomReviews(),
}


@dataclasses.dataclass
class Case:
    """A data set with the rows it was made from, and a protocol that cuts it."""

    rows: list[tuple[str, str, float, int]]
    dataset: Any
    protocol: Protocol


def rows_of(kind: str, seed: int) -> list[tuple[str, str, float, int]]:
    rng = random.Random(seed)
    times = iter(rng.sample(range(1000), 400))
    return [
        (f"u{user}", f"{kind}{item}", float(rng.randrange(1, 6)), next(times))
        for user in range(20)
        for item in rng.sample(range(15), 8)
    ]


@pytest.fixture(params=[*PROTOCOLS, "cross-domain", "published"])
def case(request: Any, make_card: Callable[..., Path], tmp_path: Path) -> Case:
    rows = rows_of("i", 1)
    if request.param == "cross-domain":
        songs = rows_of("s", 2)
        source = make_card(songs, name="songs")
        dataset = load_dataset(make_card(rows, name="films"))
        return Case(rows + songs, dataset, CrossDomain(source=str(source), validation=0.4))
    dataset = load_dataset(make_card(rows))
    if request.param == "published":
        export_split(dataset, LeaveOneOut(), tmp_path / "export")
        return Case(rows, dataset, Published(folder=str(tmp_path / "export")))
    return Case(rows, dataset, PROTOCOLS[request.param])


def test_every_protocol_is_looked_at() -> None:
    union = typing.get_args(AnyProtocol)[0]
    assert {one.name for one in PROTOCOLS.values()} | {"cross-domain", "published"} == {
        kind.model_fields["name"].default for kind in typing.get_args(union)
    }


def test_nothing_is_handed_out_by_itself(case: Case) -> None:
    for refit in (False, True):
        assert make_split(case.dataset, case.protocol, refit=refit).training.leak is None


def test_on_demand_it_is_all_that_a_training_user_did(case: Case, digest_of: Callable[..., str]) -> None:
    plain, leaking = (make_split(case.dataset, case.protocol, leak=leak) for leak in (False, True))
    leak = leaking.training.leak
    assert leak is not None
    assert len(leak) == len(leaking.training.user)
    names = dict(zip(leaking.users["user"], leaking.users["user_id"], strict=True))
    items = dict(zip(leaking.items["item"], leaking.items["item_id"], strict=True))
    for user, row in zip(leaking.training.user.tolist(), leak, strict=True):
        did = sorted((row for row in case.rows if row[0] == names[user]), key=lambda row: row[3])
        assert [items[item] for item in row.tolist()] == [item for _, item, _, _ in did]
    # More than is learned from, and nothing else changes.
    assert len(leak.values) > len(leaking.training.sequences.values)
    assert leaking.identity == plain.identity
    without = dataclasses.replace(leaking.training, leak=None)
    assert digest_of(without, leaking.held_out, leaking.pairs) == digest_of(plain.training, plain.held_out, plain.pairs)
