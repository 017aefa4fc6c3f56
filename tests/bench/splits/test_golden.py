"""Every protocol's split of MovieLens 100K, pinned: when one changes, its ``version`` must be raised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from bench.data import load_dataset
from bench.splits import Clicks, ColdStart, LeaveOneOut, Pairs, Protocol, RandomReviews, Split, Temporal, make_split

# Leave-one-out (not sampled) and cold start are those of the tables in results/.
PINNED: list[tuple[Protocol, str, str, str]] = [
    (LeaveOneOut(), "1", "d30c7bb8dd673ee6", "24c5baa4a974d873"),
    (LeaveOneOut(sampled=99), "1", "33a60d93c2e9c05a", "8d7d8f4823d68eac"),
    (ColdStart(), "2", "e009aae8b28a9316", "99fd17e289ec0888"),
    (Temporal(), "1", "e3130cca2bf7e893", "ad93c169fd60f08d"),
    (Temporal(clicks=Clicks(negatives=1)), "1", "b97589f61ca2f6d5", "c8ec30204cbbb22b"),
    (RandomReviews(), "1", "bea4490741e12d2f", "8017ed9091c6a63a"),
]


def arrays(split: Split) -> Iterator[np.ndarray]:
    """All numbers of a split, in a fixed order."""

    def of(pairs: Pairs | None) -> Iterator[np.ndarray]:
        if pairs is not None:
            assert pairs.time is not None
            yield from (pairs.user, pairs.item, pairs.label, pairs.history.offsets, pairs.history.values, pairs.time)

    training = split.training
    yield from (training.user, training.sequences.offsets, training.sequences.values, training.item)
    yield from of(training.pairs)
    for held in split.held_out:
        yield from (held.user, held.item, held.history.offsets, held.history.values)
        yield from (held.exclude.offsets, held.exclude.values, held.candidates)
        if held.sampled is not None:
            yield held.sampled.values
    for labelled in split.pairs:
        yield from of(labelled.pairs)


@pytest.mark.parametrize(
    ("protocol", "version", "identity", "content"), PINNED, ids=[protocol.describe() for protocol, *_ in PINNED]
)
def test_a_protocol_of_one_version_cuts_in_one_way(
    protocol: Protocol, version: str, identity: str, content: str
) -> None:
    pytest.importorskip("recbole", reason="ml-100k is read from the copy in RecBole")
    split = make_split(load_dataset("ml-100k"), protocol)
    sha = hashlib.sha256()
    for array in arrays(split):
        sha.update(np.ascontiguousarray(array).astype("<f8").tobytes())
    assert (protocol.version, split.identity[:16], sha.hexdigest()[:16]) == (version, identity, content)
