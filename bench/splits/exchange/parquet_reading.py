"""A complete export read back: the same cut, as long as the data set is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data import Dataset
from bench.data.column import Column
from bench.data.hashing import stable_hash64
from bench.data.reviews import Reviews
from bench.errors import DataError
from bench.splits.events import Events
from bench.splits.exchange.ids import Codes
from bench.splits.exchange.made import texts_of
from bench.splits.exchange.manifest import FILES, MANIFEST, Exported, PairSet, origin_of
from bench.splits.split import Cut, HeldOut, HeldOutPairs
from bench.splits.training import Pairs

__all__ = ["read_parquet"]

Tables = dict[str, pl.DataFrame]
"""File name -> what it holds."""


def read_parquet(folder: Path, exported: Exported, dataset: Dataset) -> Cut:
    """Make the cut of a complete export again.

    Raises
    ------
    DataError
        When the data set is not the one the split was made from (what differs is said), or a table does not hold what
        it should.
    """
    notes = [*exported.notes, *_same_data(folder, exported, dataset)]
    try:
        tables = {name: pl.read_parquet(folder / name) for name in FILES}
        events, training, validation = _events(tables, exported)
        texts = texts_of(dataset, exported.split_seed, events)
        if exported.events.reviewed:
            events = replace(events, reviews=texts)
        held_out = _held_out(tables, exported)
        pairs = _all_pairs(tables, exported, events, texts)
        silent = exported.events.reviewed and texts is None
        if silent or any(asked.reviewed and rows.reviews is None for asked, rows in pairs):
            notes.append("the texts of reviews are no part of an export, and the data set does not have them all")
    except (pl.exceptions.PolarsError, LookupError, TypeError, ValueError) as error:
        # The checksums are those of split.json: someone wrote both by hand.
        raise DataError(f"{folder}: the tables do not hold what {MANIFEST} says: {error}") from error
    return Cut(
        events=events,
        training=training,
        validation=validation,
        held_out=held_out,
        pairs=[
            HeldOutPairs(asked.part, asked.quadrant, asked.unit, rows)
            for asked, rows in pairs
            if asked.part != "training"
        ],
        training_pairs=next((rows for asked, rows in pairs if asked.part == "training"), None),
        notes=tuple(notes),
        also_read=tuple(exported.also_read),
    )


def _same_data(folder: Path, exported: Exported, dataset: Dataset) -> list[str]:
    """Nothing for the same data, a note where texts alone differ, an error for other events."""
    then = exported.dataset
    if dataset.identity == then.identity:
        return []
    now = origin_of(dataset)
    if now.events_sha256 == then.events_sha256:
        return ["the texts of the items are those of the export: the data set has others now, for the same events"]
    found = [
        f"{kind}: {before:,} then, {after:,} now"
        for kind, before, after in (
            ("users", then.users, now.users),
            ("items", then.items, now.items),
            ("events", then.events, now.events),
        )
        if before != after
    ]
    for kind, known in (("user", dataset.interactions["user_id"].unique()), ("item", dataset.items["item_id"])):
        if exported.also_read:
            break  # The split's users and items are those of several data sets.
        listed = pl.read_parquet(folder / f"{kind}s.parquet")[f"{kind}_id"]
        gone, new = (a.filter(~a.is_in(b.implode())).sort() for a, b in ((listed, known), (known, listed)))
        for ids, where in ((gone, "the split but not in the data"), (new, "the data but not in the split")):
            if len(ids):
                found.append(f"{len(ids):,} {kind}s are in {where}, for example {ids[0]!r}")
    if not found:
        found.append("the users, items and their numbers are the same, but not all pairs, ratings, times or places")
    raise DataError(
        f"{folder}: the split was made from other data ({then.name}, identity {then.identity[:12]}) than "
        f"{dataset.name} (identity {now.identity[:12]}): {'; '.join(found)}"
    )


def _events(tables: Tables, exported: Exported) -> tuple[Events, NDArray[np.bool_], NDArray[np.bool_]]:
    """All events in order, and which of them are for training and for validation."""
    users, items = tables["users.parquet"]["user_id"], tables["items.parquet"]
    names = ("training.parquet", "validation.parquet", "rest.parquet")
    rows = pl.concat([tables[name].with_columns(pl.lit(name).alias("role")) for name in names])
    user = Codes("user", users).of(rows["user_id"], "the events")
    item = Codes("item", items["item_id"]).of(rows["item_id"], "the events")
    order = np.lexsort((rows["place"].to_numpy(), user)).astype(np.uint32)
    kind, role = exported.events, rows["role"].gather(order)
    events = Events(
        user=user[order],
        item=item[order],
        time=Column(rows["time"].to_numpy(), order) if kind.timed else None,
        rating=Column(rows["rating"].to_numpy(), order) if kind.rated else None,
        users=pl.DataFrame({"user": np.arange(len(users), dtype=np.int32), "user_id": users}),
        items=items.select(pl.Series("item", np.arange(items.height, dtype=np.int32)), pl.all()),
        user_hash=stable_hash64(users),
        item_hash=stable_hash64(items["item_id"]),
        repeats=kind.repeats,
    )
    return events, (role == "training.parquet").to_numpy(), (role == "validation.parquet").to_numpy()


def _held_out(tables: Tables, exported: Exported) -> list[HeldOut]:
    users, items = _codes(tables)
    catalogues = {
        number: items.of(rows["item_id"], "candidates.parquet")
        for number, rows in _by(tables["candidates.parquet"], "catalogue").items()
    }
    of_set = _by(tables["held_out.parquet"], "set")
    held = []
    for said in exported.held_out:
        rows, where = of_set[said.set], f"held_out.parquet, set {said.set}"
        held.append(
            HeldOut(
                part=said.part,
                quadrant=said.quadrant,
                shots=said.shots,
                pool=said.pool,
                unit=said.unit,
                user=users.of(rows["user_id"], where),
                item=items.of(rows["item_id"], where),
                history=items.ragged(rows["history"], where),
                exclude=items.ragged(rows["exclude"], where),
                candidates=catalogues[said.catalogue],
                sampled=items.ragged(rows["sampled"], where) if said.sampled else None,
            )
        )
    return held


def _all_pairs(
    tables: Tables, exported: Exported, events: Events, texts: Reviews | None
) -> list[tuple[PairSet, Pairs]]:
    users, items = _codes(tables)
    of_set = _by(tables["pairs.parquet"], "set")
    made = []
    for asked in exported.pairs:
        rows, where = of_set.get(asked.set, tables["pairs.parquet"].clear()), f"pairs.parquet, set {asked.set}"
        user = users.of(rows["user_id"], where)
        reviews = None
        if asked.reviewed and texts is not None and not rows["place"].null_count():
            reviews = texts.take(np.searchsorted(events.user, user) + rows["place"].to_numpy())
        pairs = Pairs(
            user=user,
            item=items.of(rows["item_id"], where),
            label=rows["label"].to_numpy(),
            history=items.ragged(rows["history"], where),
            time=rows["time"].to_numpy() if asked.timed else None,
            kind=asked.kind,
            reviews=reviews,
        )
        made.append((asked, pairs))
    return made


def _codes(tables: Tables) -> tuple[Codes, Codes]:
    return Codes("user", tables["users.parquet"]["user_id"]), Codes("item", tables["items.parquet"]["item_id"])


def _by(table: pl.DataFrame, column: Literal["set", "catalogue"]) -> dict[int, pl.DataFrame]:
    parts = table.partition_by(column, maintain_order=True)
    return {int(part[column][0]): part for part in parts}
