"""From the files of somebody else's split to a cut of a data set, every defect of theirs named.

Rows are matched with the data set's events by user and item, so times, ratings and texts are the data set's. Training
is the rows of the training file. Each row of validation and test is a request: its history is the user's training
events (and, in the test, the validation events) in time order, and masked. What is ranked is every item of the files.

A user without a training event makes a cold request (``cold-warm``, or ``cold-cold`` where the item is unknown too).
Requests of known users stay together, whether or not their item was learned: published figures count them together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset
from bench.data.ragged import Ragged, ranges
from bench.splits.events import Events, order_events
from bench.splits.exchange.files import find_parts
from bench.splits.exchange.matching import CALLED, MatchedPart, match_rows
from bench.splits.history import items_at
from bench.splits.pairs import event_pairs
from bench.splits.split import Cut, HeldOut, HeldOutPairs, Part, Unit, exclude_union

__all__ = ["cut_foreign"]


def cut_foreign(folder: Path, dataset: Dataset, seed: int) -> Cut:
    """Cut ``dataset`` as the files in ``folder`` say; ``seed`` orders events of one second.

    Raises
    ------
    DataError
        When a file cannot be read, training or test is missing or empty, or a row is no event of the data set.
    """
    events = order_events(dataset, seed)
    parts = match_rows(find_parts(folder), events, dataset)
    training = _mask(events, parts["train"].at)
    validation = _mask(events, parts["valid"].at) & ~training if "valid" in parts else np.zeros(len(events), bool)
    everything = np.unique(np.concatenate([rows.at for rows in parts.values()]))
    candidates = np.unique(events.item[everything])
    notes = _defects(parts, events)
    if len(everything) < len(events):
        notes.append(
            f"{len(events) - len(everything):,} of {len(events):,} events of {dataset.name} are in none of the files: "
            "left out"
        )
    held: list[HeldOut] = []
    pairs: list[HeldOutPairs] = []
    shown: dict[Part, NDArray[np.bool_]] = {"valid": training, "test": training | validation}
    for part, seen in shown.items():
        if part not in parts:
            continue
        later = _shown_from_later(events, parts[part].at, seen)
        if later:
            notes.append(
                f"{later:,} of {len(parts[part].at):,} {CALLED[part]} requests show events later than their answer, as "
                "the files cut it: no test of what comes next"
            )
        for quadrant, unit, targets in _quadrants(events, parts[part].at, training):
            history = items_at(events, _shown(events, targets, seen))
            held.append(_ranking(part, quadrant, unit, events, targets, history, candidates))
            if events.rating is not None:
                rated = event_pairs(events, targets, events.rating, "rating", history)
                pairs.append(HeldOutPairs(part, quadrant, unit, rated))
    return Cut(events, training, validation, held, pairs, notes=tuple(notes))


def _mask(events: Events, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(len(events), bool)
    mask[at] = True
    return mask


def _quadrants(
    events: Events, at: NDArray[np.int64], training: NDArray[np.bool_]
) -> list[tuple[str, Unit, NDArray[np.int64]]]:
    """Name, unit of inference and events of each quadrant."""
    warm_user = np.isin(events.user[at], events.user[training])
    warm_item = np.isin(events.item[at], events.item[training])
    return [
        ("warm-warm", "user", at[warm_user]),
        ("cold-warm", "user", at[~warm_user & warm_item]),
        ("cold-cold", "user x item", at[~warm_user & ~warm_item]),
    ]


def _ranking(
    part: Part,
    quadrant: str,
    unit: Unit,
    events: Events,
    targets: NDArray[np.int64],
    history: Ragged,
    candidates: NDArray[np.int32],
) -> HeldOut:
    answer = events.item[targets]
    met = Ragged.empty(len(targets)) if events.repeats else exclude_union(history)
    # Where the files ask for what they also teach, the answer stays a candidate.
    met = met.keep(met.values != answer[met.row_of])
    return HeldOut(part, quadrant, None, "all", unit, events.user[targets], answer, history, met, candidates)


def _shown(events: Events, targets: NDArray[np.int64], seen: NDArray[np.bool_]) -> Ragged:
    """Positions of all events of the target's user under ``seen``."""
    where = np.flatnonzero(seen)
    start = np.searchsorted(events.user[where], events.user[targets])
    lengths = np.searchsorted(events.user[where], events.user[targets], side="right") - start
    return Ragged.from_lengths(lengths, where[ranges(start, lengths)])


def _shown_from_later(events: Events, targets: NDArray[np.int64], seen: NDArray[np.bool_]) -> int:
    """Requests that show an event later than their answer; within one second there is no later."""
    shown = _shown(events, targets, seen)
    clock = np.arange(len(events)) if events.time is None else events.time[:]
    later = clock[shown.values] > clock[targets][shown.row_of]
    return len(np.unique(shown.row_of[later]))


def _defects(parts: dict[str, MatchedPart], events: Events) -> list[str]:
    """What is wrong or unusual with the files, one sentence each."""
    notes = []
    if "valid" not in parts or not len(parts["valid"].at):
        notes.append("no validation events: models that are selected while they train have nothing to be selected by")
    learned = events.user[parts["train"].at]
    earlier: list[str] = []
    for part, rows in parts.items():
        name, count = rows.file.path.name, len(rows.at)
        if rows.repeated:
            notes.append(f"{name}: {rows.repeated:,} rows repeat a user-item pair; each pair counts once")
        if rows.ratings:
            notes.append(f"{name}: {rows.ratings:,} of {count:,} ratings are not the data set's, which are used")
        if rows.times:
            notes.append(f"{name}: {rows.times:,} of {count:,} times are not the data set's, which are used")
        if rows.ignored:
            notes.append(f"{name}: columns not read: {', '.join(rows.ignored)}")
        for before in earlier:
            both = np.intersect1d(rows.at, parts[before].at)
            if len(both):
                notes.append(
                    f"{len(both):,} of {count:,} {CALLED[part]} pairs are in {CALLED[before]} too: "
                    "they stay, and their answers are not masked"
                )
        cold = np.setdiff1d(events.user[rows.at], learned)
        if len(cold):
            notes.append(f"{len(cold):,} users of {CALLED[part]} have no training event: their requests are cold")
        earlier.append(part)
    return notes
